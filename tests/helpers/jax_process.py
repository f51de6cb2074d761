"""What JAX's log says of a process that `run_jax` ran."""


def compilations(log: str, function: str) -> int:
    """Return how often a process compiled a function."""
    return sum(f"Compiling jit({function})" in line for line in log.splitlines())

"""Of a test's many cases, which few `make test` runs."""

import pytest


def quick(chosen, cases) -> list:
    """Return parameters of `pytest.mark.parametrize`: the cases, those that are not among the chosen marked slow.

    Args:
        chosen: the cases that `make test` runs.
        cases: all, which `make test-all` runs.
    """
    missing = [case for case in chosen if case not in cases]
    if missing:
        raise ValueError(f"not among the cases: {missing}")
    return [case if case in chosen else pytest.param(*_values(case), marks=pytest.mark.slow) for case in cases]


def _values(case):
    return case if isinstance(case, tuple) else (case,)

"""Exact non-local attention in memory that grows with the number of positions, not with its square."""

import contextlib
import contextvars
from collections.abc import Iterator

import keras
from keras import ops

NORMALIZATIONS = ("keys", "queries")
CHUNK_SIZE = 128

_unrolling = contextvars.ContextVar("unrolling", default=False)


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
    """Within the block, attention is traced as phones' accelerators want it: without a loop, in four dimensions.

    Sizes must be known. The result is the same, the graph longer by the number of chunks. In three dimensions matrix
    products come out wrong on some GPUs (LiteRT issue 8619).
    """
    token = _unrolling.set(True)
    try:
        yield
    finally:
        _unrolling.reset(token)


def non_local_attention(
    theta, phi, g, normalize_over: str = "keys", chunk_size: int = CHUNK_SIZE, training: bool | None = None
):
    """Return y_i = sum_j p_ij g_j, where p is the softmax of the scores theta_i . phi_j over one of its axes.

    The scores are visited a chunk of rows at a time, forward and backward (the backward pass computes them again), so
    that memory grows with `batch * chunk_size * N` instead of `batch * N * N`. The result is exact.

    Args:
        theta: queries, (batch, N, D), any float dtype.
        phi: keys, (batch, N, D).
        g: values, (batch, N, D).
        normalize_over: "keys", the paper's equation (for each query i the weights sum to 1 over j), or "queries", the
            authors' released code (for each key j they sum to 1 over i).
        chunk_size: rows of the score matrix that exist at one time, >= 1.
        training: False leaves the backward pass to the backend, which may keep the whole score matrix for it.
            TensorFlow never frees a graph with a gradient of our own, nor the weights in it, so that a process that
            only restores would keep every network it has loaded.

    Returns:
        (batch, N, D), dtype of `g`.

    Raises:
        ValueError: `normalize_over` or `chunk_size` is out of its range.

    Reference:
        Zhang et al., "Residual Non-local Attention Networks for Image Restoration", ICLR 2019, equations 5 to 7.
    """
    check_options(normalize_over, chunk_size)
    forward_and_backward = _attend_over_keys if normalize_over == "keys" else _attend_over_queries

    def attend(theta, phi, g):
        return forward_and_backward(theta, phi, g, chunk_size)[0]

    @ops.custom_gradient
    def attend_in_training(theta, phi, g):
        return forward_and_backward(*_untaped(theta, phi, g), chunk_size)

    attend = attend if training is False else attend_in_training
    if not _unrolling.get():
        return attend(theta, phi, g)
    batch, n, d = ops.shape(theta)
    y = attend(*(ops.reshape(x, (batch, 1, n, d)) for x in (theta, phi, g)))
    return ops.reshape(y, (batch, n, d))


def check_options(normalize_over: str, chunk_size: int) -> None:
    """Raise ValueError if an option of `non_local_attention` is out of its range."""
    if normalize_over not in NORMALIZATIONS:
        raise ValueError(f"Argument `normalize_over` must be one of {NORMALIZATIONS}. Received: {normalize_over!r}")
    if chunk_size < 1:
        raise ValueError(f"Argument `chunk_size` must be at least 1. Received: {chunk_size}")


def _attend_over_keys(theta, phi, g, chunk_size):
    """Return y = A g with A = softmax_rows(theta phi^T), whose rows are queries, and the backward pass."""

    def forward(carry, rows):
        return carry, (ops.matmul(_softmax_rows(rows[0], phi), g),)

    _, (y,) = _over_chunks(forward, (), (theta,), (g,), chunk_size)

    def backward(*args, upstream=None):
        def step(carry, rows):
            dphi, dg = carry
            theta_c, dy_c = rows
            a = _softmax_rows(theta_c, phi)
            ds = _softmax_gradient(a, ops.matmul(dy_c, _transpose(g)))
            carry = dphi + ops.matmul(_transpose(ds), theta_c), dg + ops.matmul(_transpose(a), dy_c)
            return carry, (ops.matmul(ds, phi),)

        zeros = ops.zeros_like(phi), ops.zeros_like(g)
        (dphi, dg), (dtheta,) = _over_chunks(step, zeros, (theta, _dy(args, upstream)), (theta,), chunk_size)
        return dtheta, dphi, dg

    return y, backward


def _attend_over_queries(theta, phi, g, chunk_size):
    """Return y = A^T g with A = softmax_rows(phi theta^T), whose rows are keys, and the backward pass."""

    def forward(carry, rows):
        phi_c, g_c = rows
        y = ops.matmul(_transpose_small(g_c), _softmax_rows(phi_c, theta))  # y^T: no transposition of the scores
        return (carry[0] + _transpose_small(y),), ()

    (y,), _ = _over_chunks(forward, (ops.zeros_like(g),), (phi, g), (), chunk_size)

    def backward(*args, upstream=None):
        dy = _dy(args, upstream)

        def step(carry, rows):
            phi_c, g_c = rows
            a = _softmax_rows(phi_c, theta)
            ds = _softmax_gradient(a, ops.matmul(g_c, _transpose(dy)))
            return (carry[0] + ops.matmul(_transpose(ds), phi_c),), (ops.matmul(ds, theta), ops.matmul(a, dy))

        (dtheta,), (dphi, dg) = _over_chunks(step, (ops.zeros_like(theta),), (phi, g), (phi, g), chunk_size)
        return dtheta, dphi, dg

    return y, backward


def _untaped(*tensors):
    # Outside tf.function the gradient tape would record and keep every chunk.
    return tuple(ops.stop_gradient(x) for x in tensors)


def _softmax_rows(rows, others):
    # The scores have no scaling, so under 16-bit policies they and their exponentials need float32.
    dtype = keras.backend.result_type(rows.dtype, "float32")
    scores = ops.matmul(ops.cast(rows, dtype), _transpose_small(ops.cast(others, dtype)))
    return ops.cast(ops.softmax(scores, axis=-1), rows.dtype)


def _softmax_gradient(a, da):
    return a * (da - ops.sum(a * da, axis=-1, keepdims=True))


def _transpose(x):
    return ops.swapaxes(x, -1, -2)


def _transpose_small(x):
    # As images, or TFLite's converter turns it into BATCH_MATMUL's adj_y, which GPU delegates ignore.
    batch, *one, n, d = ops.shape(x)
    return ops.reshape(ops.transpose(ops.reshape(x, (batch, n, 1, d)), (0, 3, 2, 1)), (batch, *one, d, n))


def _dy(args, upstream):
    # TensorFlow and JAX pass the gradient by position, Keras' PyTorch backend by name.
    return args[-1] if upstream is None else upstream


def _over_chunks(step, carry, rows, outputs_like, chunk_size):
    """Run `carry, outputs = step(carry, chunks)` over chunks of axis 1 of the tensors in `rows`, and join the outputs.

    `ops.scan` cannot do it: on TensorFlow it wants outputs of the carry's shapes. Rows are padded with zeros to whole
    chunks; a zero row of dy, or of phi and g, adds zero to every sum, and the outputs of padded rows are cut off.
    """
    batch, *_, n, _ = ops.shape(rows[0])
    if isinstance(n, int) and n <= chunk_size:
        return step(carry, rows)
    if _unrolling.get():
        return _over_chunks_unrolled(step, carry, rows, chunk_size)
    chunk_size = ops.minimum(chunk_size, n) if not isinstance(n, int) else chunk_size
    num_chunks = (n + chunk_size - 1) // chunk_size
    padded_n = num_chunks * chunk_size

    def split(x):
        padding = ops.zeros((batch, padded_n - n, x.shape[-1]), dtype=x.dtype)
        x = ops.reshape(ops.concatenate([x, padding], axis=1), (batch, num_chunks, chunk_size, x.shape[-1]))
        return ops.transpose(x, (1, 0, 2, 3))

    def join(x):
        return ops.reshape(ops.transpose(x, (1, 0, 2, 3)), (batch, padded_n, x.shape[-1]))[:, :n]

    rows = [split(x) for x in rows]
    index = ops.reshape(ops.arange(num_chunks), (-1, 1, 1, 1))

    def body(i, state):
        carry, outputs = state
        carry, new = step(carry, tuple(ops.take(x, i, axis=0) for x in rows))
        return carry, tuple(ops.where(index == i, chunk[None], out) for chunk, out in zip(new, outputs, strict=True))

    outputs = tuple(ops.zeros_like(split(x)) for x in outputs_like)
    carry, outputs = ops.fori_loop(0, num_chunks, body, (carry, outputs))
    return carry, tuple(join(x) for x in outputs)


def _over_chunks_unrolled(step, carry, rows, chunk_size):
    outputs, n = [], rows[0].shape[2]
    for start in range(0, n, chunk_size):
        stop = min(start + chunk_size, n)  # LiteRT's GPU delegate refuses slices that end beyond their tensor
        carry, new = step(carry, tuple(x[:, :, start:stop] for x in rows))
        outputs.append(new)
    return carry, tuple(ops.concatenate(chunks, axis=2) for chunks in zip(*outputs, strict=True))

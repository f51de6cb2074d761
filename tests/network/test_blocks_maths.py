"""The maths of every layer against numpy and PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnan_tf.network.attention import NORMALIZATIONS
from rnan_tf.network.blocks import LevelChannel, MaskBranch, NonLocalBlock, ResidualAttentionBlock, ResidualBlock
from rnan_tf.network.resampling import CropLike, Enlarge, PadToMultiple, PixelShuffle
from tests.helpers.random_layers import FILTERS, IMAGE, LEVEL, SMALL, built, random_input

# === numpy ===


def same_convolution(x, kernel, bias):
    """'same' convolution, stride 1, as a sum of shifted images."""
    size = kernel.shape[0]
    height, width = x.shape[1:3]
    half = size // 2
    x = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    return bias + sum(x[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(size) for j in range(size))


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_residual_block_is_its_formula(kernel_size):
    layer = built(ResidualBlock, {"filters": FILTERS, "kernel_size": kernel_size}, IMAGE, dtype="float64")
    x = random_input(IMAGE, seed=1).astype("float64")
    k1, b1, k2, b2 = layer.get_weights()
    expected = x + same_convolution(np.maximum(same_convolution(x, k1, b1), 0), k2, b2)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("normalize_over", NORMALIZATIONS)
@pytest.mark.parametrize("chunk_size", [1, 7, 128])
def test_non_local_block_is_its_formula(normalize_over, chunk_size):
    options = {"filters": FILTERS, "normalize_over": normalize_over, "chunk_size": chunk_size}
    layer = built(NonLocalBlock, options, IMAGE, dtype="float64")
    x = random_input(IMAGE, seed=1).astype("float64")
    rows = x.reshape(2, 60, FILTERS)
    theta, phi, g = (rows @ part.kernel.numpy()[0, 0] + part.bias.numpy() for part in (layer.theta, layer.phi, layer.g))
    assert theta.shape[-1] == FILTERS // 2
    weights = np.exp(theta @ phi.transpose(0, 2, 1))
    weights /= weights.sum(axis=2 if normalize_over == "keys" else 1, keepdims=True)
    y = weights @ g @ layer.w.kernel.numpy()[0, 0] + layer.w.bias.numpy()
    np.testing.assert_allclose(layer(x), x + y.reshape(x.shape), rtol=0, atol=1e-13)


def test_a_fresh_non_local_block_is_the_identity():
    x = random_input(IMAGE)
    np.testing.assert_array_equal(NonLocalBlock(FILTERS)(x), x)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixel_shuffle_is_a_reshape(scale):
    x = random_input((2, 3, 4, 5 * scale**2))
    expected = x.reshape(2, 3, 4, scale, scale, 5).transpose(0, 1, 3, 2, 4, 5).reshape(2, 3 * scale, 4 * scale, 5)
    y = PixelShuffle(scale)(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(PixelShuffle(scale, inverse=True)(y), x)


@pytest.mark.parametrize("multiple", [1, 2, 4, 8])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_pad_to_multiple_is_reflection_and_crop_undoes_it(multiple, height, width, known):
    x = random_input((2, height, width, 3))
    size = (height, width) if known else (None, None)
    image = keras.Input((*size, 3))
    padded = PadToMultiple(multiple)(image)
    y, back = keras.Model(image, [padded, CropLike()([padded, image])])(x)
    rest = ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))
    np.testing.assert_array_equal(y, np.pad(x, rest, mode="reflect"))
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_crop_like_keeps_the_top_left(scale):
    image, like = random_input([(2, 20, 24, 3), (2, 5, 7, 1)])
    np.testing.assert_array_equal(CropLike(scale)([image, like]), image[:, : 5 * scale, : 7 * scale])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3)])
def test_enlarge_is_bilinear_upsampling_in_graphs_of_unknown_size_too(scale, size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    expected = np.asarray(keras.layers.UpSampling2D(scale, interpolation="bilinear")(x))
    graph = tf.function(Enlarge(scale), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for actual in (Enlarge(scale)(x), graph(x)):
        assert np.abs(np.asarray(actual) - expected).max() < 1e-6


def test_level_channel():
    image, level = random_input([SMALL, LEVEL])
    y = np.asarray(LevelChannel()([image, level]))
    np.testing.assert_array_equal(y[..., :3], image)
    for i in range(2):
        assert np.all(y[i, ..., 3] == level[i])


@pytest.mark.parametrize("cls", [MaskBranch, ResidualAttentionBlock])
@pytest.mark.parametrize("size", [(5, 4), (4, 5), (1, 1), (None, 3)], ids=str)
def test_odd_sizes_are_refused(cls, size):
    with pytest.raises(ValueError, match=r"must be even. Received: input_shape=\(None, "):
        cls(FILTERS)(keras.Input((*size, FILTERS)))


@pytest.mark.parametrize("cls", [MaskBranch, ResidualAttentionBlock])
def test_the_smallest_map(cls):
    """On the unpadded 2x2 map Keras would refuse to build the stride-2 convolution."""
    assert cls(FILTERS, non_local=True)(random_input((1, 2, 2, FILTERS))).shape == (1, 2, 2, FILTERS)


@pytest.mark.parametrize(
    ("options", "name"), [({"normalize_over": "rows"}, "normalize_over"), ({"chunk_size": 0}, "chunk_size")]
)
@pytest.mark.parametrize("cls", [NonLocalBlock, MaskBranch, ResidualAttentionBlock])
def test_bad_attention_options_are_refused_at_once(cls, options, name):
    non_local = {} if cls is NonLocalBlock else {"non_local": True}
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        cls(FILTERS, **non_local, **options)


# === PyTorch ===


def torch_weights(layer):
    """(kernel, bias) in PyTorch's layout: OIHW, or IOHW for a transposed convolution, whose Keras layout is HWOI."""
    import torch

    return torch.tensor(layer.kernel.numpy().transpose(3, 2, 0, 1)), torch.tensor(layer.bias.numpy())


def torch_residual_block(x, block):
    import torch.nn.functional as F

    y = F.relu(F.conv2d(x, *torch_weights(block.conv1), padding=1))
    return x + F.conv2d(y, *torch_weights(block.conv2), padding=1)


def torch_non_local(x, block):
    import torch
    import torch.nn.functional as F

    batch, _, height, width = x.shape
    theta, phi, g = (F.conv2d(x, *torch_weights(part)).flatten(2) for part in (block.theta, block.phi, block.g))
    scores = torch.einsum("bci,bcj->bij", theta, phi)
    weights = F.softmax(scores, dim=2 if block.normalize_over == "keys" else 1)
    y = torch.einsum("bij,bcj->bci", weights, g).reshape(batch, -1, height, width)
    return x + F.conv2d(y, *torch_weights(block.w))


def torch_mask(x, mask):
    import torch
    import torch.nn.functional as F

    r = torch_residual_block(torch_non_local(x, mask.attention) if mask.non_local else x, mask.rb1)
    y = F.conv2d(r, *torch_weights(mask.down), stride=2, padding=1)
    for block in mask.rb2:
        y = torch_residual_block(y, block)
    y = F.conv_transpose2d(y, *torch_weights(mask.up), stride=2, padding=2)
    return torch.sigmoid(F.conv2d(torch_residual_block(y + r, mask.rb3), *torch_weights(mask.project)))


def torch_attention_block(x, block):
    import torch.nn.functional as F

    h = torch_residual_block(x, block.head)
    trunk = torch_residual_block(torch_residual_block(h, block.trunk[0]), block.trunk[1])
    y = trunk * torch_mask(h, block.mask) + h
    y = torch_residual_block(torch_residual_block(y, block.tail[0]), block.tail[1])
    return F.conv2d(y, *torch_weights(block.conv), padding=1)


@pytest.mark.parametrize(("cls", "oracle"), [(MaskBranch, torch_mask), (ResidualAttentionBlock, torch_attention_block)])
@pytest.mark.parametrize("normalize_over", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("size", [(2, 2), (6, 10)], ids=str)
def test_blocks_agree_with_pytorch(cls, oracle, normalize_over, size):
    torch = pytest.importorskip("torch")
    non_local = {"non_local": True, "normalize_over": normalize_over} if normalize_over else {}
    shape = (2, *size, FILTERS)
    layer = built(cls, {"filters": FILTERS, "chunk_size": 7, **non_local}, shape, dtype="float64")
    x = random_input(shape, seed=1).astype("float64")
    expected = oracle(torch.tensor(x.transpose(0, 3, 1, 2)), layer).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-13 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("scale", [2, 3])
def test_pixel_shuffle_is_pytorchs_with_other_channel_order(scale):
    torch = pytest.importorskip("torch")
    x = random_input((2, 3, 4, 5 * scale**2))
    channel_first = x.reshape(2, 3, 4, scale**2, 5).swapaxes(3, 4).reshape(x.shape)
    expected = torch.nn.functional.pixel_shuffle(torch.tensor(channel_first.transpose(0, 3, 1, 2)), scale)
    np.testing.assert_array_equal(PixelShuffle(scale)(x), expected.numpy().transpose(0, 2, 3, 1))

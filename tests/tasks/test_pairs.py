"""tasks.pairs: two folders of photographs, matched by name and read as what belongs together."""

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

from rnan_tf.errors import ImageError, InputError
from rnan_tf.tasks.pairs import Pair, list_pairs, read_pair, read_pairs, read_stacks, stack
from rnan_tf.tasks.task import TASKS

CAT = skimage.data.chelsea()[:40, 100:161]


def save(path, pixels=CAT):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "noisy", tmp_path / "clean"


def test_pairs_are_matched_by_name_whatever_the_extension(folders, capsys):
    noisy, clean = folders
    for name in ("b.png", "a.b.jpg", "c.png"):
        save(noisy / name)
    for name in ("c.png", "b.tif", "a.b.png"):
        save(clean / name)
    pairs = [(pair.degraded.name, pair.clean.name) for pair in list_pairs(noisy, clean)]
    assert pairs == [("a.b.jpg", "a.b.png"), ("b.png", "b.tif"), ("c.png", "c.png")]
    assert capsys.readouterr().err == ""


def test_what_has_no_partner_is_named_in_a_line_a_folder(folders, capsys):
    noisy, clean = folders
    for name in ("both", "n1", "n2"):
        save(noisy / f"{name}.png")
    for name in ("both", *(f"c{i}" for i in range(8))):
        save(clean / f"{name}.png")
    assert len(list_pairs(noisy, clean)) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"skipped: {noisy} has no partner for n1.png, n2.png",
        f"skipped: {clean} has no partner for c0.png, c1.png, c2.png, c3.png, c4.png and 3 more",
    ]


def test_folders_that_do_not_belong_together(folders, tmp_path):
    noisy, clean = folders
    save(noisy / "a.png")
    save(clean / "b.png")
    with pytest.raises(InputError, match=r"has the name of one in .* \(as a.png and b.png\)"):
        list_pairs(noisy, clean)
    with pytest.raises(InputError, match="are the same; name two folders"):
        list_pairs(noisy, tmp_path / "." / "noisy")
    with pytest.raises(ImageError, match="nowhere: no such file or folder"):
        list_pairs(noisy, tmp_path / "nowhere")
    save(noisy / "a.jpg")
    with pytest.raises(InputError, match=r"a\.(png|jpg) and a\.(png|jpg) have one name"):
        list_pairs(noisy, clean)


@pytest.mark.parametrize(
    ("name", "scale"), [("denoise", 1), ("denoise-gray", 1), ("jpeg", 1), ("sr-x2", 2), ("sr-x3", 3)]
)
def test_a_pair_is_read_as_the_task_wants_it(folders, name, scale):
    small = CAT[: 40 // scale, : 61 // scale]
    pair = Pair(save(folders[0] / "a.png", small), save(folders[1] / "a.png"))
    degraded, clean = read_pair(pair, TASKS[name])
    channels = TASKS[name].channels
    assert degraded.shape == (40 // scale, 61 // scale, channels)
    np.testing.assert_array_equal(clean, TASKS[name].clean(CAT))
    if channels == 3:
        np.testing.assert_array_equal(degraded, small)


@pytest.mark.parametrize("name", ["denoise", "sr-x2"])
def test_a_pair_whose_sizes_do_not_fit_is_named(folders, name):
    pair = Pair(save(folders[0] / "a.png", CAT[:39]), save(folders[1] / "a.png"))
    with pytest.raises(ImageError) as caught:
        read_pair(pair, TASKS[name])
    message = str(caught.value)
    assert str(pair.clean) in message and str(pair.degraded) in message and "\n" not in message
    assert ("2 times as large as" if name == "sr-x2" else "must be as large as") in message


def test_pairs_that_cannot_be_used_are_named_and_left_out(folders, capsys):
    noisy, clean = folders
    for name in ("good", "sizes", "damaged", "small"):
        save(noisy / f"{name}.png")
        save(clean / f"{name}.png")
    save(clean / "sizes.png", CAT[:20])
    (noisy / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    save(noisy / "small.png", CAT[:8, :8])
    save(clean / "small.png", CAT[:8, :8])
    pairs = list_pairs(noisy, clean)
    (clean / "good.png").rename(clean / "gone.png")  # while it runs
    pairs.append(Pair(noisy / "good.png", clean / "gone.png"))
    assert len(read_stacks(pairs, TASKS["denoise"], 16)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all(line.startswith("skipped: ") for line in lines)
    for line, fragment in zip(
        lines, ("damaged.png", "good.png: no such file", "sizes.png", "8x8, smaller than 16x16"), strict=True
    ):
        assert fragment in line
    assert [name for name, _, _ in read_pairs(pairs, TASKS["denoise"])] == ["small.png", "gone.png"]
    with pytest.raises(InputError, match="none of 1 pairs can be used"):
        read_stacks(pairs[:1], TASKS["denoise"], 16)
    with pytest.raises(InputError, match="none of 1 pairs can be used"):
        list(read_pairs(pairs[:1], TASKS["denoise"]))


def test_pairs_that_do_not_fit_into_memory_are_not_kept(folders):
    pairs = [Pair(save(folders[0] / "a.png"), save(folders[1] / "a.png"))]
    assert read_stacks(pairs, TASKS["denoise"], 16, 2 * CAT.nbytes - 1) is None
    assert len(read_stacks(pairs, TASKS["denoise"], 16, 2 * CAT.nbytes)) == 1


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_stack_is_tensorflows_space_to_depth_and_the_degraded_image(scale):
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (5 * scale, 7 * scale, 3)).astype(np.uint8)
    degraded = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    stacked = stack(degraded, clean)
    np.testing.assert_array_equal(stacked[..., -3:], degraded)
    cells = tf.nn.space_to_depth(clean[None], scale)[0] if scale > 1 else clean
    np.testing.assert_array_equal(stacked[..., :-3], cells)


def test_pairs_have_no_strength_and_mosaics_no_pairs():
    task = TASKS["denoise"].of_pairs()
    assert task.strength is None and not task.conditional
    with pytest.raises(InputError, match="task demosaic makes its mosaics itself"):
        TASKS["demosaic"].of_pairs()

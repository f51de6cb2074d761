"""rnan_tf.photos.photo finding photographs by folder, glob or name."""

import pytest

from rnan_tf.photos.finding import list_images
from tests.helpers.image_samples import assert_image_error


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "c.tiff", "notes.txt", "._a.jpg", "d[1].png", "sub/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_lists_folders_globs_and_files(folder):
    def names(*paths):
        return [str(path.relative_to(folder)) for path in list_images(paths)]

    assert names(folder) == ["a.JPG", "b.png", "c.tiff", "d[1].png"]
    assert names(f"{folder}/*.png") == ["b.png", "d[1].png"]
    assert names(f"{folder}/*") == ["a.JPG", "b.png", "c.tiff", "d[1].png"]
    assert names(f"{folder}/**/e.png") == ["sub/e.png"]
    assert names(folder / "notes.txt") == ["notes.txt"]
    assert names(folder / "d[1].png") == ["d[1].png"]
    assert names(folder / "c.tiff", folder / "b.png", folder) == ["c.tiff", "b.png", "a.JPG", "d[1].png"]
    assert list_images(str(folder / "b.png")) == [folder / "b.png"]


def test_lists_nothing_is_an_error(folder):
    (folder / "empty").mkdir()
    for path, reason in [
        (folder / "missing.png", "no such file"),
        (folder / "empty", "no image"),
        (f"{folder}/*.gif", "no image"),
        (folder / "folder.png", "no image"),
        (folder / ("x" * 300), "no such file"),
    ]:
        assert_image_error(lambda path=path: list_images([path]), path, reason)

"""Finding photographs in folders: trees, loops, odd names, and results among them."""

import os
import time

import pytest

from rnan_tf.photos.finding import find_photographs
from tests.helpers.image_samples import assert_image_error


def put(folder, *names):
    for name in names:
        path = os.path.join(os.fspath(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def places(*paths, **options):
    return [place for _, place in find_photographs(paths, **options)]


def test_a_tree_is_read_in_order_raw_files_too(tmp_path):
    put(tmp_path, "b.png", "a.JPG", "a.txt", "z/y/c.DNG", "z/d.heic", "e/f.cr3", ".hidden/g.png", "e/._f.png", "h.avif")
    assert places(tmp_path) == ["a.JPG", "b.png", "h.avif", "e/f.cr3", "z/d.heic", "z/y/c.DNG"]
    assert places(f"{tmp_path}/", tmp_path / "z") == places(tmp_path)
    assert places(tmp_path / "z" / "d.heic") == ["d.heic"]


def test_each_folder_of_a_loop_of_links_is_read_once(tmp_path):
    put(tmp_path, "photos/a.png", "photos/sub/b.png", "elsewhere/c.png")
    os.symlink("..", tmp_path / "photos/sub/up")
    os.symlink(tmp_path / "photos/itself", tmp_path / "photos/itself")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos/link")
    os.symlink("missing.png", tmp_path / "photos/broken.png")
    assert places(tmp_path / "photos") == ["a.png", "link/c.png", "sub/b.png"]


def test_the_folder_of_the_results_is_not_read(tmp_path):
    put(tmp_path, "a.png", "out/a.png", "out/sub/b.png", "outer/c.png")
    assert places(tmp_path, leave_out=tmp_path / "out") == ["a.png", "outer/c.png"]
    os.symlink("out", tmp_path / "link")
    assert places(tmp_path, leave_out=tmp_path / "link") == ["a.png", "outer/c.png"]


def test_names_with_newlines_and_bytes_that_are_no_text(tmp_path):
    names = ["a\nb.png", os.fsdecode(b"caf\xe9.jpg"), "\x1b[31m.png", "sp ace/\u00e9.png"]
    put(tmp_path, *names)
    assert sorted(places(tmp_path)) == sorted(names)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_closed_folder_is_one_line(tmp_path):
    put(tmp_path, "a.png", "closed/b.png")
    os.chmod(tmp_path / "closed", 0)
    assert_image_error(lambda: find_photographs([tmp_path]), "closed", "cannot be listed")


def test_ten_thousand_files_are_listed_within_a_second(tmp_path):
    for number in range(100):
        put(tmp_path, *(f"{number:02d}/{photo:02d}.jpg" for photo in range(100)))
    start = time.process_time()  # not of the clock, as other tests run beside it
    assert len(find_photographs([tmp_path])) == 10_000
    assert time.process_time() - start < 1

"""Whether an image file is whole, without decoding it."""

import os
from typing import BinaryIO

from rnan_tf.photos.decoding import sniff


def is_whole(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an image and does not end early.

    Args:
        path: the file. Only its first and last bytes are looked at, and a TIFF file's directory.
    """
    try:
        with open(path, "rb") as file:
            return _is_whole(file, os.fstat(file.fileno()).st_size)
    except Exception:  # readers of damaged files raise anything
        return False


def _is_whole(file: BinaryIO, size: int) -> bool:
    head = file.read(64)
    file_format = sniff(head)
    file.seek(max(0, size - 64))
    tail = file.read()
    if file_format == "PNG":
        return tail.endswith(b"IEND\xaeB`\x82")
    if file_format == "JPEG":
        return tail.endswith(b"\xff\xd9")
    if file_format == "WEBP":
        return 8 + int.from_bytes(head[4:8], "little") <= size
    if file_format == "BMP":
        return int.from_bytes(head[2:6], "little") <= size
    return _tiff_is_whole(file, size) if file_format == "TIFF" else _boxes_are_whole(file, size)


def _tiff_is_whole(file: BinaryIO, size: int) -> bool:
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        return max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) <= size


def _boxes_are_whole(file: BinaryIO, size: int) -> bool:
    """AVIF and HEIC: a row of boxes that begin with their length."""
    place = 0
    while place < size:
        file.seek(place)
        length = int.from_bytes(file.read(4), "big")
        if length < 8:  # 0: to the end; 1: a length of 64 bits. Neither is written here.
            return length == 0
        place += length
    return place == size

"""What stands beside a photograph's pixels and is carried into the restored file: EXIF, XMP and the resolution."""

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from rnan_tf.photos import exif as exif_block

MAX_BYTES = 8 * 2**20  # of EXIF data, XMP data or an ICC profile; a camera's are under 100 kB
_EXIF_HEADER = b"Exif\0\0"
# What JPEG's segments hold, less the name in front of the data.
_LIMITS = {"JPEG": {"EXIF": 65_527, "XMP": 65_504}, "BMP": {"EXIF": 0, "XMP": 0}}
# Of a TIFF file's first directory what is about the photograph, not about the file: description, make, model, software,
# date, artist, host, rating, copyright, Windows' title, comment, author, keywords and subject.
_TIFF_TAGS = (270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
_DIRECTORIES = (exif_block.EXIF_DIRECTORY, exif_block.GPS_DIRECTORY)
# Exposure time, f-number, program, sensitivity, dates and their zones, speed to focal length, the lens.
_TIFF_EP_TAGS = (33434, 33437, 34850, 34855, *range(36867, 36869), *range(36880, 36883), *range(37377, 37387), 42036)
_ABOUT_RAW = (0x927C, 0xA005)  # maker notes, interoperability
_INCHES = {1: 0.0, 2: 1.0, 3: 2.54}  # the tag's unit -> how many an inch has


@dataclass(frozen=True)
class Metadata:
    """What stands beside the pixels, for an image that stands upright.

    Attributes:
        exif: the EXIF block from its byte order on, its orientation 1 and without a thumbnail.
        xmp: the XMP packet, likewise.
        dpi: dots per inch, horizontally and vertically.
        lost: what was too large to be kept, a line each.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    lost: tuple[str, ...] = ()

    def fitting(self, file_format: str) -> tuple["Metadata", tuple[str, ...]]:
        """Return what a file of a format can hold, and a line for each thing that is left out."""
        kept, lost = self, self.lost
        for name, limit in _LIMITS.get(file_format, {}).items():
            data = getattr(self, name.lower())
            if data and len(data) > limit:
                kept = replace(kept, exif=None) if name == "EXIF" else replace(kept, xmp=None)
                lost += (left_out_line(f"{name} data", data, f"which {file_format} cannot hold"),)
        return kept, lost

    def block(self, width: int, height: int, resolution: bool = False) -> bytes | None:
        """Return the EXIF block for an image of a size.

        Args:
            width: pixels.
            height: pixels.
            resolution: put it into the block, as formats without a place of their own need.
        """
        exif = self.exif and exif_block.with_size(self.exif, width, height)
        return exif_block.with_dpi(exif, self.dpi) if resolution and self.dpi else exif


NO_METADATA = Metadata()


def read_metadata(image: Any) -> Metadata:
    """Return a file's metadata; damaged ones are left out without a word, huge ones are named.

    Args:
        image: Pillow's, opened.
    """
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    return _cleaned(info.get("exif"), xmp, info.get("dpi"), info.get("icc_profile"))


def read_tiff_metadata(data: bytes, xmp: bytes | None, icc_profile: bytes | None) -> Metadata:
    """Return a TIFF file's metadata, its tags gathered in an EXIF block.

    Args:
        data: the file.
        xmp: the XMP packet.
        icc_profile: is named if it is too large.
    """
    try:
        tags = Image.Exif()
        tags.load(data)
        exif = _gathered(tags, {pointer: tags.get_ifd(pointer) for pointer in _DIRECTORIES})
        return _cleaned(exif, xmp, _tags_dpi(tags), icc_profile)
    except Exception:  # whatever a broken tag makes Pillow raise
        return _cleaned(None, xmp, None, icc_profile)


def read_raw_metadata(data: bytes) -> Metadata:
    """Return what a camera raw file of TIFF's kind says of the photograph: EXIF data without maker notes.

    Maker notes and XMP data are left out: they hold what developing needs, and the settings of converters, which would
    apply them once more. DNGs may have EXIF tags in their first directory, as TIFF/EP has it.

    Args:
        data: the file; in those of other kinds, such as CR3 and RAF, nothing is found.
    """
    try:
        tags = Image.Exif()
        # ORF and RW2 are TIFF files but for their third and fourth byte.
        tags.load({b"II": b"II*\0", b"MM": b"MM\0*"}[data[:2]] + data[4:])
        directories = {pointer: dict(tags.get_ifd(pointer)) for pointer in _DIRECTORIES}
        exif = {tag: tags[tag] for tag in _TIFF_EP_TAGS if tag in tags} | directories[exif_block.EXIF_DIRECTORY]
        directories[exif_block.EXIF_DIRECTORY] = {tag: exif[tag] for tag in exif if tag not in _ABOUT_RAW}
        return _cleaned(_gathered(tags, directories), None, None, None)
    except Exception:  # see above
        return NO_METADATA


def _gathered(tags: Image.Exif, directories: Mapping[int, Mapping[int, Any]]) -> bytes | None:
    """Return an EXIF block of what is about the photograph in a TIFF file's first directory, and of others."""
    kept = Image.Exif()
    for tag in _TIFF_TAGS:
        if tag in tags:
            kept[tag] = tags[tag]
    for pointer, directory in directories.items():
        if directory:
            kept[pointer] = dict(directory)
    return kept.tobytes() if len(kept) else None


def _cleaned(exif: bytes | None, xmp: bytes | str | None, dpi: Any, icc_profile: bytes | None) -> Metadata:
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    named = {"EXIF data": exif, "XMP data": xmp, "ICC profile": icc_profile}
    limit = f"over the limit of {MAX_BYTES / 1e6:.0f} MB"
    lost = tuple(left_out_line(n, data, limit) for n, data in named.items() if data and len(data) > MAX_BYTES)
    exif = None if not exif or len(exif) > MAX_BYTES else _upright(exif.removeprefix(_EXIF_HEADER))
    xmp = None if not xmp or len(xmp) > MAX_BYTES else _upright_xmp(xmp)
    return Metadata(exif, xmp, _dots(dpi) or (_exif_dpi(exif) if exif else None), lost)


def tiff_tags(exif: bytes) -> tuple[list[tuple[int, int, int, bytes]], dict[int, Any]]:
    """Return what a TIFF file takes over of an EXIF block.

    Args:
        exif: the block.

    Returns:
        ((tag, type, count, value) of text and bytes in the first directory, the other directories by their tag).
    """
    tags = Image.Exif()
    tags.load(exif)
    own = []
    for tag in _TIFF_TAGS:
        value = tags.get(tag)
        if isinstance(value, str):
            own.append((tag, 2, len(value.encode()) + 1, value.encode() + b"\0"))
        elif isinstance(value, bytes):
            own.append((tag, 1, len(value), value))
    return own, {pointer: dict(directory) for pointer in _DIRECTORIES if (directory := tags.get_ifd(pointer))}


def left_out_line(name: str, data: bytes, why: str) -> str:
    """Return the line about something that is not written."""
    size = f"{len(data)} bytes" if len(data) < 1000 else f"{len(data) / 1000:,.0f} kB"
    return f"{size} of {name} left out, {why}"


def _upright(exif: bytes) -> bytes | None:
    try:
        return exif_block.upright(exif)
    except struct.error:
        return None


def _upright_xmp(xmp: bytes) -> bytes:
    xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))\d", rb"\g<1>1", xmp)
    return re.sub(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)


def _exif_dpi(exif: bytes) -> tuple[float, float] | None:
    try:
        tags = Image.Exif()
        tags.load(exif)
        return _tags_dpi(tags)
    except Exception:
        return None


def _tags_dpi(tags: Image.Exif) -> tuple[float, float] | None:
    inch = _INCHES.get(tags.get(exif_block.RESOLUTION_UNIT, 2), 0.0)
    values = [tags.get(tag) for tag in (exif_block.X_RESOLUTION, exif_block.Y_RESOLUTION)]
    return _dots([float(value) * inch for value in values if value is not None])


def _dots(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = map(float, dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(dots) and 0 < dots < 1e6 for dots in (x, y)) else None

"""EXIF blocks, edited where they lie: maker notes hold offsets into the block that only the camera's maker knows.

Reference: TIFF 6.0, section 2, for directories and their entries; Exif 2.32, section 4.5, for the thumbnail's.
"""

import struct
from collections.abc import Iterator
from fractions import Fraction

ORIENTATION, EXIF_DIRECTORY, GPS_DIRECTORY = 0x0112, 0x8769, 0x8825
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))  # (tag of the offset, tag of the length): JPEG, uncompressed
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_ENTRY = 12  # bytes
_EMPTY = b"II*\0\x08\0\0\0" + bytes(6)


class _Block:
    """A block's bytes, and what is where in them. What points outside raises struct.error."""

    def __init__(self, data: bytes):
        self.data = bytearray(data)
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
        if not self.order:
            raise struct.error("no EXIF block")
        (self.first,) = self.read("I", 4)

    def read(self, kinds: str, place: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + kinds, self.data, place)

    def write(self, kinds: str, place: int, *values: int) -> None:
        struct.pack_into(self.order + kinds, self.data, place, *values)

    def entries(self, directory: int) -> Iterator[tuple[int, int]]:
        """Yield (tag, where its entry is)."""
        (count,) = self.read("H", directory)
        for place in range(directory + 2, directory + 2 + count * _ENTRY, _ENTRY):
            yield self.read("H", place)[0], place

    def end(self, directory: int) -> int:
        """Where a directory points to the next one."""
        return directory + 2 + self.read("H", directory)[0] * _ENTRY

    def value(self, place: int) -> int:
        """The one number, short or long, in an entry."""
        kind = self.read("H", place + 2)[0]
        return self.read("H" if kind == _SHORT else "I", place + 8)[0]


def upright(data: bytes) -> bytes:
    """Return an EXIF block for an image that stands upright: orientation 1, its thumbnail erased.

    Args:
        data: the block, from its byte order on.

    Raises:
        struct.error: it is damaged.
    """
    block = _Block(data)
    for tag, place in block.entries(block.first):
        if tag == ORIENTATION:
            block.write("HHIHH", place, tag, _SHORT, 1, 1, 0)
    end = block.end(block.first)
    (thumbnail,) = block.read("I", end)
    block.write("I", end, 0)
    if thumbnail:
        _erase(block, dict(block.entries(thumbnail)))
    return bytes(block.data)


def _erase(block: _Block, entries: dict[int, int]) -> None:
    for offset, length in _THUMBNAILS:
        if offset in entries and length in entries:
            start = block.value(entries[offset])
            stop = start + block.value(entries[length])
            if stop >= len(block.data) > start:
                del block.data[start:]
            else:
                block.data[start:stop] = bytes(stop - start)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return an EXIF block that says another width and height, where it says any.

    Args:
        data: the block.
        width: of the image, pixels.
        height: likewise.

    Raises:
        struct.error: it is damaged.
    """
    block = _Block(data)
    entries = list(block.entries(block.first))
    for tag, place in list(entries):
        if tag == EXIF_DIRECTORY:
            entries += block.entries(block.value(place))
    for tag, place in entries:
        if tag in _WIDTHS + _HEIGHTS:
            block.write("HHII", place, tag, _LONG, 1, width if tag in _WIDTHS else height)
    return bytes(block.data)


def with_dpi(data: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Return an EXIF block that says a resolution; its first directory moves to the end, all else stays where it is.

    Args:
        data: the block, or None.
        dpi: dots per inch, horizontally and vertically.

    Raises:
        struct.error: it is damaged.
    """
    block = _Block(data or _EMPTY)
    entries = {tag: bytes(block.data[place : place + _ENTRY]) for tag, place in block.entries(block.first)}
    order, values = block.order, bytearray(len(block.data) % 2)
    for tag, dots in zip((X_RESOLUTION, Y_RESOLUTION), dpi, strict=True):
        entries[tag] = struct.pack(order + "HHII", tag, _RATIONAL, 1, len(block.data) + len(values))
        fraction = Fraction(dots).limit_denominator(10_000)
        values += struct.pack(order + "II", fraction.numerator, fraction.denominator)
    entries[RESOLUTION_UNIT] = struct.pack(order + "HHIHH", RESOLUTION_UNIT, _SHORT, 1, 2, 0)  # 2: inch
    block.write("I", 4, len(block.data) + len(values))
    directory = b"".join(entries[tag] for tag in sorted(entries))
    return bytes(block.data + values) + struct.pack(order + "H", len(entries)) + directory + bytes(4)

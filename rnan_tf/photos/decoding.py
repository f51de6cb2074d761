"""Image files' bytes -> arrays, by Pillow for 8 bits.

Pillow reduces 16-bit colour to 8 bits without a word, so 16-bit PNG goes through imagecodecs and 16-bit TIFF through
tifffile; both are imported only when such a file comes along.
"""

import io
import logging
import math
import struct
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from rnan_tf.errors import ImageError, InputError
from rnan_tf.extras import check_extra
from rnan_tf.photos.jpeg_coding import JpegCoding, read_jpeg_coding
from rnan_tf.photos.metadata import MAX_BYTES, Metadata, read_metadata, read_tiff_metadata
from rnan_tf.photos.pixels import from_float

# The plugins directly, not Image.open: its decompression bomb check warns and raises by a process-wide setting, and it
# would open a phone's JPEG with an embedded depth or gain map as a multi-picture file.
_PLUGINS: dict[str, Callable[[BinaryIO], Any]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIF": lambda data: _heif(data),
}
_SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
    "WEBP": (b"RIFF",),
}
# Of the first box of AVIF and HEIC files: their main brand may be that of any image ("mif1"), and the others follow.
_BRANDS = {"AVIF": (b"avif", b"avis"), "HEIF": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")}
_GRAY_MODES = ("1", "L", "LA", "La")
_RGB_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr")
# 16-bit TIFF: those whose decoders stop at the size of a strip, however much more there is to inflate.
_TIFF_COMPRESSIONS = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "LZMA", "ZSTD")
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}

# Above Pillow's 1 MB, for the whole process: larger text, XMP data and ICC profiles would pass for damage.
PngImagePlugin.MAX_TEXT_CHUNK = 64 * 2**20

# They say a line on stderr for each broken tag or chunk beside the pixels, thousands for some EXIF data.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
for _name in ("imagecodecs", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Decoded(NamedTuple):
    """A still image, upright.

    Attributes:
        array: (H, W) or (H, W, 2 to 4) uint8 or uint16, alpha as last channel.
        icc_profile: the embedded colour profile, or None.
        format: such as "PNG".
        metadata: what else the file says.
        jpeg: how a JPEG was compressed, else None.
    """

    array: np.ndarray
    icc_profile: bytes | None
    format: str
    metadata: Metadata
    jpeg: JpegCoding | None = None


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a still image, upright.

    Args:
        data: a file's bytes; they, not a name, tell the format.
        max_pixels: larger images are refused from their header.

    Raises:
        ImageError: not a still image of a supported kind. Damaged data raise whatever the decoder meets.
    """
    file_format = sniff(data)
    decoded, orientation = (_decode_tiff if file_format == "TIFF" else _decode_pillow)(data, file_format, max_pixels)
    array = np.ascontiguousarray(_UPRIGHT.get(orientation, np.asarray)(decoded.array))
    icc_profile = decoded.icc_profile if decoded.icc_profile and len(decoded.icc_profile) <= MAX_BYTES else None
    return decoded._replace(array=array, icc_profile=icc_profile)


def image_size(file: BinaryIO) -> tuple[int, int]:
    """Return an image's width and height, as it is stored, from its header.

    Args:
        file: opened, at its beginning.

    Raises:
        ImageError: not an image of a supported kind. Damaged data raise whatever the decoder meets.
    """
    file_format = sniff(file.read(64))
    file.seek(0)
    width, height = _PLUGINS[file_format](file).size
    return int(width), int(height)


def sniff(data: bytes) -> str:
    """Return the format of a file that begins so.

    Raises:
        ImageError: it is none that can be read.
    """
    for file_format, signatures in _SIGNATURES.items():
        if data.startswith(signatures) and (file_format != "WEBP" or data[8:12] == b"WEBP"):
            return file_format
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 64)]
        for file_format, names in _BRANDS.items():
            if any(brands[start : start + 4] in names for start in range(0, len(brands), 4)):
                _check_codec(file_format)
                return file_format
    if data.startswith(b"GIF8"):
        raise ImageError("is a GIF, maybe animated, and only still images are read; save its first frame as PNG")
    raise ImageError(
        "is not a PNG, JPEG, TIFF, BMP, WebP, AVIF or HEIC image, whatever its name says; save it as one of these"
    )


def _check_codec(file_format: str) -> None:
    if file_format == "HEIF":
        try:
            check_extra("heif", "HEIC files")
        except InputError as error:
            raise ImageError(str(error)) from None
    elif not features.check("avif"):
        raise ImageError("is an AVIF file, which this build of Pillow cannot read; save it as PNG, or install another")


def _heif(data: BinaryIO) -> Any:
    from pillow_heif import HeifImageFile

    image: Any = HeifImageFile
    return image(data)


def _check_still(size: tuple[int, int], several: bool, max_pixels: int) -> None:
    if several:
        raise ImageError("is animated or has several pages, and only still images are read; save its first frame alone")
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"has {width} x {height} pixels, over the limit of {max_pixels}; crop or shrink it, or raise `max_pixels`"
        )


def _unsupported(pixels: str) -> ImageError:
    return ImageError(f"has {pixels} pixels; convert it to RGB or gray with 8 or 16 bits per channel first")


def _decode_pillow(data: bytes, file_format: str, max_pixels: int) -> tuple[Decoded, int]:
    """Return the image and the EXIF orientation still to apply."""
    chunks = _png_chunks(data) if file_format == "PNG" else {}
    try:
        image = _PLUGINS[file_format](io.BytesIO(data))
    except Image.DecompressionBombError:  # Pillow's WebP reader has its own limit, about 179 Mpixel
        raise ImageError(f"has more pixels than the limit of {max_pixels}; crop or shrink it") from None
    _check_still(image.size, file_format != "HEIF" and getattr(image, "is_animated", False), max_pixels)
    if chunks and chunks[b"IHDR"][8] == 16:
        import imagecodecs

        # With "exif" set getexif() does not load the image, which would decode it a second time.
        image.info.setdefault("exif", bytes(chunks.get(b"eXIf", b"")))
        array = imagecodecs.png_decode(data)
    elif image.mode.startswith("I;16"):
        array = np.asarray(image).astype(np.uint16)
    elif image.mode not in _GRAY_MODES + _RGB_MODES:
        raise _unsupported(image.mode)
    else:
        array = _pixels8(image)
    jpeg = read_jpeg_coding(image) if file_format == "JPEG" else None
    decoded = Decoded(array, image.info.get("icc_profile"), file_format, read_metadata(image), jpeg)
    return decoded, _orientation(image)


def _pixels8(image: Any) -> np.ndarray:
    image.load()
    mode = ("L" if image.mode in _GRAY_MODES else "RGB") + ("A" if image.has_transparency_data else "")
    if image.mode != mode:  # convert() copies even when there is nothing to convert
        image = image.convert(mode)
    return np.asarray(image)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1


def _png_chunks(data: bytes) -> dict[bytes, memoryview]:
    """The first chunk of each type, down to IEND: Pillow accepts a file that ends before it."""
    chunks: dict[bytes, memoryview] = {}
    view, start = memoryview(data), 8
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        kind = data[start + 4 : start + 8]
        chunks.setdefault(kind, view[start + 8 : start + 8 + length])
        start += 12 + length
        if kind == b"IEND" and start <= len(data):
            return chunks
    raise ImageError("is cut short: the end of the PNG data is missing; copy it again")


def _decode_tiff(data: bytes, file_format: str, max_pixels: int) -> tuple[Decoded, int]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[0]
        # A reduced first page is a raw file's thumbnail (DNG, NEF).
        _check_still((page.imagewidth, page.imagelength), len(tiff.pages) > 1 or page.is_reduced, max_pixels)
        _check_tile(page)
        photometric, gray = tifffile.PHOTOMETRIC(page.photometric), tifffile.PHOTOMETRIC.MINISBLACK
        if photometric == tifffile.PHOTOMETRIC.SEPARATED:
            raise _unsupported("CMYK")
        if page.sampleformat != tifffile.SAMPLEFORMAT.UINT or page.bitspersample not in (1, 2, 4, 8, 16):
            raise _unsupported(f"{page.bitspersample}-bit {page.dtype}")
        if page.bitspersample != 16 or (photometric == gray and page.samplesperpixel == 1):
            # Pillow knows more compressions than tifffile alone.
            decoded, orientation = _decode_pillow(data, file_format, max_pixels)
            metadata = read_tiff_metadata(data, page.tags.valueof(700), decoded.icc_profile)
            return decoded._replace(metadata=metadata), orientation
        # tifffile takes what is missing of a strip for zeros.
        if max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) > len(data):
            raise ImageError("is cut short: the end of the TIFF data is missing; copy it again")
        icc_profile, orientation = (page.tags.valueof(tag) for tag in (34675, _ORIENTATION_TAG))
        metadata = read_tiff_metadata(data, page.tags.valueof(700), icc_profile)
        return Decoded(_tiff16_array(page), icc_profile, file_format, metadata), orientation


def _check_tile(page: Any) -> None:
    """Refuse tiles much larger than the image: a whole one is inflated, even for a single pixel of it."""
    pixels = math.prod(page.tile or ())
    if pixels > max(1024 * 1024, 4 * page.imagewidth * page.imagelength):
        raise ImageError(
            f"has tiles of {pixels} pixels for {page.imagewidth} x {page.imagelength}; save it without tiles, or as PNG"
        )


def _tiff16_array(page: Any) -> np.ndarray:
    from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

    colours = {PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.RGB: 3}.get(page.photometric)
    if colours is None or page.axes not in ("YX", "YXS", "SYX") or len(page.extrasamples) > 1:
        raise _unsupported(f"{page.samplesperpixel}-channel {PHOTOMETRIC(page.photometric).name} (axes {page.axes})")
    compression = COMPRESSION(page.compression).name
    if compression not in _TIFF_COMPRESSIONS:
        raise ImageError(f"has 16-bit pixels in TIFF compression {compression}; save it with LZW or Deflate, or as PNG")
    array: np.ndarray = page.asarray().astype(np.uint16)  # astype: native byte order
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    array = array.reshape(*array.shape[:2], -1)
    pixels, alpha = array[..., :colours], array[..., colours:]
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = 65535 - pixels
    extra = page.extrasamples[0] if page.extrasamples else EXTRASAMPLE.UNSPECIFIED
    if extra == EXTRASAMPLE.UNSPECIFIED:
        return pixels
    if extra == EXTRASAMPLE.ASSOCALPHA:  # premultiplied
        pixels = from_float(pixels / np.maximum(alpha, 1).astype(np.float32), np.uint16)
    return np.concatenate([pixels, alpha], axis=-1)

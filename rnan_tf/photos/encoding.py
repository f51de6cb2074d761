"""Arrays -> image files' bytes, by Pillow for 8 bits, imagecodecs for 16-bit PNG and tifffile for TIFF."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from rnan_tf.photos.jpeg_coding import JpegCoding
from rnan_tf.photos.metadata import NO_METADATA, Metadata, tiff_tags

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {},
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True},  # exact: keep the colours below transparent pixels
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
_NO_GRAY = ("WEBP", "AVIF")
_LONG = 4  # a TIFF tag's type
_NO_RESOLUTION = ("WEBP", "AVIF")  # but in their EXIF data


def encode(
    array: np.ndarray,
    file_format: str,
    icc_profile: bytes | None,
    metadata: Metadata = NO_METADATA,
    jpeg: JpegCoding | None = None,
    jpeg_quality: int | None = None,
) -> bytes:
    """Encode an image, without loss but for JPEG and AVIF (quality 90, chroma not subsampled).

    Args:
        array: (H, W, 1 to 4) uint8 or uint16, alpha as last channel.
        file_format: one that can hold it.
        icc_profile: left out where it cannot apply: a gray profile on RGB pixels, or the reverse.
        metadata: what the file is to say; what the format cannot hold is left out.
        jpeg: how a JPEG is compressed; None for quality 95 without chroma subsampling.
        jpeg_quality: in place of that of `jpeg`.

    Returns:
        The file's bytes.
    """
    icc_profile = fitting_profile(icc_profile, array.shape[-1], file_format)
    metadata = metadata.fitting(file_format)[0]
    exif = metadata.block(array.shape[1], array.shape[0], resolution=file_format in _NO_RESOLUTION)
    if file_format == "TIFF":
        return _encode_tiff(array, icc_profile, exif, metadata)
    if array.dtype == np.uint16:
        return _encode_png16(array, icc_profile, exif, metadata)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    options: dict[str, Any] = {**_SAVE_OPTIONS[file_format], "icc_profile": icc_profile}
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if file_format == "JPEG":
        options |= _jpeg_options(jpeg, jpeg_quality)
    if metadata.xmp and file_format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def fitting_profile(icc_profile: bytes | None, channels: int, file_format: str) -> bytes | None:
    """Return an ICC profile if it can apply: not to a BMP file, nor a gray one to RGB pixels, or the reverse."""
    is_rgb = channels > 2 or file_format in _NO_GRAY
    space = b"RGB " if is_rgb else b"GRAY"  # the header's field
    return icc_profile if icc_profile and file_format != "BMP" and icc_profile[16:20] == space else None


def _jpeg_options(jpeg: JpegCoding | None, quality: int | None) -> dict[str, Any]:
    subsampling = (jpeg and jpeg.subsampling) or "4:4:4"
    if quality is not None or jpeg is None:
        return {"quality": quality or 95, "subsampling": subsampling}
    # Without a quality, by which Pillow would scale the tables.
    return {"qtables": [[min(step, 255) for step in table] for table in jpeg.tables], "subsampling": subsampling}


def _encode_tiff(array: np.ndarray, icc_profile: bytes | None, exif: bytes | None, metadata: Metadata) -> bytes:
    import tifffile

    tags, directories = tiff_tags(exif) if exif else ([], {})
    extra: list[Any] = [(*tag, True) for tag in tags]
    # tifffile writes no pointers to directories, but their neighbours, which then get their numbers.
    extra += [(pointer - 1, _LONG, 1, 0, True) for pointer in directories]
    if metadata.xmp:
        extra.append((700, 1, len(metadata.xmp), metadata.xmp, True))
    channels, buffer = array.shape[-1], io.BytesIO()
    tifffile.imwrite(
        buffer,
        array[..., 0] if channels == 1 else array,
        byteorder="<",
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc_profile,
        software=False,
        metadata=None,
        resolution=metadata.dpi,
        resolutionunit=2 if metadata.dpi else None,
        extratags=extra,
    )
    return _with_directories(buffer, directories) if directories else buffer.getvalue()


def _with_directories(file: io.BytesIO, directories: dict[int, dict[int, Any]]) -> bytes:
    """Append the directories that tags of a little-endian TIFF file point to."""
    import tifffile

    data = bytearray(file.getvalue())
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        places = {pointer: tiff.pages.first.tags[pointer - 1].offset for pointer in directories}
    for pointer, values in directories.items():
        data += bytes(len(data) % 2)
        struct.pack_into("<HHII", data, places[pointer], pointer, _LONG, 1, len(data))
        directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=pointer)
        for tag, value in values.items():
            directory[tag] = value
        data += directory.tobytes(len(data))
    return bytes(data)


def _encode_png16(array: np.ndarray, icc_profile: bytes | None, exif: bytes | None, metadata: Metadata) -> bytes:
    import imagecodecs

    # All filters, then run lengths alone: two to four times as fast as the defaults, with smaller files.
    options = {"level": 1, "strategy": imagecodecs.PNG.STRATEGY.RLE, "filter": imagecodecs.PNG.FILTER.ALL}
    # A copy: it refuses views whose axes of one element have strides of their own, which numpy calls contiguous.
    data = bytes(imagecodecs.png_encode(np.array(array, order="C"), **options))
    chunks = b""
    if icc_profile:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    if metadata.dpi:
        x, y = (round(dpi / 0.0254) for dpi in metadata.dpi)
        chunks += _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    if exif:
        chunks += _chunk(b"eXIf", exif)
    return data[:33] + chunks + data[33:]  # 33: behind the signature and IHDR


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

"""Turn the bytes of a picture into pixels, and pixels into bytes, without trusting the bytes."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from cluster.base.errors import InvalidInput, TooLarge
from cluster.media.headers import PNG, measure

MAX_PIXELS = 25_000_000
Convert = Callable[[Image.Image], NDArray[Any]]
"""Pixels of a Pillow image that was read to its end and stands upright."""
_COLOURS = {1: 0, 3: 2}  # channels to PNG's colour types, for grey and for RGB
_CHANNELS = {0: 1, 2: 3}
_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every PNG
_ORIENTATION = 0x0112  # the EXIF tag, and what undoes each of its values
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF = frozenset(("exif", "xmp", "Raw profile type exif"))  # where Pillow finds it
_DEPTHS = (8, 10, 12, 14, 16)  # bits of grey that cameras and scanners give
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_ABOUT_TURN = (b"XML:com.adobe.xmp\0\0", b"Raw profile type exif\0")  # XMP comes unpacked
# What Pillow's parsers raise on bytes that are not what their header promises.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, RuntimeError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels of a picture's file: `[height, width, channels]`, 1 grey or 3 RGB.

    It may be PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM, whatever its name.
    The picture is turned upright as its EXIF says; transparency lies on white; palettes, 16 bits
    and CMYK become 8-bit grey or RGB; of an animation the first frame counts, of several pages the
    first. Grey of more than 8 bits keeps the upper 8 of its depth, which is the least of 8, 10,
    12, 14 and 16 bits that holds its brightest pixel: each picture is looked at alone.

    Raises:
        TooLarge: it has more than `max_pixels`, found before anything is decoded.
        UnsupportedMedia: it is none of these formats.
        InvalidInput: it is truncated or broken, or its pixels are more than 16 bits or floats.
    """
    kind, width, height = measure(data)
    _check_size(width, height, max_pixels)
    plain = _decode_own(data, width, height)
    return _decode_by_pillow(data, kind, max_pixels, _pixels) if plain is None else plain


def decode_by(convert: Convert, data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """The pixels of a picture's file as `convert` reads them off the Pillow image.

    Raises:
        InvalidInput: as `decode`, and what `convert` raises.
    """
    kind, width, height = measure(data)
    _check_size(width, height, max_pixels)
    return _decode_by_pillow(data, kind, max_pixels, convert)


def from_pillow(
    image: Image.Image, *, max_pixels: int = MAX_PIXELS, convert: Convert | None = None
) -> NDArray[Any]:
    """The pixels of a Pillow image, turned upright as `decode` does with those of its file.

    Raises:
        TooLarge: it has more than `max_pixels`.
        InvalidInput: its file cannot be read to its end, or its pixels are floats.
    """
    _check_size(*image.size, max_pixels)
    try:
        image.load()
        return (convert or _pixels)(_upright(image))
    except InvalidInput:
        raise
    except (*_BROKEN, Warning) as error:
        raise InvalidInput(
            f"The picture of mode {image.mode} cannot be read: {str(error).rstrip('.')}.",
            hint="Convert it with .convert('RGB').",
        ) from None


def encode(pixels: NDArray[Any]) -> bytes:
    """Pixels `[height, width]` or `[height, width, 1 or 3]`, uint8, as a PNG.

    It is the plainest PNG there is (one data chunk, no filters), so that `decode` reads it some
    four times faster than another, and the same pixels always give the same bytes.

    Raises:
        InvalidInput: the array is no such picture.
    """
    shape, dtype = pixels.shape, pixels.dtype
    cube = pixels[..., None] if pixels.ndim == 2 else pixels
    if dtype != np.uint8 or cube.ndim != 3 or cube.shape[2] not in _COLOURS or not cube.size:
        raise InvalidInput(
            f"An array of shape {shape} and type {dtype} is no picture.",
            hint="Give uint8 of height x width, or height x width x 1 or 3.",
        )
    return _png(cube.reshape(len(cube), -1), cube.shape[1], 8, _COLOURS[cube.shape[2]])


def encode_grey(levels: NDArray[Any]) -> bytes:
    """Grey or labels `[height, width]`, uint8 or uint16, as a PNG of 8 or 16 bits."""
    deep = levels.dtype == np.uint16
    big_endian = np.ascontiguousarray(levels, ">u2" if deep else np.uint8)
    lines = big_endian.view(np.uint8).reshape(len(levels), -1)
    return _png(lines, levels.shape[1], 16 if deep else 8, _COLOURS[1])


def levels_of(image: Image.Image) -> NDArray[np.uint16]:
    """Grey of 8 to 16 bits as it is, `[height, width]`.

    Raises:
        InvalidInput: a pixel is a float, or none of 0 to 65,535.
    """
    if image.mode == "F":
        raise InvalidInput(
            "The picture's pixels are floats, whose black and white are not known.",
            hint="Scale them to whole numbers from 0 to 255.",
        )
    levels = np.asarray(image).astype(np.int64)
    least, most = int(levels.min()), int(levels.max())
    if least < 0 or most > 65_535:
        raise InvalidInput(
            f"The picture's pixels are from {least:,} to {most:,}, more than 16 bits hold.",
            hint="Scale them to whole numbers from 0 to 65,535.",
        )
    return levels.astype(np.uint16)


def _png(rows: NDArray[np.uint8], width: int, bits: int, colour: int) -> bytes:
    """A PNG of one data chunk without filters, of the bytes of each row of pixels."""
    lines = np.zeros((len(rows), 1 + rows.shape[1]), np.uint8)  # each begins with "no filter"
    lines[:, 1:] = rows
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    return _opening(header) + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 4)) + _END


@lru_cache(maxsize=64)  # most pictures of a source are of one size
def _opening(header: bytes) -> bytes:
    return PNG + _chunk(b"IHDR", header)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLarge(
            f"The picture has {width * height:,} pixels ({width} x {height}); "
            f"the limit is {max_pixels:,}.",
            hint="Make it smaller before sending it.",
            limit=max_pixels,
            actual=width * height,
        )


def _decode_own(data: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """The pixels of a PNG that `encode` wrote; None for any other picture."""
    channels = _CHANNELS.get(data[25]) if len(data) > 57 and data.startswith(PNG) else None
    body = data[41:-16]  # after signature, IHDR and the head of IDAT; before its sum and IEND
    if channels is None or not _is_plain(data, body):
        return None
    expected = height * (1 + width * channels)
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(body, expected + 1)
    except zlib.error:
        return None
    if len(raw) != expected or not unpacker.eof:
        return None
    lines = np.frombuffer(raw, np.uint8).reshape(height, -1)
    if lines[:, 0].any():
        return None
    return np.ascontiguousarray(lines[:, 1:]).reshape(height, width, channels)


def _is_plain(data: bytes, body: bytes) -> bool:
    """Whether all but the pixels is just what `encode` writes, checksums included."""
    header = data[16:29]
    return (
        header[8] == 8  # bits
        and header[10:] == b"\0\0\0"
        and data[:33] == _opening(header)
        and data[33:41] == struct.pack(">I", len(body)) + b"IDAT"
        and data[-16:] == struct.pack(">I", zlib.crc32(data[37:-16])) + _END
    )


def _decode_by_pillow(data: bytes, kind: str, max_pixels: int, convert: Convert) -> NDArray[Any]:
    try:
        return _opened_by_pillow(data, kind, max_pixels, convert)
    except InvalidInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(
            f"The picture has more pixels than its header states; the limit is {max_pixels:,}.",
            hint="Send an intact file.",
            limit=max_pixels,
        ) from None
    except UnidentifiedImageError:
        raise InvalidInput(
            f"The {kind} picture of {len(data)} bytes is broken, or of a kind that is not read.",
            hint="Send the whole file, or save it as PNG.",
        ) from None
    except (*_BROKEN, Warning) as error:
        raise InvalidInput(
            f"The {kind} picture of {len(data)} bytes is truncated or broken: "
            f"{str(error).rstrip('.')}.",
            hint="Send the whole file, or save it again.",
        ) from None


def _opened_by_pillow(data: bytes, kind: str, max_pixels: int, convert: Convert) -> NDArray[Any]:
    try:
        return _opened(data, kind, max_pixels, convert)
    except InvalidInput:
        raise
    except ValueError:
        # Pillow unpacks texts and colour profiles to a megabyte: those are not for the pixels
        slim = _without_texts(data) if kind == "PNG" else data
        if len(slim) == len(data):
            raise
        return _opened(slim, kind, max_pixels, convert)


def _opened(data: bytes, kind: str, max_pixels: int, convert: Convert) -> NDArray[Any]:
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        _check_size(*image.size, max_pixels)  # a GIF's frame may pass its stated size
        image.load()  # what may say how it is turned comes with the pixels
        # to look for EXIF takes a third of the time of a small picture
        return convert(_upright(image) if _EXIF.intersection(image.info) else image)


def _without_texts(data: bytes) -> bytes:
    """A PNG less its colour profile and texts, but for small ones that may say how to turn it."""
    kept, at = [data[: len(PNG)]], len(PNG)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, chunk = data[at + 4 : at + 8], data[at : at + 12 + size]
        turns = chunk.startswith(_ABOUT_TURN, 8) and size <= PngImagePlugin.MAX_TEXT_CHUNK
        if kind != b"iCCP" and (kind not in _TEXTS or turns):
            kept.append(chunk)
        at += len(chunk)
    return b"".join(kept)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except (*_BROKEN, Warning):
        turn = None  # a picture with broken EXIF is still a picture
    return image.transpose(turn) if turn is not None else image


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Any mode of Pillow as 8-bit grey or RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep(image)
    if image.has_transparency_data:
        image = _on_white(image)
    elif image.mode == "P":
        image = image.convert("L" if _grey_palette(image) else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    pixels = np.array(image, dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _from_deep(image: Image.Image) -> NDArray[np.uint8]:
    """The upper eight bits of the depth that grey really has."""
    deep = levels_of(image)
    most = int(deep.max())
    # a scanner's 12 bits in a file of 16 would keep only 16 levels of grey
    depth = next(bits for bits in _DEPTHS if most < 1 << bits)
    return (deep >> depth - 8).astype(np.uint8)[..., None]


def _on_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La", "1")
    solid = image.convert("RGBA")
    paper = Image.new("RGBA", solid.size, "white")
    return Image.alpha_composite(paper, solid).convert("L" if grey else "RGB")


def _grey_palette(image: Image.Image) -> bool:
    colours = np.asarray(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())

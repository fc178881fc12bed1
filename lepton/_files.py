"""Turn files, bytes, pictures and arrays into base64, as files travel in JSON."""

import base64
import binascii
import io
import mimetypes
import re
import struct
import sys
import zlib
from array import array
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from lepton._fields import Field
from lepton.errors import BadType, BadValue, MissingFile

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"}
ORIENTATION = 0x0112  # the EXIF tag that says how a camera was held
COLOUR_TYPE = {1: 0, 3: 2}  # channels -> PNG's number for grey and for RGB
KINDS = {"image": "a picture", "audio": "a sound", "video": "a video", "text": "a text"}
BEGINS = tuple(
    (kind, re.compile(begins, re.DOTALL))
    for kind, begins in (
        ("image", rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\0|MM\0\*|RIFF....WEBP"),
        ("audio", rb"(?:RIF[FX]|RF64)....WAVE|fLaC|OggS|ID3|FORM....AIF[FC]"),
    )
)


@runtime_checkable
class Picture(Protocol):
    """What this module uses of a Pillow image, so that Pillow need not be installed."""

    mode: str

    def load(self) -> object:
        """Read the pixels of its file, where that was not done yet."""

    def getexif(self) -> MutableMapping[int, Any]:
        """What the camera said of it, by EXIF's numbers."""

    def save(self, file: io.BytesIO, *, format: str, exif: bytes) -> None:  # noqa: A002
        """Write the picture into a file."""

    def convert(self, mode: str) -> Self:
        """The same picture in another mode."""


@runtime_checkable
class ArrayLike(Protocol):
    """What this module uses of a NumPy array or a torch tensor."""

    def __array__(self) -> memoryview: ...


def is_binary(value: object) -> bool:
    """Whether a value is one picture or blob, rather than a list of them."""
    if isinstance(value, bytes | bytearray | memoryview | Path | Picture):
        return True
    shape = getattr(value, "shape", ())
    return isinstance(value, ArrayLike) and len(shape) >= 2


def to_base64(value: object, field: Field) -> str:
    """Write a value of a field of files as base64.

    Args:
        value: bytes; a path; base64 already, or a data URI; a Pillow image; a uint8 array
            [height, width], [height, width, 1] or [height, width, 3], where the field keeps
            pixels of 16 bits a uint16 array [height, width] too.
        field: which one.

    Raises:
        MissingFile: no file can be read at the path.
        BadType: a kind of value, of array element or of pixel, that is no file of the field's type.
        BadValue: a file of another kind, or an array of a shape that is no picture.
    """
    if isinstance(value, str):
        return _from_text(value, field)
    return base64.b64encode(_blob(value, field)).decode("ascii")


def png(pixels: bytes, *, height: int, width: int, channels: int, bits: int = 8) -> bytes:
    """Write a PNG file.

    Args:
        pixels: uint8 [height, width, channels], row after row, or of 16 bits, the upper first.
        height: rows.
        width: pixels of a row.
        channels: 1 for grey, 3 for RGB.
        bits: of each number.
    """
    row = width * channels * bits // 8
    # every row begins with the number of its filter; 0 is none
    rows = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPE[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _from_text(text: str, field: Field) -> str:
    path, name = Path(text), field.name
    if _is_file(path):
        return to_base64(path, field)
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise MissingFile(
            f"{name} is {shown!r}, which is neither an existing file nor base64. "
            "Check the path, or give the bytes themselves."
        ) from None
    return data


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # base64 is too long for a path, or holds what no path may
        return False


def _blob(value: object, field: Field) -> bytes:
    name = field.name
    if isinstance(value, Path):
        return _fitting(_read(value, name), field, value)
    if isinstance(value, bytes | bytearray):
        return _fitting(bytes(value), field)
    if isinstance(value, Picture):
        return _fitting(_from_picture(value, name), field)
    if isinstance(value, memoryview) and value.ndim == 1:
        return _fitting(value.tobytes(), field)
    if isinstance(value, memoryview | ArrayLike):
        if field.media.startswith("audio/"):
            raise BadType(
                f"{name} is an array, which does not say its rate. Give a path or the bytes of a "
                "sound file."
            )
        pixels = value if isinstance(value, memoryview) else memoryview(value.__array__())
        return _from_array(pixels, field)
    if field.media.startswith("audio/"):
        known = "sound or file. Give a path, bytes, or base64."
    else:
        known = "picture or file. Give a path, bytes, a Pillow image, a uint8 array, or base64."
    raise BadType(f"{name} is of type {type(value).__name__}, which is no {known}")


def _fitting(data: bytes, field: Field, path: Path | None = None) -> bytes:
    """The bytes of a file, unless they, or else the end of its name, are of another kind.

    The server knows more formats; this spares the way there where it is plain.
    """
    wanted = field.media.partition("/")[0]
    found = next((kind for kind, begins in BEGINS if begins.match(data)), "")
    if not found and path is not None:
        found = (mimetypes.guess_type(path.name)[0] or "").partition("/")[0]
    if wanted in KINDS and found in KINDS and found != wanted:
        what = repr(str(path)) if path is not None else f"{len(data):,} bytes"
        raise BadValue(
            f"{field.name} is {what}, which is {KINDS[found]}, but the field takes "
            f"{KINDS[wanted]} ({field.media}). Give a file of that kind."
        )
    return data


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFile(
            f"{name} cannot be read from {str(path)!r}: {error.strerror}. Check the path."
        ) from error


def _from_picture(picture: Picture, name: str) -> bytes:
    if picture.mode == "F":
        raise BadType(
            f"{name} is a Pillow image of floats, whose black and white are not known. "
            "Scale it to 0..255 and call .convert('L')."
        )
    picture.load()  # what is known of its orientation may come with the pixels
    deep = picture.mode == "I"  # 32 bits, which PNG has not
    sent = picture if deep or picture.mode in PNG_MODES else picture.convert("RGB")
    file = io.BytesIO()
    sent.save(file, format="TIFF" if deep else "PNG", exif=_orientation(picture))
    return file.getvalue()


def _orientation(picture: Picture) -> bytes:
    """EXIF that says only how the picture is turned, so that it arrives as its file would."""
    try:
        turn = int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises whatever its parser met in damaged EXIF; viewers ignore it
        turn = 1
    if not 2 <= turn <= 8:
        return b""
    # big-endian; one directory at 8 with one entry: a SHORT; no directory after it
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, ORIENTATION, 3, 1, turn, 0, 0)


def _from_array(pixels: memoryview, field: Field) -> bytes:
    name, deep = field.name, field.is_deep and pixels.format == "H"
    if pixels.format != "B" and not (field.is_deep and pixels.format in ("H", "?")):
        kinds = "uint8 or uint16" if field.is_deep else "uint8"
        raise BadType(
            f"{name} is an array of {pixels.format!r} (see the module struct), but a picture is "
            f"{kinds}. Scale it to 0..255 and call .astype('uint8')."
        )
    shape = pixels.shape or ()
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in {2, 3} or channels not in COLOUR_TYPE or 0 in shape:
        raise BadValue(
            f"{name} is an array of shape {shape}, but a picture is [height, width], "
            "[height, width, 1] or [height, width, 3]. Put the channels last with "
            ".transpose(1, 2, 0), drop an alpha channel with [..., :3], and give several pictures "
            "as a list."
        )
    data = pixels.tobytes()
    if deep and sys.byteorder == "little":
        numbers = array("H", data)
        numbers.byteswap()
        data = numbers.tobytes()
    bits = 16 if deep else 8
    return png(data, height=shape[0], width=shape[1], channels=channels, bits=bits)

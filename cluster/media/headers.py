"""Know how large a picture is from its header, before anything is decoded."""

import re
import struct
from collections.abc import Callable

from cluster.base.errors import InvalidInput, UnsupportedMedia

PNG = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 144
"""How many bytes of a file tell its format."""
READ = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM"
_BEGINS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(begins, re.DOTALL))
    for kind, begins in (  # by Pillow's names
        ("PNG", re.escape(PNG)),
        ("JPEG", rb"\xff\xd8\xff"),
        ("WEBP", rb"RIFF....WEBP"),
        ("GIF", rb"GIF8[79]a"),
        ("BMP", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),  # else a text: "BMW is ..."
        ("TIFF", rb"II[*+]\0|MM\0[*+]"),
        ("AVIF", rb"....ftyp(?:avi[fs]|mi[fa]1....(?:....){0,12}?avi[fs])"),
        ("JPEG2000", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
        ("PPM", rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d"),
    )
)
_NOT_READ: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(begins, re.DOTALL))
    for kind, begins in (
        ("HEIC", rb"....ftyp(?:hei|hev|mif1|msf1)"),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
        ("DICOM", rb".{128}DICM"),
        ("Photoshop", rb"8BPS"),
        ("SVG", rb"\s*(?:<\?xml[^>]*>\s*)?<svg"),
        ("PDF", rb"%PDF"),
    )
)


def sniff(data: bytes) -> str:
    """Which of the formats that are read the bytes begin like, by Pillow's name for it.

    Raises:
        InvalidInput: there are no bytes.
        UnsupportedMedia: they begin like none of them.
    """
    if not data:
        raise InvalidInput("The picture is empty (0 bytes).", hint="Send the bytes of the file.")
    for kind, begins in _BEGINS:
        if begins.match(data):
            return kind
    if other := known_otherwise(data):
        raise UnsupportedMedia(
            f"The picture is {other}, which is not read here.",
            hint=f"Save it as JPEG or PNG: {READ} are read.",
        )
    raise UnsupportedMedia(
        f"The picture begins with {data[:8].hex(' ')}, which is no known format.",
        hint=f"Send {READ}.",
    )


def known_otherwise(data: bytes) -> str:
    """The format of a picture that is known and not read, such as HEIC, or nothing."""
    return next((kind for kind, begins in _NOT_READ if begins.match(data)), "")


def measure(data: bytes) -> tuple[str, int, int]:
    """The format, the width and the height in pixels that the header states.

    Raises:
        InvalidInput: the header ends early or states no size.
        UnsupportedMedia: the bytes are none of the formats that are read.
    """
    kind = sniff(data)
    try:
        width, height = _SIZES[kind](data)
    except (struct.error, IndexError, KeyError, ValueError):
        width = height = 0
    if width < 1 or height < 1:
        raise InvalidInput(
            f"The {kind} picture of {len(data)} bytes states no size; it is truncated or broken.",
            hint="Send the whole file.",
        )
    return kind, width, height


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means that rows run from the top


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return width, int.from_bytes(data[27:30], "little") + 1 if len(data) >= 30 else 0
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(data: bytes) -> tuple[int, int]:
    """Walks the segments up to the first that starts a frame."""
    at = 2
    while True:
        while data[at] != 0xFF:
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 4)
            return width, height
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8  # markers that carry no length
        at += 1 if alone else 1 + struct.unpack_from(">H", data, at + 1)[0]


def _tiff(data: bytes) -> tuple[int, int]:
    """Looks for two tags of the first directory; of several pages the first is read."""
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43  # offsets of 64 bits
    at = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)[0]
    start, size, value = (at + 8, 20, 12) if big else (at + 2, 12, 8)
    found = {256: 0, 257: 0}  # width and height
    for entry in range(start, min(start + count * size, len(data)), size):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in found:
            code = {3: "H", 4: "I", 16: "Q"}[kind]
            found[tag] = struct.unpack_from(f"{order}{code}", data, entry + value)[0]
    return found[256], found[257]


def _avif(data: bytes) -> tuple[int, int]:
    """The largest that a part of it states: of a grid, or with a thumbnail, there are several."""
    stated = [
        struct.unpack_from(">II", data, box.end() + 4)
        for box in re.finditer(b"ispe", data[:_META_BYTES])
    ]
    width, height = max(stated, key=lambda size: size[0] * size[1])
    return width, height


def _jpeg2000(data: bytes) -> tuple[int, int]:
    if data.startswith(b"\xff\x4f"):  # a bare stream: extent less offset
        right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
        return right - left, bottom - top
    height, width = struct.unpack_from(">II", data, data.index(b"ihdr") + 4)
    return width, height


def _ppm(data: bytes) -> tuple[int, int]:
    words = re.sub(rb"#[^\n]*\n", b" ", data[2:_META_BYTES]).split(None, 2)
    return int(words[0]), int(words[1])


_META_BYTES = 65_536  # what of a file is looked through for its size
_SIZES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "JPEG2000": _jpeg2000,
    "PPM": _ppm,
}

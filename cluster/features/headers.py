"""Know how large a picture is from its first bytes, before anything is decoded."""

import struct
from collections.abc import Callable

from cluster.errors import InvalidInput, UnsupportedMedia

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def sniff(data: bytes) -> str:
    """Which of the five formats the bytes begin like, by Pillow's name for it.

    Raises:
        InvalidInput: there are no bytes.
        UnsupportedMedia: they begin like none of the five.
    """
    if not data:
        raise InvalidInput("The picture is empty (0 bytes).", hint="Send the bytes of the file.")
    if data.startswith(PNG):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    raise UnsupportedMedia(
        f"The picture begins with {data[:8].hex(' ')}, which is no known format.",
        hint="Send PNG, JPEG, WebP, GIF or BMP.",
    )


def measure(data: bytes) -> tuple[str, int, int]:
    """The format, the width and the height in pixels that the header states.

    Raises:
        InvalidInput: the header ends early or states no size.
        UnsupportedMedia: the bytes are none of the five formats.
    """
    kind = sniff(data)
    try:
        width, height = _SIZES[kind](data)
    except (struct.error, IndexError):
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


_SIZES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
}

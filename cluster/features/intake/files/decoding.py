"""Read files as text: one rule for byte order marks, encodings and line ends, at every door."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from cluster.base.errors import InvalidInput, TooLarge

MAX_LINE = 100_000_000
"""The most characters that a line, or a record whose quotes hold line ends, may have."""
SAY_ENCODING = (
    "the encoding it was written in, such as cp1252 (Western), koi8-r or cp1251 (Cyrillic) or "
    "shift_jis (Japanese): --map encoding=NAME"
)
_BLOCK = 65_536
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def text_lines(file: BinaryIO, where: str, encoding: str = "") -> Iterator[str]:
    """The lines of a file with their ends, which are newlines, or carriage returns alone.

    A byte order mark says the encoding and is no part of the text; without one and without
    `encoding` it is UTF-8. Bytes that are none stay recognisable, so that their row alone is
    refused.

    Args:
        file: open for reading.
        where: how errors name it.
        encoding: what the user says that it is.

    Raises:
        InvalidInput: there is no such encoding, or the file is not in it.
        TooLarge: a line has more than `MAX_LINE` characters.
    """
    head = file.read(_BLOCK)
    codec, errors = _codec(head, where, encoding)
    decoder = codecs.getincrementaldecoder(codec)(errors)
    start = _decode(decoder, head, where, codec).removeprefix("\ufeff")
    end = _line_end(start)
    rest = (_decode(decoder, block, where, codec) for block in iter(lambda: file.read(_BLOCK), b""))
    last = (_decode(decoder, b"", where, codec, final=True) for _ in (0,))
    open_line: list[str] = []
    size = 0
    for text in chain([start], rest, last):
        first, *others = text.split(end)
        open_line.append(first)
        size += len(first)
        if size > MAX_LINE:
            raise too_large(f"A line of {where}", MAX_LINE)
        if others:
            yield "".join(open_line) + end
            *whole, begun = others
            yield from (line + end for line in whole)
            open_line, size = [begun], len(begun)
    if size:
        yield "".join(open_line)


def decode(data: bytes, where: str = "the text", encoding: str = "") -> str:
    """The whole of a file as text, by the rule of `text_lines`.

    Raises:
        InvalidInput: there is no such encoding, or the bytes are not in it.
    """
    codec, errors = _codec(data[:_BLOCK], where, encoding)
    decoder = codecs.getincrementaldecoder(codec)(errors)
    return _decode(decoder, data, where, codec, final=True).removeprefix("\ufeff")


def too_large(what: str, most: int, hint: str = "Split it.") -> TooLarge:
    """What is said of a file or line over the limit."""
    return TooLarge(f"{what} is larger than {most:,} bytes.", hint=hint, limit=most)


def _codec(head: bytes, where: str, encoding: str) -> tuple[str, str]:
    """The name of the encoding, and what becomes of bytes that are not in it."""
    if encoding:
        try:
            "a".encode(encoding)  # some codecs of Python are none of text
            codecs.getincrementaldecoder(encoding)("surrogateescape")
        except (LookupError, ValueError):
            raise InvalidInput(
                f"There is no encoding {encoding!r}.", hint=f"Name {SAY_ENCODING}."
            ) from None
        return encoding, "surrogateescape"
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec, "surrogateescape" if codec == "utf-8" else "strict"
    if head.count(0) * 10 > len(head):
        raise InvalidInput(
            f"{where} is full of NUL bytes, as UTF-16 without a byte order mark is.",
            hint="Save it as UTF-8, or name the encoding as in --map encoding=utf-16-le.",
        )
    return "utf-8", "surrogateescape"


def _decode(
    decoder: codecs.IncrementalDecoder,
    data: bytes,
    where: str,
    codec: str,
    *,
    final: bool = False,
) -> str:
    try:
        return decoder.decode(data, final)
    except UnicodeError as error:  # of UTF-16 without its mark it is no UnicodeDecodeError
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error
        raise InvalidInput(
            f"{where} is not valid {codec.upper()}: {reason}.",
            hint=f"Fetch it again, or name {SAY_ENCODING}.",
        ) from None


def _line_end(start: str) -> str:
    """A newline, but a carriage return where the first line ends so and most lines do."""
    first = start.find("\r")
    if first < 0 or first == len(start) - 1 or "\n" in start[: first + 2]:
        return "\n"
    alone = start.count("\r") - start.count("\r\n")
    return "\r" if alone >= start.count("\n") else "\n"

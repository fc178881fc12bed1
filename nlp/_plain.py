"""Write texts in plain characters, within bounds, whatever a caller sends."""

import unicodedata

PIECE = 8_192  # characters that are rewritten at a time
MOST = 100_000  # characters of a rewritten text after which the rest is not read


def plain(text: str) -> str:
    """A text in Unicode's form NFKC, in which one character may become 18 (U+FDFA).

    A longer text is rewritten in pieces until there are `MOST` characters: a text of 100,000
    U+FDFA would otherwise hold up everybody for a second.
    """
    if text.isascii():
        return text
    if len(text) <= PIECE:
        return unicodedata.normalize("NFKC", text)
    pieces: list[str] = []
    size = 0
    for start in range(0, len(text), PIECE):
        pieces.append(unicodedata.normalize("NFKC", text[start : start + PIECE]))
        size += len(pieces[-1])
        if size >= MOST:
            break
    return "".join(pieces)

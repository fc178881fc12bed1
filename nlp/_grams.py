"""Hash a text's word and character n-grams, fast and without a dictionary of strings."""

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp._plain import plain

BASE = np.uint64(0x5851F42D4C957F2D)  # odd, so that the rolling hash loses nothing modulo 2**64
BORDER = np.uint64(0x5BD1E995)  # stands before and after each token among its characters
SPACE, WORD, ALONE = (
    0,
    1,
    2,
)  # what a code point is: none of a token, part of a word, a token itself
KINDS = {"L": WORD, "M": WORD, "N": WORD, "P": ALONE, "S": ALONE}
CJK = (
    (0x3040, 0x3100), (0x31F0, 0x3200), (0x3400, 0x4DC0),
    (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32400),
)  # fmt: skip
AT_ONCE = 128  # texts hashed together: few enough for the processor's cache

Words = NDArray[np.uint64]
Found = tuple[NDArray[np.int64], Words]
"""The text number and the hash of each n-gram."""


@dataclass(frozen=True)
class Grams:
    """Which n-grams are taken: lengths from the first number to the second, both included.

    Args:
        words: n-grams of tokens; an ideograph, a punctuation mark and a symbol are tokens.
        chars: n-grams of characters inside a token, its borders marked.
        bits: hashes are cut to that many bits.
    """

    words: tuple[int, int] = (1, 2)
    chars: tuple[int, int] = (2, 5)
    bits: int = 22

    def hash(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The text number and the bucket of every n-gram, repeats included, in no stated order.

        Everything is array work over the code points of all texts: a polynomial rolling hash (Karp
        and Rabin 1987) grows n-grams from those one shorter, as in fastText (arXiv:1607.01759) and
        feature hashing (arXiv:0902.2206). The same on every machine.
        """
        tokens = _Tokens(texts)
        found = [*tokens.word_grams(*self.words), *tokens.char_grams(*self.chars)]
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = np.concatenate([row for row, _ in found]).astype(np.int64)
        hashes = np.concatenate([hashed for _, hashed in found])
        return rows, (hashes >> np.uint64(64 - self.bits)).astype(np.int64)

    def count(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """In how many of the texts each bucket occurs `[2 ** bits]`."""
        counts = np.zeros(1 << self.bits, np.int64)
        for start in range(0, len(texts), AT_ONCE):
            row, bucket = self.hash(texts[start : start + AT_ONCE])
            key = np.sort(row << self.bits | bucket)  # np.unique hashes, which takes ten times that
            each = key[np.append(True, np.diff(key) > 0)[: len(key)]] & ((1 << self.bits) - 1)
            counts += np.bincount(each, minlength=len(counts))
        return counts

    def encode(self, texts: Sequence[str], table: NDArray[np.int32], longest: int) -> Any:
        """The distinct ids of each text `[n, most]` int32, ascending, zeros after them.

        Args:
            texts: any strings.
            table: the id of each bucket, 0 for those that are not known.
            longest: ids kept of one text.
        """
        blocks = [
            self._encode(texts[start : start + AT_ONCE], table, longest)
            for start in range(0, len(texts), AT_ONCE)
        ]
        return pad_together(blocks)

    def _encode(self, texts: Sequence[str], table: NDArray[np.int32], longest: int) -> Any:
        row, bucket = self.hash(texts)
        ids = table[bucket]
        known = ids > 0
        key = np.unique(row[known] << 32 | ids[known])
        row, ids = key >> 32, key & 0xFFFFFFFF
        counts = np.bincount(row, minlength=len(texts))
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        fits = place < longest
        out = np.zeros((len(texts), max(1, min(longest, int(counts.max(initial=0))))), np.int32)
        out[row[fits], place[fits]] = ids[fits]
        return out


class _Tokens:
    """The code points of texts, and where in them tokens begin and how long they are."""

    def __init__(self, texts: Sequence[str]) -> None:
        clean = map(plain, texts)
        joined = "\n".join(["", *(t.replace("\n", " ") for t in clean), ""]).lower()
        code = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        kind = _kinds()[code]
        quote = np.flatnonzero((code == ord("'")) | (code == 0x2019))
        kind[quote[(kind[quote - 1] == WORD) & (kind[quote + 1] == WORD)]] = WORD
        inside = kind != SPACE
        first = inside.copy()
        first[1:] &= ~((kind[1:] == WORD) & (kind[:-1] == WORD))
        begin, where = np.flatnonzero(first), np.flatnonzero(inside)
        self.row = (np.cumsum(code == ord("\n")) - 1)[begin]
        self.starts = np.searchsorted(where, begin)
        self.lengths = np.diff(self.starts, append=len(where))
        self.token = np.repeat(np.arange(len(begin)), self.lengths)
        self.offset = np.arange(len(where)) - self.starts[self.token]
        self.letter = _mix(code[where].astype(np.uint64))

    def word_grams(self, shortest: int, longest: int) -> Iterator[Found]:
        """Hashes of n tokens in a row of one text."""
        if not len(self.starts):
            return
        power = np.full(int(self.offset.max()) + 1, BASE)
        power[0] = 1
        power = np.multiply.accumulate(power)
        word = _mix(np.add.reduceat(self.letter * power[self.offset], self.starts))
        running = word
        for n in range(1, min(longest, len(word)) + 1):
            count = len(word) - n + 1
            if n > 1:
                running = _mix(running[:count] * BASE + word[n - 1 :])
            if n >= shortest:
                keep = self.row[:count] == self.row[n - 1 :]
                yield self.row[:count][keep], running[keep]

    def char_grams(self, shortest: int, longest: int) -> Iterator[Found]:
        """Hashes of n characters in a row of one token: of |the|rock|, he but not er."""
        if not len(self.starts):
            return
        size, tokens = len(self.token) + len(self.starts) + 1, np.arange(len(self.starts))
        place, border = np.arange(len(self.token)) + self.token + 1, self.starts + tokens
        sequence = np.full(size, BORDER)
        sequence[place] = self.letter
        room = np.zeros(size, np.int64)  # how far a gram may reach: to its token's closing border
        room[place] = self.lengths[self.token] - self.offset + 1
        room[border] = self.lengths + 2
        owner = np.zeros(size, np.int64)
        owner[place], owner[border] = self.token, tokens
        running = sequence
        for n in range(1, min(longest, size) + 1):
            count = size - n + 1
            if n > 1:
                running = running[:count] * BASE + sequence[n - 1 :]
            if n >= shortest:
                keep = np.flatnonzero(room[:count] >= n)
                yield self.row[owner[keep]], _mix(running[keep] + np.uint64(n))


def pad_together(blocks: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Blocks of rows as one, zeros after the rows that are shorter than the longest."""
    longest = max((block.shape[1] for block in blocks), default=1)
    return np.concatenate(
        [np.pad(block, ((0, 0), (0, longest - block.shape[1]))) for block in blocks]
        or [np.zeros((0, 1), np.int32)]
    )


def count_by_class(
    encoded: Iterable[tuple[NDArray[np.int32], NDArray[np.int64]]], size: int, classes: int
) -> NDArray[np.float64]:
    """How many rows of each class hold each id `[size, classes]`, from pairs of ids and labels."""
    counts = np.zeros(size * classes)
    for ids, labels in encoded:
        row, column = np.nonzero(ids)
        flat = ids[row, column].astype(np.int64) * classes + labels[row]
        counts += np.bincount(flat, minlength=size * classes)
    return counts.reshape(size, classes)


def bayes_ratios(counts: NDArray[np.float64], alpha: float = 1.0) -> NDArray[np.float32]:
    """Naive-Bayes log-count ratios of each id for each class against the rest.

    Wang and Manning 2012, "Baselines and Bigrams" (aclanthology.org/P12-2018); the row of id 0,
    which is padding, is zero. Of two classes each has half the ratio.

    Args:
        counts: how many rows of each class hold each id `[size, classes]`.
        alpha: added to every count.
    """
    counts = counts.copy()
    counts[0] = 0
    mine, rest = counts + alpha, counts.sum(1, keepdims=True) - counts + alpha
    ratio = np.log((mine / mine[1:].sum(0)) / (rest / rest[1:].sum(0)))
    ratio[0] = 0
    halved = ratio / 2 if counts.shape[1] == 2 else ratio
    return np.asarray(halved, dtype=np.float32)


def _mix(words: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64: doi:10.1145/2660193.2660195)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """What each code point is."""
    kinds = (KINDS.get(unicodedata.category(chr(code))[0], SPACE) for code in range(0x110000))
    table = np.fromiter(kinds, np.uint8, 0x110000)
    for low, high in CJK:
        table[low:high][table[low:high] == WORD] = ALONE
    return table

"""Tell in eight bytes a row whether its values are the ones already stored."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def digest_rows(columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """One 64-bit digest for each of `rows` rows over Arrow columns `[rows]`, in their order.

    Only digests of one key are ever compared, so two different values that share one are missed
    once in 2**64 replacements. Stable over machines, versions and the way rows were batched.
    """
    mixed = np.full(rows, 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        mixed = _mix(mixed * np.uint64(0x100000001B3) ^ _digest(column))
    return pa.array(mixed.view(np.int64))


def _digest(column: pa.Array) -> Words:
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    if pa.types.is_floating(kind):
        # Adding zero makes -0.0 and 0.0, which are equal, digest the same.
        floats: NDArray[np.float64] = np.asarray(column, dtype=np.float64) + 0.0
        return floats.view(np.uint64)
    if pa.types.is_integer(column.type):
        whole: NDArray[np.int64] = np.asarray(column, dtype=np.int64)
        return whole.view(np.uint64)
    if pa.types.is_string(kind):
        coded = column.dictionary_encode()
        words: Words = _hash(coded.dictionary, str.encode)[np.asarray(coded.indices)]
        return words
    if pa.types.is_binary(kind):
        return _hash(column, bytes)
    if pa.types.is_fixed_size_list(kind):
        floats = np.asarray(column.flatten(), dtype="<f4") + np.float32(0)
        return _hash_bytes(floats.view(np.uint8).reshape(len(column), -1))
    return _hash(column, lambda value: json.dumps(value).encode())


def _hash(column: pa.Array, encode: Callable[[Any], bytes]) -> Words:
    digests = (hashlib.blake2b(encode(v), digest_size=8).digest() for v in column.to_pylist())
    words: Words = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return words


def _hash_bytes(rows: NDArray[np.uint8]) -> Words:
    """The same for rows of bytes `[n, size]`, without a Python object for each number."""
    data, size = memoryview(rows.tobytes()), rows.shape[1]
    starts = range(0, len(data), size)
    digests = (hashlib.blake2b(data[s : s + size], digest_size=8).digest() for s in starts)
    words: Words = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return words


def _mix(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit in changes every bit out."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))

"""Write a value of a feature as JSON, the same text for the same value, and never a long one."""

import hashlib
from typing import Any, SupportsBytes

import numpy as np

LONG = 64  # characters or elements; of what is longer a digest is kept


def spelled(value: Any) -> Any:
    """A value as JSON: itself, or a digest where it is long. Equal values give equal JSON."""
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        return _digest(f"{content.dtype}{content.shape}".encode() + content.tobytes())
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, SupportsBytes):  # a sound
        return _digest(bytes(value))
    if isinstance(value, str | list | tuple) and len(value) > LONG:
        return _digest(repr(value).encode(errors="surrogatepass"))
    return value


def _digest(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()[:32]}

"""Read a raw value as text, as a part of a key, or as a number: one rule for every door."""

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = (int, float, np.integer, np.floating)
_LARGEST = float(np.finfo(np.float32).max)
KEY_CHARACTERS = 256
"""How long a part of a key may be: in files, pushes, look-ups and requests alike."""
EXACT_BELOW = 2**53
"""Floats of 64 bits are whole numbers without gaps only below this."""
_ROUNDED = re.compile(r"[+-]?\d\.\d+[eE]\+\d+")  # how spreadsheets and printf write large floats
_WHOLE = re.compile(r"[+-]?\d+\.0+")
_POWER = re.compile(r"[+-]?\d(\.\d+)?[eE]\+?\d{1,3}")
_SHOWN = 40


def key_text(value: object, *, exact_below: float = EXACT_BELOW) -> tuple[str, str]:
    """A part of a key as text, and why it is none: one of the two is empty.

    Text stands for itself. A whole number is its digits, however it came: 17850, 17850.0 and the
    decimal 17850.00 are one key. A number that may have been rounded on its way is none, since two
    ids could meet in it.

    Args:
        value: as a source gave it.
        exact_below: where the floats of the source begin to have gaps.
    """
    if isinstance(value, str):
        fault = _text_fault(value)
        return ("", fault) if fault else (value, "")
    if isinstance(value, float | np.floating):
        limit = _exact(value.dtype) if isinstance(value, np.floating) else exact_below
        return _float_key(float(value), limit)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return _whole_key(int(value))
    if isinstance(value, Decimal):
        return _decimal_key(value)
    return "", _why_no_key(value)


def written_number(text: str) -> str | float:
    """A number in a text as the number: `17850.0` is "17850"; any other text as it is.

    One too large for a float to hold its digits is that float, which no key takes.
    """
    if not _WHOLE.fullmatch(text):
        return text
    number = int(text.partition(".")[0])
    return str(number) if abs(number) < EXACT_BELOW else float(text)


def typed_key(text: str) -> str | float:
    """A part of a key as typed on the command line: as `written_number`, and 1e22 a float, too."""
    if _POWER.fullmatch(text) and abs(float(text)) >= EXACT_BELOW:
        return float(text)
    return written_number(text)


def exact_below(dtype: np.dtype[Any]) -> float:
    """Where the numbers of an array's type begin to have gaps."""
    return _exact(dtype) if dtype.kind == "f" else EXACT_BELOW


def word(value: object) -> str | None:
    """A raw value as text: nothing as the empty text, a list or bytes as None."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating | Decimal):
        if math.isnan(value):
            return ""
        # 17850.0 is how a column of ids with gaps is often written
        return f"{int(value)}" if math.isfinite(value) and value == int(value) else str(value)
    if isinstance(value, int | np.integer):
        return str(value) if abs(int(value)) < 10**4000 else None  # Python writes no more digits
    return value if isinstance(value, str) else None


def unwritable(words: Sequence[str | None]) -> dict[int, str]:
    """The rows whose text holds half a character, and why: bytes that were no UTF-8, or JSON."""
    try:
        json.dumps(words, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        each = ((row, _half(text)) for row, text in enumerate(words) if text)
        return {row: fault for row, fault in each if fault}
    return {}


def truths(values: NDArray[Any]) -> dict[int, str]:
    """The rows that hold true or false, which Python takes for 1 and 0."""
    if values.dtype.kind not in "Ob":
        return {}
    return {
        row: f"is {str(value).lower()}, neither a number nor text"
        for row, value in enumerate(values.tolist())
        if isinstance(value, bool)
    }


def gone(value: object) -> bool:
    """Whether a raw value is none: null, NaN, or a text without a letter."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def read_numbers(values: NDArray[Any]) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Raw values `[n]` as floats `[n]`, and per row that is none, why."""
    numbers, faults = np.zeros(len(values)), {}
    for row, value in enumerate(values.tolist()):
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError, OverflowError):
            if value is None or value == "":
                faults[row] = "is missing"
            elif isinstance(value, int):
                faults[row] = "is a whole number beyond what a 64-bit float can hold"
            else:
                faults[row] = f"{str(value)[:_SHOWN]!r} is not a number"
    return numbers, faults


def _text_fault(text: str) -> str:
    if not text or text.isspace():
        return "is empty"
    if len(text) > KEY_CHARACTERS:
        return f"has {len(text):,} characters; the limit is {KEY_CHARACTERS}"
    if not text.isascii() and (fault := _half(text)):
        return fault
    return rounded_fault(text)


def rounded_fault(text: str) -> str:
    """Why a text is no id if it is a number that was rounded when it was written; else nothing."""
    if "+" in text and _ROUNDED.fullmatch(text):
        return f"is {text}, a rounded number: write all digits of the id"
    return ""


def _float_key(number: float, limit: float) -> tuple[str, str]:
    if math.isnan(number):
        return "", "is empty"
    if not number.is_integer():  # infinity is none, too
        return "", f"is {number}, which is no id"
    if abs(number) >= limit:
        return "", (
            f"is about {number!r}, a number too large to hold every digit: send the id as text"
        )
    return str(int(number)), ""


def _whole_key(number: int) -> tuple[str, str]:
    if abs(number) >= 10**KEY_CHARACTERS:
        return "", f"has more than {KEY_CHARACTERS} digits; the limit is {KEY_CHARACTERS}"
    return str(number), ""


def _decimal_key(number: Decimal) -> tuple[str, str]:
    if number.is_nan():
        return "", "is empty"
    if (
        number.is_infinite()
        or number.adjusted() > KEY_CHARACTERS
        or number != number.to_integral_value()
    ):
        return "", f"is {number}, which is no id"
    return _whole_key(int(number))


def _why_no_key(value: object) -> str:
    if value is None:
        return "is empty"
    if isinstance(value, bool | np.bool_):
        return f"is {str(value).lower()}, neither a number nor text"
    return f"is a {type(value).__name__}, not text"


def _exact(dtype: np.dtype[Any]) -> float:
    return float(2 ** (np.finfo(dtype).nmant + 1))


def _half(text: str) -> str:
    """Why a text cannot be written; bytes that are no UTF-8 were read as U+DC80 to U+DCFF."""
    halves = [character for character in text if "\ud800" <= character <= "\udfff"]
    if not halves:
        return ""
    lone = [half for half in halves if not "\udc80" <= half <= "\udcff"]
    return f"holds half a character, {lone[0]!a}" if lone else "is not valid UTF-8"


def not_finite(number: Any) -> str:
    """Why a value cannot be among the numbers of a vector; nothing where it can."""
    if isinstance(number, bool | np.bool_) or not isinstance(number, _NUMBERS):
        return f"holds a {type(number).__name__} among its numbers"
    if -_LARGEST <= number <= _LARGEST:
        return ""
    return f"holds {str(number)[:40]}, not a finite 32-bit number"


def narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    """Numbers as 32-bit floats; one that is too large becomes infinite, which is then refused."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def exact_whole(value: object) -> int:
    """A whole number, or the text of one, with all its digits."""
    if isinstance(value, Decimal):
        return int(value)
    text = str(value).strip()
    return int(text) if text.lstrip("+-").isdigit() else int(float(text))

"""Say what was wrong and what to do next.

LeptonError               500
├── InvalidInput          422  a value breaks its type, bound or limit
│   ├── Malformed         400  the request cannot be read at all
│   ├── TooLarge          413  a body, batch, picture or text is over its limit
│   └── UnsupportedMedia  415  a content type nobody here reads
├── NotAcceptable         406  the answer has no form that the caller accepts
├── NotFound              404  no task, version, alias, view or file of that name
├── Conflict              409  the state does not allow it: already up, port taken
├── Unavailable           503  not running, starting, or overloaded
├── DeadlineExceeded      504  the answer would come too late
├── NotEnough             507  disk or memory is short
└── Corrupt               500  stored bytes are not what was written
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self


class LeptonError(Exception):
    """The base of every error that Lepton raises on purpose.

    Args:
        message: what was wrong, with the value.
        hint: what to do next, as a sentence.
        pointer: where in the input it stands (a JSON pointer), if it stands somewhere.
        limit: the bound that was broken, if there is one.
        actual: the value that broke it.
        retry_after_s: seconds after which the same request may succeed.
        parts: the errors that this one sums up, where they can be told apart.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something broke on our side"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        pointer: str = "",
        limit: float | None = None,
        actual: float | None = None,
        retry_after_s: float | None = None,
        parts: "Sequence[LeptonError]" = (),
    ) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint
        self.pointer = pointer
        self.limit = limit
        self.actual = actual
        self.retry_after_s = retry_after_s
        self.parts = tuple(parts)

    def of_row(self, number: int, before: str = "") -> Self:
        """The same error with the place of the input that it is about, and words before it."""
        return type(self)(
            before + self.message,
            hint=self.hint,
            pointer=f"/inputs/{number}{self.pointer}",
            limit=self.limit,
            actual=self.actual,
            retry_after_s=self.retry_after_s,
        )


class InvalidInput(LeptonError, ValueError):
    """A value breaks its type, bound or limit; a ValueError, so that pydantic says where."""

    status, code, title = 422, "invalid-input", "The input is not valid"


class Malformed(InvalidInput):
    """The request cannot be read at all."""

    status, code, title = 400, "malformed", "The request cannot be read"


class TooLarge(InvalidInput):
    """A body, batch, picture or text is over its limit."""

    status, code, title = 413, "too-large", "The request is too large"


class UnsupportedMedia(InvalidInput):
    """A content type that nobody here reads."""

    status, code, title = 415, "unsupported-media", "The content type is not supported"


class NotFound(LeptonError):
    """No task, version, alias, view or file of that name."""

    status, code, title = 404, "not-found", "There is nothing by that name"


class NotAcceptable(LeptonError):
    """The answer has no form that the caller accepts."""

    status, code, title = 406, "not-acceptable", "The answer has no form that is accepted"


class Conflict(LeptonError):
    """The state does not allow it."""

    status, code, title = 409, "conflict", "The state does not allow it"


class Unavailable(LeptonError):
    """Not running, still starting, or overloaded."""

    status, code, title = 503, "unavailable", "The service cannot answer now"


class DeadlineExceeded(LeptonError):
    """The answer would come too late."""

    status, code, title = 504, "deadline-exceeded", "The answer would come too late"


class NotEnough(LeptonError):
    """Disk or memory is short."""

    status, code, title = 507, "not-enough", "There is not enough room"


class Corrupt(LeptonError):
    """Stored bytes are not what was written."""

    status, code, title = 500, "corrupt", "Stored data is damaged"


def error_of(code: str, message: str, **more: Any) -> LeptonError:
    """The error that has this code and holds these fields: what a worker's JSON tells of one."""
    kinds: list[type[LeptonError]] = [LeptonError]
    for kind in kinds:  # it grows while it is read: every class below LeptonError
        kinds += kind.__subclasses__()
    return next(kind for kind in kinds if kind.code == code)(message, **more)


def nearest(name: str, names: Iterable[str]) -> str:
    """The sentence that offers the name most like `name`, or lists what there is."""
    known = sorted(names)
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"Did you mean {close[0]!r}?"
    return f"There are: {', '.join(known)}." if known else "There are none yet."

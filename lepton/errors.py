"""Say why there is no answer, and what to do next.

LeptonError
├── ConnectError              nobody answers at the url             (a ConnectionError)
├── TimedOut                  no answer came within timeout_s       (a TimeoutError)
├── UnexpectedAnswer          something answered, but not as Lepton does
├── BadValue                  a value that cannot be sent           (a ValueError)
├── BadType                   a kind of value that cannot be sent   (a TypeError)
├── MissingFile               no file at that path                  (a FileNotFoundError)
└── APIStatusError            Lepton, or a proxy before it, answered with an error
    ├── BadRequest            400  the request cannot be read
    ├── Unauthorized          401  an API key is needed, or this one is not known
    ├── Forbidden             403  this API key may not do that
    ├── NotFound              404  no task, version or page of that name
    ├── MethodNotAllowed      405  the url exists, but not for this verb
    ├── TooLarge              413  the body or the batch is over its limit
    ├── UnsupportedMedia      415  a content type that nobody there reads
    ├── InvalidInput          422  a value breaks its type, bound or limit
    ├── RateLimited           429  too many requests
    └── ServerError           5xx  the server failed
        ├── Unavailable       503  not running, starting, or overloaded
        └── DeadlineExceeded  504  the server gave up waiting      (a TimeoutError)
"""

from lepton.wire import Fault, Problem

FAULTS_SHOWN = 3


class LeptonError(Exception):
    """The base of every error that this package raises."""


class ConnectError(LeptonError, ConnectionError):
    """Nobody answers at the url, or the connection broke before the answer was complete."""


class TimedOut(LeptonError, TimeoutError):
    """No answer came within ``timeout_s``."""


class UnexpectedAnswer(LeptonError):
    """Something answered with success, but not in the shape that Lepton answers in."""


class BadValue(LeptonError, ValueError):
    """A value that cannot be sent."""


class BadType(LeptonError, TypeError):
    """A value of a kind that cannot be sent."""


class MissingFile(LeptonError, FileNotFoundError):
    """No file that can be read at the path that was given."""


class APIStatusError(LeptonError):
    """The answer was an error.

    Args:
        problem: the error as it crossed the network, or as made up for a bare answer of a proxy.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        faults = [f for f in self.errors if f.message not in self.detail]
        parts = [self.detail, *(f"{f.pointer}: {f.message}" for f in faults[:FAULTS_SHOWN])]
        if len(faults) > FAULTS_SHOWN:
            parts.append(f"and {len(faults) - FAULTS_SHOWN} more")
        text = "; ".join(parts)
        return f"{text} (request {self.request_id})" if self.request_id else text

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def code(self) -> str:
        """The kind of problem, for programs: ``invalid-input``; ``http-502`` for a bare answer."""
        return self.problem.code

    @property
    def detail(self) -> str:
        """What was wrong, with the value, and what to do."""
        return self.problem.detail

    @property
    def errors(self) -> list[Fault]:
        """One entry per fault; pointers count the inputs as they were given, over all chunks."""
        return self.problem.errors

    @property
    def request_id(self) -> str:
        """What to look for in the server's log."""
        return self.problem.request_id

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the same request may succeed, if the server said so."""
        return self.problem.retry_after_s


class BadRequest(APIStatusError):
    """400: the request cannot be read."""


class Unauthorized(APIStatusError):
    """401: an API key is needed, or this one is not known."""


class Forbidden(APIStatusError):
    """403: this API key may not do that."""


class NotFound(APIStatusError):
    """404: no task, version or page of that name."""


class MethodNotAllowed(APIStatusError):
    """405: the url exists, but not for this verb."""


class TooLarge(APIStatusError):
    """413: the body or the batch is over its limit."""


class UnsupportedMedia(APIStatusError):
    """415: a content type that nobody there reads."""


class InvalidInput(APIStatusError):
    """422: a value breaks its type, bound or limit."""


class RateLimited(APIStatusError):
    """429: too many requests."""


class ServerError(APIStatusError):
    """5xx: the server failed."""


class Unavailable(ServerError):
    """503: not running, starting, or overloaded."""


class DeadlineExceeded(ServerError, TimeoutError):
    """504: the server, or a proxy before it, gave up waiting."""


BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMedia,
    422: InvalidInput,
    429: RateLimited,
    503: Unavailable,
    504: DeadlineExceeded,
}


def status_error(problem: Problem) -> APIStatusError:
    """The error to raise for a problem: the class of its status, or of its family."""
    family = ServerError if problem.status >= 500 else APIStatusError
    return BY_STATUS.get(problem.status, family)(problem)

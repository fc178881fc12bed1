"""Lepton's client: call the applied-AI services of a Lepton from Python or from a shell."""

from lepton._retry import Backoff
from lepton.client import AsyncClient, Client
from lepton.errors import (
    APIStatusError,
    BadRequest,
    BadType,
    BadValue,
    ConnectError,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    LeptonError,
    MethodNotAllowed,
    MissingFile,
    NotFound,
    RateLimited,
    ServerError,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnsupportedMedia,
)
from lepton.wire import Fault, Health, Metric, Output, Prediction, Problem, Readiness, TaskInfo

__version__ = "0.1.0"

__all__ = [
    "APIStatusError",
    "AsyncClient",
    "Backoff",
    "BadRequest",
    "BadType",
    "BadValue",
    "Client",
    "ConnectError",
    "DeadlineExceeded",
    "Fault",
    "Forbidden",
    "Health",
    "InvalidInput",
    "LeptonError",
    "MethodNotAllowed",
    "Metric",
    "MissingFile",
    "NotFound",
    "Output",
    "Prediction",
    "Problem",
    "RateLimited",
    "Readiness",
    "ServerError",
    "TaskInfo",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnsupportedMedia",
    "__version__",
]

"""What the tests of HTTP ask, and what answers them: the toy, and anything at version 7."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette

from cluster.contract.task import Serving
from cluster.serving.answering import Answer, Answered
from tests.support import ask
from tests.toy import Output, Side

LIMIT = 20_000


class Narrow(Side):
    """The toy with small limits."""

    serving: ClassVar[Serving] = Serving(max_rows=3, max_body_bytes=LIMIT)


class Words(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=50)
    top_k: int = Field(5, ge=1, le=100)
    exclude: list[str] = Field([], max_length=3)


class Reads(Side):
    """The toy, were it to read texts."""

    Input: ClassVar[type[BaseModel]] = Words


class Heard:
    """Answers anything at version 7 and keeps what it was asked."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    async def __call__(self, inputs: Sequence[BaseModel]) -> Answered:
        self.inputs = list(inputs)
        return Answered(7, [Output(label="above", probability=0.75) for _ in inputs])


def failing(error: Exception) -> Answer:
    async def answer(inputs: Sequence[BaseModel]) -> Answered:
        raise error

    return answer


def send(app: Starlette, content: Any, **headers: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(app, "POST", "/", body, **{"content_type": "application/json", **headers})

"""The shapes that cross the network, the same ones for the client and for the server."""

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

PROBLEM_TYPE = "https://lepton.dev/problems/"
PROBLEM_MEDIA_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"

Schema: TypeAlias = dict[str, JsonValue]
"""A JSON schema, as it stands in a task's ``input`` and ``output``."""

State: TypeAlias = Literal["ready", "starting", "stopped", "failed"]


Status: TypeAlias = Literal["present", "missing", "stale"]
"""What came of a look-up: a value that holds, none, or one that is older than it may be."""


class Output(BaseModel):
    """What a model says about one input: the fields that the task declares, whatever they are.

    A field is read as ``output.label`` or ``output["label"]``. Only the second reads a field that
    is named like a method of pydantic, for example ``output["copy"]``.
    """

    model_config = ConfigDict(extra="allow")

    # Any, because what a field holds is known to the task's schema and to nothing in this package.
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked while an object is being made, copied or inspected
            raise AttributeError(name)
        fields = self.__pydantic_extra__ or {}
        if name not in fields:
            raise AttributeError(f"This output has no {name!r}. It has: {', '.join(fields)}.")
        return fields[name]

    def __getitem__(self, name: str) -> Any:
        fields = self.__pydantic_extra__ or {}
        if name not in fields:
            raise KeyError(f"This output has no {name!r}. It has: {', '.join(fields)}.")
        return fields[name]

    def __contains__(self, name: object) -> bool:
        return name in (self.__pydantic_extra__ or {})


class PredictRequest(BaseModel):
    """The body of ``POST /v1/<domain>/<task>``."""

    inputs: list[dict[str, JsonValue]]


class Prediction(BaseModel):
    """The answer to a ``PredictRequest``: one output per input, in the same order.

    Attributes:
        model: the task.
        version: which version of it answered.
        outputs: what it says of each input.
        features: for each input what came of every view that the service looked up for it; empty
            where it looked up none.
        degraded: whether a view could not be asked, so that its values count as missing.
        request_id: what to look for in the server's log.
    """

    model: str
    version: str
    outputs: list[Output]
    features: list[dict[str, Status]] = Field(default_factory=list)
    degraded: bool = False
    request_id: str = ""


class Metric(BaseModel):
    """How good the served version of a task is."""

    name: str
    value: float


class TaskInfo(BaseModel):
    """One task, as discovery describes it: ``GET /v1/tasks/<name>``."""

    name: str
    summary: str = ""
    url: str
    version: str | None = None
    state: State
    metric: Metric | None = None
    input: Schema
    output: Schema


class TaskList(BaseModel):
    """Every task there is: ``GET /v1/tasks``."""

    tasks: list[TaskInfo]


class Health(BaseModel):
    """Whether the process answers: ``GET /healthz``."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether every task that should be up is up: ``GET /readyz``."""

    status: Literal["ready", "starting"]
    tasks: dict[str, State] = Field(default_factory=dict)


class Fault(BaseModel):
    """One thing that is wrong with a request.

    Attributes:
        pointer: where it stands in the request, as a JSON pointer: ``/inputs/0/top_k``.
        message: what is wrong with it.
        limit: the bound that was broken, if there is one.
        actual: the value that broke it.
    """

    pointer: str
    message: str
    limit: JsonValue = None
    actual: JsonValue = None


class Problem(BaseModel):
    """An error as RFC 9457 writes it, with Lepton's extensions.

    Attributes:
        type: ``https://lepton.dev/problems/<code>``.
        title: the kind of problem, the same words every time.
        status: the HTTP status.
        detail: what was wrong this time, the limit and the value, and what to do.
        instance: ``urn:lepton:request:<id>``.
        code: the last part of ``type``, for programs.
        request_id: what to look for in the server's log.
        errors: one entry per fault, where the faults can be told apart.
        retry_after_s: seconds after which the same request may succeed.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str = ""
    request_id: str = ""
    errors: list[Fault] = Field(default_factory=list)
    retry_after_s: float | None = None

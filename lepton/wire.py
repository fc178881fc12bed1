"""The shapes that cross the network, the same ones for the client and for the server."""

from datetime import datetime
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

    Objects inside it are read alike, ``output.boxes[0].label``, and are dicts as well; files are
    base64 with ``.bytes``, ``.media`` and ``.save(path)``.

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
        behind: views of which stored rows were not online yet, so that they knew less.
        request_id: what to look for in the server's log.
    """

    model: str
    version: str
    outputs: list[Output]
    features: list[dict[str, Status]] = Field(default_factory=list)
    degraded: bool = False
    behind: list[str] = Field(default_factory=list)
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


class ViewInfo(BaseModel):
    """One view of the feature layer: an entry of ``GET /v1/features``.

    Attributes:
        name: the view's name.
        kind: source, windows, outcomes, computed or model: what its rows come from.
        description: what it holds.
        key: the columns that say what a row is about; all of them are text.
        columns: the type of every other column, as Arrow names it.
        ttl_s: seconds after its event time for which a value holds; none for ever.
        owner: who answers for it.
        tags: words to find it by.
        version: changes with its definition.
        needs: the views that it is made from.
        rows: how many are stored; none where they are made when they are read.
        newest: the latest event time, where rows are stored.
        online: whether it can be looked up.
        behind: how many stored rows look-ups do not see yet: `materialize` brings them.
        release: of a model view the version of its model.
    """

    name: str
    kind: Literal["source", "windows", "outcomes", "computed", "model"]
    description: str = ""
    key: list[str]
    columns: dict[str, str]
    ttl_s: float | None = None
    owner: str = ""
    tags: list[str] = Field(default_factory=list)
    version: str
    needs: list[str] = Field(default_factory=list)
    rows: int | None = None
    newest: datetime | None = None
    online: bool = False
    behind: int = 0
    release: int | None = None


class ViewList(BaseModel):
    """Every view there is: ``GET /v1/features``."""

    views: list[ViewInfo]


class LookupRequest(BaseModel):
    """The body of ``POST /v1/features/lookup``.

    Attributes:
        views: names of views.
        keys: for each row the key columns of all those views: text, or whole numbers, which are
            read as their digits.
    """

    model_config = ConfigDict(extra="forbid")

    views: list[str] = Field(min_length=1)
    keys: list[dict[str, JsonValue]] = Field(min_length=1)


class Looked(BaseModel):
    """What one view holds of one key.

    Attributes:
        values: its columns. Where nothing is known, the view's defaults, and else null.
        status: present; stale, where what is known is older than the view's time-to-live; missing;
            degraded, where the store could not be read in time, so that nothing is known.
        event_time: when it became true; none where it is missing.
        behind: whether stored rows of the view were not online yet, so that there may be more.
    """

    values: dict[str, JsonValue]
    status: Literal["present", "missing", "stale", "degraded"]
    event_time: datetime | None = None
    behind: bool = False


class Lookup(BaseModel):
    """The answer to a ``LookupRequest``: for each key, in order, what each view holds."""

    results: list[dict[str, Looked]]
    request_id: str = ""


class PushRequest(BaseModel):
    """The body of ``POST /v1/features/<view>/push``.

    Attributes:
        rows: key, columns, and `event_time` with its zone, in all of them or in none: then they are
            of now, each a microsecond after the one before it. Pictures are base64.
    """

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, JsonValue]] = Field(min_length=1)


class Pushed(BaseModel):
    """The answer to a ``PushRequest``.

    Attributes:
        rows: how many were written.
        degraded: whether they are kept, but look-ups do not see them yet: the online store could
            not be reached. They come online by themselves once it answers.
    """

    rows: int
    degraded: bool = False
    request_id: str = ""


class Learnt(BaseModel):
    """A version of a model that learnt from rows before they were erased.

    Attributes:
        task: the capability.
        version: its number.
        aliases: what it is called: production, candidate.
    """

    task: str
    version: int
    aliases: list[str] = []


class Forgotten(BaseModel):
    """The answer to ``DELETE /v1/features/<view>?<key>=...``.

    Attributes:
        view: the view.
        key: which of its rows.
        rows: how many stored rows were erased, of it and of what models made of them.
        online: how many keys had values where they are looked up.
        logged: how many lines of request logs.
        versions: those that may have learnt from the rows; they are not changed.
    """

    view: str
    key: dict[str, str]
    rows: dict[str, int]
    online: int
    logged: int
    versions: list[Learnt]
    request_id: str = ""


class NearestRequest(BaseModel):
    """The body of ``POST /v1/features/<view>/nearest``: a vector, or the key of one that is known.

    Attributes:
        vector: what to be near to.
        key: the key columns of the row whose vector it is; that row itself is left out.
        k: how many neighbours are wanted.
    """

    model_config = ConfigDict(extra="forbid")

    vector: list[float] | None = None
    key: dict[str, JsonValue] | None = None
    k: int = Field(10, ge=1, le=1_000)


class Neighbour(BaseModel):
    """One key, and how alike its vector is: their inner product."""

    key: dict[str, str]
    score: float


class Neighbours(BaseModel):
    """The answer to a ``NearestRequest``, the nearest first."""

    neighbours: list[Neighbour]
    request_id: str = ""


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

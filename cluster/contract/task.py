"""The contract: what a capability declares and does, and nothing about what runs it."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, get_args, get_origin

import numpy as np
from pydantic import BaseModel

from cluster.base.batch import Arrays, Batch, chunks, length, objects, take, without
from cluster.base.errors import InvalidInput, LeptonError
from cluster.contract.config import Config
from cluster.contract.rows import Rows
from cluster.contract.rowwise import each
from cluster.contract.run import Run
from cluster.contract.split import ByKey, Split
from cluster.features.schema.column import Column
from cluster.features.schema.view import View, columns_of

__all__ = ["AnyTask", "Arrays", "Batch", "Evaluation", "Objective", "Reference", "Serving", "Task"]

C = TypeVar("C", bound=Config)
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the letters of Config, Input, Output
O = TypeVar("O", bound=BaseModel)  # noqa: E741


@dataclass(frozen=True)
class Objective:
    """The metric that tuning and promotion chase, and which way."""

    direction: Literal["max", "min"]
    metric: str

    def better(self, new: float, old: float) -> bool:
        """Whether `new` is at least as good as `old`."""
        return new >= old if self.direction == "max" else new <= old


@dataclass(frozen=True)
class Serving:
    """How a capability's replicas batch, scale and bound what they take.

    Args:
        max_batch: rows that one predict takes.
        max_rows: inputs that one request may hold.
        max_body_bytes: size of one request's body.
        max_waiting: requests that wait in one replica before it answers 503.
        min_replicas: replicas kept when nobody asks; 0 lets the service sleep.
        max_replicas: replicas when everybody asks.
        target_ongoing: requests in flight per replica that autoscaling aims for.
    """

    max_batch: int = 32
    max_rows: int = 1_000
    max_body_bytes: int = 16 * 2**20
    max_waiting: int = 256
    min_replicas: int = 1
    max_replicas: int = 4
    target_ongoing: int = 48


@dataclass(frozen=True)
class Reference:
    """What a simple model scored that learned from the same training rows.

    Args:
        model: which one, as in "a linear SVM on TF-IDF".
        metrics: numbers by the names that `score` uses; the objective's metric is one of them.
    """

    model: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """What an artefact scored on rows it never saw.

    Args:
        metrics: numbers by name; the objective's metric is one of them.
        rows: how many questions were asked.
        details: Markdown for the model card: a confusion matrix, a ranking table.
        refused: how many of the questions had an error for an answer; the metrics leave them out.
        reference: what a simple model of the same run scored on the same rows, if there is one.
    """

    metrics: dict[str, float]
    rows: int
    details: str = ""
    refused: int = 0
    reference: Reference | None = None


class Task(ABC, Generic[C, I, O]):
    """A capability: learns from `examples`, answers rows of `inputs`.

    A subclass names its three types, `Task[Config, Input, Output]`; they are then to be had as
    `Task.Config`, `Task.Input` and `Task.Output`.

    Attributes:
        inputs: the columns that a caller sends.
        examples: the rows to learn from: inputs and truth.
        truth: the columns that `predict` never sees.
        features: views joined to every row by key: as of the row's time in training, looked up
            live when serving.
        outcomes: views of what came after a row's event time; those of their columns that `truth`
            names are joined to the rows that are learnt from and measured, and never served. Rows
            whose outcomes are not known yet are left out.
        writes: source views that every answer of a replica is pushed to, after it was given: their
            columns are fields of Output or, where it has none of the name, of Input. An answer in
            which one is None writes nothing.
        live: views read only at serving time. In training they would leak the label: a user's
            recent items contain the item to predict.
        tables: views that `fit` reads whole, the newest row of each key, whether or not an example
            mentions the key: `run.table(view)`. `tables_for` lets knobs name more.
        split: which examples are kept to measure, where the source does not say.
        series: columns of the examples that say which rows belong together, such as a series, a
            session or a person: of several workers each has whole ones. Without them rows are
            dealt out one by one.
        objective: what tuning and promotion chase.
        serving: how replicas batch and scale.
        reference_rows: training rows that `reference` learns from at most.
        parallel: whether `fit` can learn in shards on several workers, with the collectives of
            `Run`: without them each worker would know its own shard alone.
    """

    Config: ClassVar[type[Config]]
    Input: ClassVar[type[BaseModel]]
    Output: ClassVar[type[BaseModel]]

    inputs: ClassVar[View]
    examples: ClassVar[View]
    truth: ClassVar[tuple[str, ...]]
    features: ClassVar[tuple[View, ...]] = ()
    outcomes: ClassVar[tuple[View, ...]] = ()
    writes: ClassVar[tuple[View, ...]] = ()
    live: ClassVar[tuple[View, ...]] = ()
    tables: ClassVar[tuple[View, ...]] = ()
    split: ClassVar[Split] = ByKey()
    series: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[Objective]
    serving: ClassVar[Serving] = Serving()
    reference_rows: ClassVar[int] = 20_000
    parallel: ClassVar[bool] = False
    _gaps: ClassVar[dict[str, Column]]

    def __init_subclass__(cls) -> None:
        """Read the three types off `Task[Config, Input, Output]`; an Input forbids other fields."""
        super().__init_subclass__()
        for base in cls.__dict__.get("__orig_bases__", ()):  # its own: a parent's are inherited
            types = get_args(base)
            if (
                isinstance(get_origin(base), type)
                and len(types) == 3
                and isinstance(types[0], type)
            ):
                cls.Config, cls.Input, cls.Output = types
                if "extra" not in cls.Input.model_config:  # else a misspelt option says nothing
                    cls.Input.model_config["extra"] = "forbid"
                    cls.Input.model_rebuild(force=True)

    def __init__(self, config: C | None = None) -> None:
        self.config: C = config if config is not None else self.Config()  # type: ignore[assignment]

    @classmethod
    def name(cls) -> str:
        """The path is the name: `vision/classify.py` is `vision.classify`."""
        return cls.__module__

    @classmethod
    def summary(cls) -> str:
        """What it does, in the first line of its docstring."""
        return (cls.__doc__ or sys.modules[cls.__module__].__doc__ or "").strip().splitlines()[0]

    @classmethod
    def tables_for(cls, config: C, find: Callable[[str], View]) -> tuple[View, ...]:
        """The views that `fit` reads whole with these knobs; by default `tables`.

        Args:
            config: may name views.
            find: gives the view of a name, or raises NotFound.

        Raises:
            InvalidInput: the capability makes nothing of a view that a knob names.
        """
        del config, find
        return cls.tables

    @abstractmethod
    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """Learn from this worker's rows of `train`; `valid` is there to watch."""

    @abstractmethod
    def predict(self, batch: Batch) -> Sequence[O | LeptonError]:
        """Answer each row, in order. The batch has every column of Input, options included.

        An error of ours in the place of an answer refuses that row alone: its caller gets the
        error, the other rows of the batch their answers.
        """

    @abstractmethod
    def score(self, batch: Batch, outputs: Sequence[O]) -> dict[str, float]:
        """Measure the answers against the truth, once, over all rows."""

    def save(self, folder: Path) -> None:
        """Write what was learnt into an existing folder; never a pickle."""
        (folder / "config.json").write_text(self.config.model_dump_json(indent=2))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, with all that `predict` needs and nothing that training needs."""
        return cls(cls.Config.model_validate_json((folder / "config.json").read_bytes()))  # type: ignore[arg-type]

    @classmethod
    def import_model(
        cls, files: Sequence[Path], options: Mapping[str, str], folder: Path
    ) -> Sequence[str]:
        """Write what `load` reads, out of files of a model made elsewhere; by default refused.

        Returns sentences on how the model will be asked. Options are as they were written.
        """
        del files, options, folder
        raise InvalidInput(
            f"{cls.name()} takes no models that were made elsewhere.",
            hint=f"Train one: python -m services train {cls.name()}",
        )

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        """What a simple model scores on `test` after learning from `train`; by default none.

        It is trained once for each version, after `fit`, and printed beside the version's metrics:
        a result below it means that the knobs do not fit the data. Keep it to seconds.

        Args:
            train: training rows, spread evenly over them where there are over `reference_rows`.
            test: the rows that the version is measured on.
        """
        del train, test
        return None

    def questions(self, examples: Batch) -> Batch:
        """The rows to ask when measuring: the examples, unless a capability regroups them."""
        return examples

    def asked(self, examples: Batch) -> Batch:
        """The rows to ask, with every column that a batch has when serving, and the truth."""
        return self.complete(self.questions(examples))

    def details(self, batch: Batch, outputs: Sequence[O]) -> str:
        """Markdown for the model card about these answers; by default nothing."""
        del batch, outputs
        return ""

    def evaluate(self, examples: Batch, *, batch_rows: int = 256) -> Evaluation:
        """Hide the truth, ask for every row, score the answers; refused rows are counted.

        Raises:
            InvalidInput: every row was refused.
            Exception: whatever `predict` raised that is no error of ours.
        """
        asked = self.asked(examples)
        answers = self.answers(without(asked, self.truth), batch_rows=batch_rows)
        outputs, kept = answered(answers)
        rows, refused = length(asked), length(asked) - len(kept)
        if refused:
            asked = take(asked, kept)
            if refused == rows:
                raise InvalidInput(f"All {rows:,} test rows were refused: {answers[0]}")
        metrics, details = self.score(asked, outputs), self.details(asked, outputs)
        return Evaluation(metrics, rows, details, refused)

    def answers(self, batch: Batch, *, batch_rows: int) -> list[O | Exception]:
        """Answer each row, in order, so many at a time; one that `predict` fails on has its error.

        Where `predict` raises for several rows, they are asked again by halves.
        """

        def ask(rows: slice) -> Sequence[O | LeptonError]:
            return self.predict(take(part, rows))

        found: list[O | Exception] = []
        for part in chunks(batch, batch_rows):
            found += each(ask, length(part))
        return found

    @classmethod
    def batch(cls, inputs: Sequence[BaseModel]) -> Batch:
        """Validated inputs as columns: numbers and moments as such, all else as object arrays."""
        return {
            name: _column([getattr(row, name) for row in inputs], field.annotation)
            for name, field in cls.Input.model_fields.items()
        }

    @classmethod
    def complete(cls, batch: Batch) -> Batch:
        """The batch with what it does not have.

        Options are at their defaults, features are missing, and `event_time` is now, in UTC.
        """
        rows = length(batch)
        missing = {
            name: _column([field.get_default(call_default_factory=True)] * rows, field.annotation)
            for name, field in cls.Input.model_fields.items()
            if name not in batch and not field.is_required()
        }
        if "event_time" not in batch:
            missing["event_time"] = np.full(rows, np.datetime64(time.time_ns() // 1_000, "us"))
        unknown: dict[str, Any] = {}
        for view in (*cls.features, *cls.live):
            if f"{view.name}_missing" not in batch:
                names = cls.feature_names()[view.name]
                for name, column in view.absent(rows).items():
                    unknown[names.get(name, name)] = column
        return with_masks({**unknown, **batch, **missing}, cls.gaps())

    @classmethod
    def gaps(cls) -> dict[str, Column]:
        """The columns of a batch that may have gaps, by name: of each the mask is `<name>_gap`."""
        if "_gaps" not in cls.__dict__:
            own = [cls.inputs, cls.examples]
            named = [(name, kind) for view in own for name, kind in view.columns.items()]
            for view in (*cls.features, *cls.live):
                names = cls.feature_names()[view.name]
                named += [(names[name], kind) for name, kind in view.columns.items()]
            cls._gaps = {n: kind for n, kind in named if kind.gap(np.zeros(0)) is not None}
        return cls._gaps

    @classmethod
    def feature_names(cls) -> dict[str, dict[str, str]]:
        """By view and column the names of features in a batch: as they stand in joined examples."""
        joined = columns_of((*cls.features, *cls.outcomes), cls.examples.schema)
        taken = [*cls.examples.schema, *cls.Input.model_fields]
        taken += [name for columns in joined.values() for name in columns.values()]
        return {**joined, **columns_of(cls.live, dict.fromkeys(taken))}


AnyTask = Task[Any, Any, Any]


def answered(answers: Sequence[O | Exception]) -> tuple[list[O], list[int]]:
    """The answers that are none of our errors, and the numbers of their rows.

    Raises:
        Exception: the first answer that is an error, but none of ours: nobody foresaw it.
    """
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, LeptonError):
            raise answer
    kept = [n for n, answer in enumerate(answers) if not isinstance(answer, Exception)]
    return [answer for answer in answers if not isinstance(answer, Exception)], kept


def with_masks(batch: dict[str, Any], gaps: Mapping[str, Column]) -> Batch:
    """The batch with a mask `<name>_gap` for each column that may have gaps, and none left in it.

    Zero stands in place of a missing number, "" of a missing word.
    """
    for name, column in gaps.items():
        if name in batch and f"{name}_gap" not in batch:
            values = batch[name].copy()
            mask = batch[f"{name}_gap"] = column.gap(values)
            values[mask] = "" if values.dtype == object else 0
            batch[name] = values
    return batch


def sent(value: Any) -> Any:
    """A stored value as a caller would send it: a moment is a `datetime` in UTC."""
    return value.item().replace(tzinfo=UTC) if isinstance(value, np.datetime64) else value


def _column(values: list[Any], annotation: object) -> Any:
    """Bools, ints, floats and moments become columns of their type; all else stays as it is."""
    if annotation in (bool, int, float):
        return np.array(values, dtype=annotation)
    if annotation == float | None:
        return np.array([np.nan if value is None else value for value in values])
    if annotation is datetime:
        return np.array([_utc(moment) for moment in values], dtype="datetime64[us]")
    return objects(values)


def _utc(moment: datetime) -> datetime:
    """Without its zone, as stored moments are; one that names none is in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment

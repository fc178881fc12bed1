"""Answer one batch of several callers: join live features, predict, split the results by caller."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pydantic import BaseModel

from cluster.base.errors import InvalidInput, LeptonError
from cluster.base.faults import together
from cluster.features.monitoring.requests import RequestLog
from cluster.registry.model import Model
from cluster.serving.health import Health
from cluster.serving.live import Joined, Live, OpenLayer, Statuses
from cluster.serving.outbox import Outbox, Writer
from cluster.serving.record import Recorder


@dataclass(frozen=True)
class Answered:
    """The answer of a replica to the inputs of one request.

    Attributes:
        version: which version answered.
        outputs: one for each input, in order.
        features: for each input, what came of each view that was looked up for it.
        degraded: whether a view could not be asked, so that its values count as missing.
        behind: views of which stored rows are not online yet, so that they knew less.
    """

    version: int
    outputs: Sequence[BaseModel]
    features: Sequence[Statuses] = ()
    degraded: bool = False
    behind: Sequence[str] = ()


class RowAnswer(NamedTuple):
    """The answer of a replica to one input."""

    output: BaseModel | Exception
    statuses: Statuses
    degraded: bool
    behind: Sequence[str] = ()


Answer = Callable[[Sequence[BaseModel]], Awaitable[Answered]]
"""Answers the validated inputs of one request."""


class Answering:
    """Answers batches with one version: joins live features, predicts, logs the requests.

    Args:
        model: the version.
        open_layer: opens the feature layer.
        requests: the log of requests.
        outbox: pushes what answers write to views; None where they write nothing.
    """

    def __init__(
        self,
        model: Model,
        open_layer: OpenLayer,
        requests: RequestLog,
        outbox: Outbox | None = None,
    ) -> None:
        self.task = model.task
        self.writer, self.outbox = Writer(type(model.task)), outbox
        self.health = Health(model.probe)
        self.live = Live(model.task, open_layer, model.manifest)
        said, live = model.manifest, self.live
        self.recorder = Recorder(said.version, said.statistics, live.pins, live.version)
        self.requests = requests

    def __call__(self, rows: Sequence[BaseModel]) -> list[RowAnswer]:
        """Answer rows of Input and of Keys, in order."""
        joined = self.live.join(rows)
        outputs = iter(self._outputs(joined) if joined.inputs else ())
        answers = [joined.refused.get(n) or next(outputs) for n in range(len(rows))]
        if self.outbox is not None:
            given = [answer for n, answer in enumerate(answers) if n not in joined.refused]
            self.outbox.put(self.writer.rows(joined.inputs, given))
        self.requests.keep(partial(self.recorder.lines, joined), len(rows))
        return [
            RowAnswer(answer, statuses, joined.degraded, joined.behind)
            for answer, statuses in zip(answers, joined.statuses, strict=True)
        ]

    def _outputs(self, joined: Joined) -> list[BaseModel | Exception]:
        """Predict the joined rows, and record for the health check whether any was answered."""
        with self.health.batch():
            outputs = self.task.answers(joined.batch, batch_rows=len(joined.inputs))
        if any(isinstance(one, BaseModel | LeptonError) for one in outputs):
            self.health.answered()
        else:
            self.health.failed()
        return outputs


def answered(version: int, rows: Sequence[RowAnswer]) -> Answered:
    """Merge the answers of the rows of one request, or raise the errors of its rows."""
    faults = []
    for number, row in enumerate(rows):
        if isinstance(row.output, InvalidInput):
            faults.append(row.output.of_row(number))
        elif isinstance(row.output, LeptonError):
            raise row.output.of_row(number)
        elif isinstance(row.output, Exception):
            raise row.output
    if faults:
        raise together(faults)
    outputs = [row.output for row in rows if isinstance(row.output, BaseModel)]
    features = [row.statuses for row in rows] if any(row.statuses for row in rows) else []
    behind = sorted({name for row in rows for name in row.behind})
    return Answered(version, outputs, features, any(row.degraded for row in rows), behind)

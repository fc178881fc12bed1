"""Open one version of a model and ask it: the same way in a notebook, a test and a replica."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError

from cluster.base.batch import Batch, length
from cluster.base.errors import InvalidInput, LeptonError, Unavailable
from cluster.base.faults import faults, refuse_infinite
from cluster.contract.task import AnyTask, answered
from cluster.registry.versions import Manifest, read_manifest, verify


class Model:
    """A version that is ready to answer.

    Args:
        task: holds what was learnt.
        manifest: says which version it is.
    """

    def __init__(self, task: AnyTask, manifest: Manifest) -> None:
        self.task = task
        self.manifest = manifest

    @classmethod
    def open(cls, task: type[AnyTask], folder: Path) -> Self:
        """Load the version in a folder after verifying every byte of it.

        Raises:
            Corrupt: a file is not what was written.
        """
        verify(folder)
        return cls(task.load(folder), read_manifest(folder))

    def probe(self) -> None:
        """Ask a made-up question, the same every time, and need one answer or a refusal.

        Raises:
            Unavailable: there are more answers, or none.
            Exception: whatever `predict` raises.
        """
        task = self.task
        made_up: Batch = task.inputs.sample(1, np.random.default_rng(0))
        asked = {name: made_up[name] for name in task.Input.model_fields if name in made_up}
        if len(task.predict(task.complete(asked))) != 1:
            raise Unavailable(f"{task.name()} does not answer one question with one answer.")

    def predict(self, rows: Any) -> list[BaseModel]:
        """Answer each row, in order.

        Args:
            rows: a list of dicts or of Input, a pandas or Polars DataFrame, or a Batch of columns.

        Raises:
            InvalidInput: a row breaks a type, a bound or a limit; the sentence says where.
            LeptonError: the model refuses a row.
        """
        batch = self.task.complete(self.task.batch(validated(self.task, as_rows(rows))))
        answers = self.task.answers(batch, batch_rows=self.task.serving.max_batch)
        outputs, kept = answered(answers)
        for number, answer in enumerate(answers if len(kept) < len(answers) else ()):
            if isinstance(answer, LeptonError):
                raise answer.of_row(number, f"Row {number}: ")
        return outputs


def validated(task: AnyTask, rows: Sequence[object]) -> list[BaseModel]:
    """Rows as the task's Input.

    Raises:
        InvalidInput: names the row and field of the first that is wrong.
    """
    try:
        shape: Any = Annotated[list[task.Input], FailFast()]  # type: ignore[name-defined]
        inputs = TypeAdapter(shape).validate_python(rows)
        refuse_infinite(inputs)
    except ValidationError as error:
        first = faults(error, task.Input, "/inputs")[0]
        number = error.errors()[0]["loc"][0]
        raise InvalidInput(
            f"Row {number}: {first.message}",
            hint=first.hint,
            pointer=first.pointer,
            limit=first.limit,
            actual=first.actual,
        ) from None
    return list(inputs)


def as_rows(rows: Any) -> list[object]:
    """Dicts out of whatever holds rows: a list, a DataFrame, a Batch.

    Raises:
        InvalidInput: it holds no rows.
    """
    if hasattr(rows, "to_dicts"):  # Polars
        return list(rows.to_dicts())
    if hasattr(rows, "to_dict"):  # pandas
        return list(rows.to_dict(orient="records"))
    if isinstance(rows, Mapping) and all(isinstance(c, np.ndarray) for c in rows.values()):
        columns: Batch = rows
        return [{name: columns[name][row] for name in columns} for row in range(length(columns))]
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise InvalidInput(
            f"A {type(rows).__name__} does not hold rows.",
            hint="Give a list of dicts, a DataFrame, or a dict of NumPy columns.",
        )
    return list(rows)

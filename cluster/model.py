"""Open one version of a model and ask it: the same way in a notebook, a test and a replica."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, FailFast, TypeAdapter, ValidationError

from cluster.batch import Batch, chunks, length
from cluster.errors import InvalidInput
from cluster.faults import faults, refuse_infinite
from cluster.registry import Manifest, read_manifest, verify
from cluster.task import Task

AnyTask = Task[Any, Any, Any]


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

    def predict(self, rows: Any) -> list[BaseModel]:
        """Answer each row, in order.

        Args:
            rows: a list of dicts or of Input, a pandas or Polars DataFrame, or a Batch of columns.

        Raises:
            InvalidInput: a row breaks a type, a bound or a limit; the sentence says where.
        """
        batch = self.task.complete(self.task.batch(validated(self.task, as_rows(rows))))
        size = self.task.serving.max_batch
        return [output for part in chunks(batch, size) for output in self.task.predict(part)]


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

"""Write the files of answers for a command: ``--out FILE``."""

import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import typer

from lepton._fields import Field, input_fields
from lepton._outputs import File
from lepton.errors import BadValue
from lepton.wire import TaskInfo

ENDS = {"image/png": ".png", "audio/wav": ".wav"}


class Out:
    """Writes the files of answers, and puts their paths in their place.

    Args:
        path: ``FILE``; of several answers ``FILE-1``, ``FILE-2``; of several files in an answer
            ``FILE-<field>``.
        info: the task.

    Raises:
        BadValue: the task answers no file, or the path ends like one of another type.
    """

    def __init__(self, path: str, info: TaskInfo) -> None:
        self.path = Path(path)
        self.files = [field for field in input_fields(info.output).values() if field.is_binary]
        if not self.files:
            raise BadValue(f"{info.name} answers no file. Leave out --out.")
        for field in self.files[:1] if len(self.files) == 1 else ():
            end, said = _end(field), self.path.suffix.lower()
            if said not in {"", end} and mimetypes.guess_type(self.path.name)[0]:
                raise BadValue(
                    f"--out {path} ends in {said}, but {field.name} is {field.media}. Write "
                    f"{self.path.with_suffix(end)}."
                )

    def write(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Write the files of each row as it comes."""
        left = iter(rows)
        first = list(islice(left, 2))
        several = len(first) > 1
        for number, row in enumerate(chain(first, left), start=1):
            yield dict(row) | self._written(row, f"-{number}" if several else "")

    def _written(self, row: Mapping[str, Any], number: str) -> dict[str, str]:
        paths = {}
        for field in self.files:
            if isinstance(file := row.get(field.name), File):
                named = f"-{field.name}" if len(self.files) > 1 else ""
                end = self.path.suffix if len(self.files) == 1 and self.path.suffix else _end(field)
                path = file.save(self.path.with_name(f"{self.path.stem}{named}{number}{end}"))
                typer.echo(f"Wrote {path} ({file.media}, {len(file.bytes):,} bytes).", err=True)
                paths[field.name] = str(path)
        return paths


def _end(field: Field) -> str:
    return ENDS.get(field.media) or mimetypes.guess_extension(field.media) or ""

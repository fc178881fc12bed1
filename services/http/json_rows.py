"""Read rows of the feature layer from JSON, and write what it holds as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput, nearest
from cluster.base.faults import together
from cluster.features.intake.ingest import OPTIONAL
from cluster.features.schema.column import Key, Time
from cluster.features.schema.view import View

NAME_SHOWN = 64  # characters of a name that a caller made up
KNOWN = {"present", "stale"}  # statuses of what has an event time


def key_of(views: Iterable[View]) -> tuple[str, ...]:
    """The key columns of all these views, each once."""
    return tuple(dict.fromkeys(name for view in views for name in view.key))


def key_columns(keys: Sequence[Mapping[str, Any]], names: Sequence[str], root: str) -> Batch:
    """Keys as columns of text, `[n]` each; whole numbers become their digits.

    Args:
        keys: what was sent, `n` objects.
        names: the key columns that are needed, and no others.
        root: the JSON pointer of the list.

    Raises:
        InvalidInput: a key lacks one of the columns, has another, or one that is no id.
    """
    columns = {name: [key.get(name) for key in keys] for name in names}
    faults = [
        InvalidInput(f"{name} is missing: the key is {', '.join(names)}.", pointer=f"{root}/{row}")
        for name, values in columns.items()
        for row, value in enumerate(values)
        if value is None
    ]
    faults += _strangers(keys, names, root)
    admitted: Arrays = {}
    for name, values in columns.items():
        admitted[name], bad = Key().admit(objects(values))
        if not faults:
            faults = [
                InvalidInput(f"{name} {reason}.", pointer=f"{root}/{row}/{name}")
                for row, reason in bad.items()
            ]
    _refuse(faults)
    return admitted


def raw_rows(view: View, rows: Sequence[Mapping[str, Any]], root: str) -> Batch:
    """Rows of a view as they came in JSON, in columns: raw, for `admit` to judge.

    Where a row lacks a column, None stands.

    Raises:
        InvalidInput: a row has a column that the view lacks, or no event time while others have
            one, or a file that is no base64.
    """
    _refuse(_strangers(rows, tuple(view.schema), root))
    present = {name for row in rows for name in row}
    _refuse(_undated(rows, root) if "event_time" in present else [])
    wanted = [name for name in view.schema if name in present or name not in OPTIONAL]
    raw = {name: objects(row.get(name) for row in rows) for name in wanted}
    for name, column in view.columns.items():
        raw[name], faults = column.from_json(raw[name])
        _refuse(
            [
                InvalidInput(f"{name} {reason}.", pointer=f"{root}/{row}/{name}")
                for row, reason in faults.items()
            ]
        )
    return raw


def json_rows(view: View, found: Batch, named: Mapping[str, str]) -> list[dict[str, Any]]:
    """What a lookup found of a view, a dict for each key: values, status and event time.

    NumPy arrays among the values are left for orjson. Where the status is not `present`, a value is
    the view's default, or None where it has none.

    Args:
        view: the view.
        found: what was found of it, and maybe of others.
        named: what each of its columns is called there.
    """
    statuses = found[f"{view.name}_status"].tolist()
    moments = Time().to_json(found[f"{view.name}_time"])
    columns = {name: kind.to_json(found[named[name]]) for name, kind in view.columns.items()}
    known = zip(*columns.values(), strict=True) if columns else [()] * len(statuses)
    rows = []
    for status, moment, values in zip(statuses, moments, known, strict=True):
        values_of = dict(zip(columns, values, strict=True))
        if status != "present":
            values_of = {n: v if n in view.defaults else None for n, v in values_of.items()}
        time = moment if status in KNOWN else None
        rows.append({"values": values_of, "status": status, "event_time": time})
    return rows


def _strangers(
    rows: Sequence[Mapping[str, Any]], known: Sequence[str], root: str
) -> list[InvalidInput]:
    """Each name of a row that is none of the known ones."""
    return [
        InvalidInput(
            f"There is no column {name[:NAME_SHOWN]!r}.",
            hint=nearest(name[:NAME_SHOWN], known),
            pointer=f"{root}/{row}",
        )
        for row, one in enumerate(rows)
        for name in one.keys() - set(known)
    ]


def _undated(rows: Sequence[Mapping[str, Any]], root: str) -> list[InvalidInput]:
    """Each row without an event time: who forgot it would not see that the row is of now."""
    return [
        InvalidInput(
            "event_time is missing, which other rows have.",
            hint="Give it to every row, or to none: then they are of now.",
            pointer=f"{root}/{row}",
        )
        for row, one in enumerate(rows)
        if "event_time" not in one
    ]


def _refuse(faults: Sequence[InvalidInput]) -> None:
    if faults:
        raise together(faults)

"""Words for nothing are values that ingest names, true nulls bad rows: in every format alike."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.features.intake.ingest import Ingested, ingest
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from tests.features.intake.workbook import workbook

Table = Sequence[Sequence[str | None]]


def _csv(rows: Table, mark: str = ",") -> bytes:
    return "\n".join(mark.join(value or "" for value in row) for row in rows).encode()


def _jsonl(rows: Table) -> bytes:
    return "\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]).encode()


def _parquet(rows: Table) -> bytes:
    sink = io.BytesIO()
    columns = zip(*rows[1:], strict=True)
    pq.write_table(pa.table(dict(zip(rows[0], map(list, columns), strict=True))), sink)
    return sink.getvalue()


FORMATS: dict[str, Callable[[Table], bytes]] = {
    "csv": _csv, "tsv": lambda rows: _csv(rows, "\t"), "jsonl": _jsonl, "parquet": _parquet,
    "xlsx": lambda rows: workbook({"a": rows}),
}  # fmt: skip


def taken(folder: Path, rows: Table, kind: str = "csv", view: View = labelled_texts) -> Ingested:
    path = folder / f"a.{kind}"
    path.write_bytes(FORMATS[kind](rows))
    return ingest(view, [path], Store(folder / "store"), max_reject_share=1)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_word_for_nothing_is_a_label_and_a_text_and_is_named(tmp_path: Path, kind: str) -> None:
    rows = [("text", "label"), ("from Windhoek", "NA"), ("of Berlin", "DE"), ("nan", "DE")]
    found = taken(tmp_path, [*rows, ("off", None), (None, "DE")], kind)
    unit = "line" if kind in ("csv", "tsv", "jsonl") else "row"
    at = 1 if kind in ("jsonl", "parquet") else 2
    assert found.new == 3
    assert found.summary.counts == {("", "NA"): 1, ("", "DE"): 2}
    assert {one.example for one in found.summary.reasons} == {"label is empty", "text is empty"}
    told = [sentence for sentence in found.summary.warnings if "may stand for" in sentence]
    rest = (
        "It was taken as it is written. If it means that nothing is known, leave the cell empty: "
        "such rows are rejected."
    )
    assert told == [
        f"A text may stand for a missing one: 'nan' in 1 row (a.{kind} {unit} {at + 2}). {rest}",
        f"A label may stand for a missing one: 'NA' in 1 row (a.{kind} {unit} {at}). {rest}",
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_id_that_is_a_word_for_nothing_is_named(tmp_path: Path, kind: str) -> None:
    head = ("user_id", "item_id", "event_time")
    rows = [(user, f"i{n}", "2024-05-01T12:00:00Z") for n, user in enumerate(["NULL", "u", "NULL"])]
    found = taken(tmp_path, [head, *rows, (None, "i3", rows[0][2])], kind, interactions)
    (told,) = [sentence for sentence in found.summary.warnings if "may stand for" in sentence]
    assert told.startswith("A user_id may stand for a missing one: 'NULL' in 2 rows (a.")
    assert [one.example for one in found.summary.reasons] == ["user_id is empty"]


def test_not_a_number_is_nothing_in_numbers_and_in_times(tmp_path: Path) -> None:
    head = ("user_id", "item_id", "value", "event_time")
    rows = [("u", "a", "NA", "2024-05-01"), ("u", "b", "nan", "2024-05-01"), ("u", "c", "1", "NaT")]
    (tmp_path / "a.csv").write_bytes(_csv([head, *rows]))
    found = taken(tmp_path, [head, *rows], view=interactions)
    assert found.rejects == 3


def test_ids_in_spaces_and_in_another_unicode_form_are_named(tmp_path: Path) -> None:
    head = ("user_id", "item_id", "event_time")
    users = ["cafe\u0301", "caf\u00e9", " u1", "u1"]
    rows = [(user, f"i{n}", "2024-05-01T12:00:00Z") for n, user in enumerate(users)]
    found = taken(tmp_path, [head, *rows], view=interactions)
    (told,) = [sentence for sentence in found.summary.warnings if "begin or end" in sentence]
    assert told == (
        "2 values of user_id begin or end with a space, or hold letters in another Unicode form "
        r"than NFC: ' u1', 'cafe\u0301'. To us they are other ids than those without; write them "
        "alike, or they do not meet."
    )


def test_labels_that_differ_by_unicode_form_alone_are_named(tmp_path: Path) -> None:
    rows = [("text", "label"), ("one", "cafe\u0301"), ("two", "caf\u00e9"), ("three", "tea")]
    told = taken(tmp_path, rows).summary.warnings[-1]
    assert told == (
        "Labels that differ by case, spaces or Unicode form alone are different labels: "
        r"'cafe\u0301' (1 rows) and 'café' (1 rows)."
    )


def test_no_row_that_is_good_tells_nothing_of_its_columns(tmp_path: Path) -> None:
    rows = [("user_id", "item_id", "event_time"), ("u", "a", "soon")]
    assert taken(tmp_path, rows, view=interactions).summary.warnings == []

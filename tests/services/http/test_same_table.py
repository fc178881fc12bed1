"""One table through every door that rows come in by: equal keys, labels, times and values."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from cluster.features.derived.graph import Graph
from cluster.features.intake.ingest import ingest
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.http import door
from services.local import catalog
from tests.features.intake.workbook import workbook
from tests.support import ask

BIG = 12345678901234567890120
TIMES = [datetime(2024, 5, day, 12, 30, 15, tzinfo=UTC) for day in (1, 2, 3, 4)]
TEXTS: list[object] = ["plain", 'He said "hi", twice', "two\nlines\tand a tab", "café 漢 🙂 "]
Columns = dict[str, list[object]]
EVENTS: Columns = {
    "user_id": [17850.0, 3.0, 4.0, 17850.0],
    "item_id": TEXTS,
    "value": [4.5, 5.0, 1.0, 0.1],
    "event_time": list(TIMES),
}
DOCUMENTS: Columns = {
    "text_id": [str(BIG + row) for row in range(4)],
    "text": TEXTS,
    "label": [1.0, 2.0, 1.0, 10.0],
    "split": ["train", "test", "", "valid"],
    "event_time": list(TIMES),
}
TABLES = [(interactions, EVENTS), (labelled_texts, DOCUMENTS)]


def text(columns: Columns, between: str) -> bytes:
    """As pandas writes it: floats with `.0`, moments with their zone."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=between, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return out.getvalue().encode()


def json_lines(columns: Columns) -> bytes:
    """Numbers as numbers, ids of many digits too; moments as microseconds since 1970."""
    lines = []
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        moment = row["event_time"]
        assert isinstance(moment, datetime)
        row["event_time"] = round(moment.timestamp() * 1e6)
        if "text_id" in row:
            row["text_id"] = int(str(row["text_id"]))
        lines.append(json.dumps(row))
    return "\n".join(lines).encode()


def arrow(columns: Columns) -> pa.Table:
    """Moments to the nanosecond, ids of many digits as decimals."""
    made = {name: pa.array(values) for name, values in columns.items() if name != "text_id"}
    made["event_time"] = pa.array(columns["event_time"], pa.timestamp("ns", "UTC"))
    if "text_id" in columns:
        ids = [Decimal(str(one)) for one in columns["text_id"]]
        made["text_id"] = pa.array(ids, pa.decimal128(38, 0))
    return pa.table(made)


def parquet(columns: Columns) -> bytes:
    out = io.BytesIO()
    pq.write_table(arrow(columns), out)
    return out.getvalue()


def feathered(columns: Columns) -> bytes:
    out = io.BytesIO()
    feather.write_feather(arrow(columns), out)
    return out.getvalue()


def sheet(columns: Columns) -> bytes:
    """Moments as cells that Excel shows as such, in no zone."""
    rows = [
        [cell.replace(tzinfo=None) if isinstance(cell, datetime) else cell for cell in row]
        for row in zip(*columns.values(), strict=True)
    ]
    return workbook({"Sheet1": [list(columns), *rows]})


WRITERS: dict[str, Callable[[Columns], bytes]] = {
    "a.csv": lambda columns: text(columns, ","),
    "a.tsv": lambda columns: text(columns, "\t"),
    "a.jsonl": json_lines,
    "a.parquet": parquet,
    "a.xlsx": sheet,
    "a.feather": feathered,
}


def ingested(view: View, columns: Columns, name: str, folder: Path) -> Store:
    store = Store(folder / name)
    (folder / name).mkdir()
    path = folder / f"in-{name}"
    path.write_bytes(WRITERS[name](columns))
    assert not ingest(view, [path], store, columns={"timezone": "UTC"}).rejects
    return store


def pushed(view: View, columns: Columns, folder: Path) -> Store:
    """The rows over HTTP, as JSON with moments in ISO 8601."""
    store = Store(folder / "features")
    models = Models(Registry(folder), catalog.find)
    layer = Layer(Graph([view]), store, Online(folder / "features" / "online.db"), models)
    layer.materialize([view.name])
    names = {"event_time": [one.isoformat() for one in TIMES]}
    rows = [
        dict(zip(columns, values, strict=True))
        for values in zip(*({**columns, **names}).values(), strict=True)
    ]
    body = json.dumps({"rows": rows}).encode()
    app = door.build(folder, dict, lambda: layer)
    answer = ask(
        app, "POST", f"/v1/features/{view.name}/push", body, content_type="application/json"
    )
    assert answer.status_code == 200, answer.text
    return store


def held(store: Store, view: View) -> list[tuple[object, ...]]:
    found = store.snapshot(view).read(view)
    columns = (found[name].tolist() for name in view.schema)
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize(("view", "columns"), TABLES, ids=["interactions", "texts"])
def test_one_table_is_the_same_rows_through_every_door(
    tmp_path: Path, view: View, columns: Columns
) -> None:
    found = {name: held(ingested(view, columns, name, tmp_path), view) for name in WRITERS}
    found["http"] = held(pushed(view, columns, tmp_path), view)
    for one, other in combinations(found, 2):
        assert found[one] == found[other], (one, other)
    keys = {row[0] for row in found["http"]}
    expected = {"17850", "3", "4"} if view is interactions else {str(BIG + n) for n in range(4)}
    assert keys == expected

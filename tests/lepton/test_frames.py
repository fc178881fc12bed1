"""DataFrames and tables are rows, and an empty cell is a field that is not given."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from lepton import BadType, BadValue, Client
from lepton._inputs import rows_of
from tests.lepton.toy import Toy

ROWS: list[dict[str, Any]] = [{"text": "good", "threshold": 0.5}, {"text": "中", "threshold": None}]
FRAMES = [pd.DataFrame(ROWS), pl.DataFrame(ROWS), pa.Table.from_pylist(ROWS)]
SENT: list[dict[str, Any]] = [{"text": "good", "threshold": 0.5}, {"text": "中"}]
KINDS = ["pandas", "Polars", "Arrow"]


@pytest.mark.parametrize("frame", FRAMES, ids=KINDS)
def test_a_frame_is_its_rows(frame: Any) -> None:
    toy = Toy()
    with toy.client(chunk_size=1) as client:
        assert len(client.predict("nlp.classify", frame).outputs) == 2
        assert client.predict("nlp.classify", frame[:0]).outputs == []
    assert {row["text"] for rows in toy.predictions() for row in rows} == {"good", "中"}
    assert [row for rows in toy.predictions() for row in rows if "threshold" in row] == SENT[:1]


def test_a_frame_is_its_rows_with_asyncio() -> None:
    toy = Toy()

    async def ask() -> None:
        async with toy.async_client() as client:
            await client.predict("nlp.classify", FRAMES[0])

    asyncio.run(ask())
    assert toy.predictions() == [SENT]


def test_a_column_makes_a_batch() -> None:
    toy = Toy()
    with toy.client() as client:
        assert len(client.nlp.classify(text=FRAMES[0]["text"])) == 2
        assert len(client.nlp.classify(FRAMES[1]["text"])) == 2


def test_pandas_empty_cells_of_every_kind_are_left_out() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    frame = pd.DataFrame(
        {
            "a": pd.array([1, None], dtype="Int64"),
            "b": pd.to_datetime([at, None]),
            "c": pd.array(["x", None], dtype="string"),
            "d": [[1, 2], None],
        }
    )
    assert rows_of(frame, "rows") == [{"a": 1, "b": at, "c": "x", "d": [1, 2]}, {}]


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (pd.DataFrame([["a", "b"]], columns=["x", "x"]), BadValue, "inputs has two columns called"),
        (pa.table([["a"], ["b"]], names=["x", "x"]), BadValue, "inputs has two columns called 'x'"),
        (pd.DataFrame([["a"]]), BadType, "inputs has the column 0, whose name is no str"),
        (pd.Series(["a"]), BadType, "inputs is a Series. Give a DataFrame, or a list of dicts"),
        (pl.Series(["a"]), BadType, "inputs is of type Series. Give a list of dicts, or a Data"),
        (pl.LazyFrame({"x": [1]}), BadType, "inputs is of type LazyFrame"),
        ("text", BadType, "inputs is of type str"),
        ({"text": "a"}, BadType, "inputs is of type dict"),
    ],
)
def test_what_is_no_frame_is_refused(frame: Any, error: type[Exception], words: str) -> None:
    with Toy().client() as client, pytest.raises(error, match=words):
        client.predict("nlp.classify", frame)


def test_rows_that_are_pushed_may_be_a_frame() -> None:
    sent: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content)["rows"])
        return httpx.Response(200, json={"rows": 2})

    frame = FRAMES[1].with_columns(event_time=pl.lit("2026-01-02T03:04:05Z"))
    with Client("http://toy", transport=httpx.MockTransport(answer)) as client:
        assert client.features.push("texts", frame) == 2
    assert sent == [[{**row, "event_time": "2026-01-02T03:04:05Z"} for row in SENT]]


def test_the_client_imports_none_of_these_libraries() -> None:
    program = "import sys, lepton, lepton.cli as _; print({'pandas', 'polars', 'pyarrow', 'numpy'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{program} & {{*sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"

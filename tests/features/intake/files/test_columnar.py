import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from cluster.base.errors import InvalidInput
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from tests.features.intake.reading import read
from tests.features.intake.workbook import workbook

MOMENT = np.datetime64("2023-11-14T22:13:20.123456", "us")


def test_times_of_every_unit_are_read_to_the_microsecond(tmp_path: Path) -> None:
    nanoseconds = pa.array([1_700_000_000_123_456_789] * 2, pa.timestamp("ns"))
    for column in (nanoseconds, nanoseconds.cast(pa.timestamp("us"), safe=False)):
        for zone in (None, "UTC", "Europe/London"):
            times = column.cast(pa.timestamp(column.type.unit, zone))
            table = pa.table({"user_id": ["a", "b"], "item_id": ["x", "x"], "event_time": times})
            pq.write_table(table, tmp_path / "a.parquet")
            feather.write_feather(table, tmp_path / "a.feather")
            for name in ("a.parquet", "a.feather"):
                rows, bad = read(interactions, tmp_path / name, zone="" if zone else "UTC")
                assert not bad
                assert rows["event_time"].tolist() == [MOMENT, MOMENT]


def test_moments_beyond_the_calendar_are_rejects(tmp_path: Path) -> None:
    late = pa.array([400_000_000_000_000_000, None, 0], pa.timestamp("us"))
    table = pa.table({"user_id": ["a", "b", "c"], "item_id": ["x"] * 3, "event_time": late})
    pq.write_table(table, tmp_path / "a.parquet")
    rows, bad = read(interactions, tmp_path / "a.parquet", zone="UTC")
    assert rows["user_id"].tolist() == ["c"]
    assert [reject.reason.split(":")[0] for reject in bad] == [
        "event_time 'timestamp[us] 400000000000000000' is no time",
        "event_time is missing",
    ]


def test_ids_of_every_type_are_one(tmp_path: Path) -> None:
    whole = [17850, None, 3]
    kinds = (
        pa.int64(), pa.uint64(), pa.float64(), pa.float32(), pa.decimal128(38, 0),
        pa.decimal128(20, 2), pa.string(), pa.large_string(),
    )  # fmt: skip
    for kind in kinds:
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        decimal = pa.types.is_decimal(kind)
        values: list[Any] = [
            v if v is None else str(v) if text else Decimal(v) if decimal else v for v in whole
        ]
        column = pa.array(values, kind)
        for users in (column, column.dictionary_encode()):
            table = pa.table({"user_id": users, "item_id": users, "value": [1.0, 1.0, 1.0]})
            pq.write_table(table, tmp_path / "a.parquet")
            rows, bad = read(interactions, tmp_path / "a.parquet")
            assert rows["user_id"].tolist() == ["17850", "3"], kind
            assert [reject.reason for reject in bad] == ["user_id is empty"]
    for large in (pa.array([2.0**53, 2.0], pa.float64()), pa.array([2.0**24, None], pa.float32())):
        pq.write_table(pa.table({"user_id": large, "item_id": large}), tmp_path / "a.parquet")
        first = read(interactions, tmp_path / "a.parquet")[1][0]
        assert "too large to hold every digit" in first.reason


@pytest.mark.parametrize("kind", ["file", "stream", "feather"])
def test_arrow_is_read_however_it_was_written(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": ["a", "b"], "label": ["x", "y"]})
    path = tmp_path / "a.arrow"
    if kind == "feather":
        feather.write_feather(table, path)
    else:
        new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=1)
    rows, bad = read(labelled_texts, path)
    assert not bad
    assert list(zip(rows["text"], rows["label"], strict=True)) == [("a", "x"), ("b", "y")]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InvalidInput, match=r"a\.arrow cannot be read"):
        read(labelled_texts, path)
    path.write_bytes(b"FEA1 and so on")
    with pytest.raises(InvalidInput, match=r"a\.arrow is Feather of version 1, which nothing"):
        read(labelled_texts, path)


def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    table = pa.table(
        [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], ["text", "label", "label"]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InvalidInput, match="2 columns that could be label"):
        read(labelled_texts, tmp_path / "a.parquet")
    assert read(labelled_texts, tmp_path / "a.parquet", text="text", label="2")[0]["label"] == ["c"]


def test_a_sheet_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    when = datetime(2024, 5, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    head = ("user_id", "item_id", "rating", "date")
    rows = [head, (17850, "x", 4.5, when), (), (3, "y", 5, when), (1.5, "y", None, when)]
    path.write_bytes(workbook({"Sheet1": rows, "Empty": []}))
    found, bad = read(interactions, path, zone="UTC")
    assert found["user_id"].tolist() == ["17850", "3"]
    assert found["value"].tolist() == [4.5, 5.0]
    assert found["event_time"].tolist() == [np.datetime64("2024-05-01T12:00", "us")] * 2
    assert [(one.where, one.reason) for one in bad] == [
        ("a.xlsx row 5", "user_id is 1.5, which is no id")
    ]
    path.write_bytes(workbook({"Sheet1": rows[1:2]}))
    found, _ = read(interactions, path, zone="UTC", user_id="0", item_id="1", event_time="3")
    assert found["user_id"].tolist() == ["17850"]
    path.write_bytes(workbook({"One": rows, "Two": rows}))
    with pytest.raises(InvalidInput, match=r"holds several sheets: 'One', 'Two'\. Save the one"):
        read(interactions, path)
    path.write_bytes(workbook({"One": []}))
    with pytest.raises(InvalidInput, match=r"a\.xlsx is empty"):
        read(interactions, path)
    path.write_bytes(b"PK no")
    with pytest.raises(InvalidInput, match=r"a\.xlsx cannot be read as Excel: .* Save it again"):
        read(interactions, path)


def test_packed_tables_are_unpacked_and_refused_where_they_end_early(tmp_path: Path) -> None:
    table = b"text,label\n" + b"".join(b"text %d,x\n" % n for n in range(20_000))
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), sink)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    }
    for end, pack in packers.items():
        path = tmp_path / f"a.csv.{end}"
        path.write_bytes(pack(table))
        rows, bad = read(labelled_texts, path)
        assert (len(rows["text"]), bad) == (20_000, [])
        packed = tmp_path / f"a.parquet.{end}"
        packed.write_bytes(pack(sink.getvalue()))
        assert read(labelled_texts, packed)[0]["text"].tolist() == ["a"]
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(path, path.name)
        assert len(read(labelled_texts, tmp_path / "a.zip")[0]["text"]) == 20_000
        path.write_bytes(pack(table)[:-20])
        with pytest.raises(InvalidInput, match="cannot be read to its end"):
            read(labelled_texts, path)


def test_a_text_that_is_called_parquet_is_told_of_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("text,label\na,b\n")
    with pytest.raises(InvalidInput, match=r"a\.parquet cannot be read as Parquet: .*[^.]\. Save"):
        read(labelled_texts, tmp_path / "a.parquet")

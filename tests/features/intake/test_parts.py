import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.movielens import GENRES
from cluster.features.views.interactions import interactions, items, users
from tests.features.intake.reading import read


def part(path: Path, user: str, **more: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"user_id": [user], "item_id": ["x"], **more}), path)


@pytest.mark.parametrize(
    "names",
    [
        ("part-00000-c000.snappy.parquet", "part-00001-c000.snappy.parquet"),
        ("part.0.parquet", "part.1.parquet"),
        ("0.parquet", "1.parquet"),
        ("data_0.parquet", "data_1.parquet"),
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("orders/part-0.parquet", "orders/part-1.parquet"),
    ],
)
def test_a_folder_of_part_files_is_one_table(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, user in zip(names, "ab", strict=True):
        part(tmp_path / name, user)
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "_committed_1").write_text("{}")
    rows, bad = read(interactions, tmp_path)
    assert not bad
    assert sorted(rows["user_id"]) == ["a", "b"]


def test_the_part_files_of_another_table_are_left_alone(tmp_path: Path) -> None:
    part(tmp_path / "orders" / "part-0.parquet", "a")
    part(tmp_path / "refunds" / "part-0.parquet", "b")
    (tmp_path / "catalog.csv").write_text("item_id,title\nx,X\n")
    assert read(interactions, tmp_path)[0]["user_id"].tolist() == ["a"]
    assert read(items, tmp_path)[0]["title"].tolist() == ["X"]


def test_folders_of_partitions_are_columns(tmp_path: Path) -> None:
    for day, user in (("2026-01-01", "a"), ("2026-01-02", "b")):
        part(tmp_path / f"dt={day}" / "country=De%2FAt" / "part-0.parquet", user)
    rows, bad = read(interactions, tmp_path, zone="UTC", event_time="dt", item_id="country")
    assert not bad
    assert rows["item_id"].tolist() == ["De/At", "De/At"]
    assert rows["event_time"].tolist() == [np.datetime64(f"2026-01-0{n}", "us") for n in (1, 2)]
    with pytest.raises(InvalidInput, match=r"known as event_time, but 'dt' looks like one"):
        read(interactions, tmp_path)
    part(tmp_path / "dt=__HIVE_DEFAULT_PARTITION__" / "country=x" / "part-0.parquet", "c")
    bad = read(interactions, tmp_path, zone="UTC", event_time="dt")[1]
    assert [reject.reason for reject in bad] == ["event_time is missing"]


def test_a_column_that_a_part_lacks_is_missing_there_and_not_made_up(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", "a")
    part(tmp_path / "part-1.parquet", "b", value=[5.0])
    rows, bad = read(interactions, tmp_path)
    assert rows["value"].tolist() == [5.0]
    assert [(one.where, one.reason) for one in bad] == [
        ("part-0.parquet row 1", "value is missing")
    ]


def test_empty_part_files_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "part-00000.csv").write_text("")
    (tmp_path / "part-00001.csv").write_text("user_id,item_id\na,x\n")
    (tmp_path / "part-00002.csv").write_text("user_id,item_id\n")
    assert read(interactions, tmp_path)[0]["user_id"].tolist() == ["a"]
    (tmp_path / "part-00001.csv").write_text("")
    (tmp_path / "part-00002.csv").write_text("")
    with pytest.raises(InvalidInput, match=r"part-0000\d\.csv is empty"):
        read(interactions, tmp_path)


def test_parts_lie_in_a_zip_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("out/part-0.csv", "user_id,item_id\na,x\n")
        archive.writestr("out/part-1.csv", "user_id,item_id\nb,x\n")
    assert read(interactions, tmp_path / "a.zip")[0]["user_id"].tolist() == ["a", "b"]


def test_a_delta_table_is_refused_since_its_log_says_what_counts(tmp_path: Path) -> None:
    part(tmp_path / "part-0.parquet", "deleted")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "00000000000000000000.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is a Delta table: its log says which of its files"):
        read(interactions, tmp_path)


def test_movielens_100k_is_read_as_it_is_shipped(tmp_path: Path) -> None:
    flags = ["1" if genre in ("Comedy", "War") else "0" for genre in GENRES]
    film = ["1", "Les Misérables (1995)", "01-Jan-1995", "", "http://x", *flags]
    files = {
        "u.data": "196\t1\t3\t881250949\n22\t1\t1\t878887116\n",
        "u1.base": "196\t1\t3\t881250949\n",
        "u1.test": "22\t1\t1\t878887116\n",
        "u.item": "|".join(film) + "\n",
        "u.user": "196|49|M|writer|55105\n22|24|F|other|94043\n",
        "u.genre": "unknown|0\n",
        "u.info": "2 users\n",
        "u.occupation": "writer\n",
        "README": "SUMMARY\n",
        "mku.sh": "#!/bin/sh\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    rows, bad = read(interactions, tmp_path)
    assert not bad
    assert rows["user_id"].tolist() == ["196", "22"]
    assert rows["value"].tolist() == [3.0, 1.0]
    assert str(rows["event_time"][0]) == "1997-12-04T15:55:49.000000"
    rows, bad = read(items, tmp_path)
    assert not bad
    assert rows["title"].tolist() == ["Les Misérables (1995)"]
    assert rows["categories"].tolist() == [["Comedy", "War"]]
    assert read(users, tmp_path)[0]["user_id"].tolist() == ["196", "22"]
    assert read(interactions, tmp_path / "u.data")[0]["user_id"].tolist() == ["196", "22"]


def test_movielens_1m_is_read_as_it_is_shipped(tmp_path: Path) -> None:
    files = {
        "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n",
        "movies.dat": "1193::Les Misérables: a film (1995)::Drama|War\n",
        "users.dat": "1::F::1::10::48067\n",
        "README": "SUMMARY\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    rows, bad = read(interactions, tmp_path)
    assert not bad
    assert rows["item_id"].tolist() == ["1193", "661"]
    assert str(rows["event_time"][0]) == "2000-12-31T22:12:40.000000"
    rows, bad = read(items, tmp_path)
    assert not bad
    assert rows["title"].tolist() == ["Les Misérables: a film (1995)"]
    assert rows["categories"].tolist() == [["Drama", "War"]]
    assert read(users, tmp_path)[0]["user_id"].tolist() == ["1"]


def test_a_file_like_those_of_movielens_that_has_a_header_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("item_id::user_id\nx::a\n")
    assert read(interactions, tmp_path)[0]["user_id"].tolist() == ["a"]
    (tmp_path / "log.dat").write_text("1::2\n3::4\n")
    with pytest.raises(InvalidInput, match=r"no column that is known as user_id; .*=0"):
        read(interactions, tmp_path / "log.dat")
    rows, _ = read(interactions, tmp_path / "log.dat", user_id="0", item_id="1")
    assert rows["user_id"].tolist() == ["1", "3"]

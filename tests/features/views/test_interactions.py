from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.base.errors import InvalidInput
from cluster.features.views.interactions import interactions, items, users
from tests.features.intake.reading import read


def test_usual_names_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "User-ID,movieId,Rating,timestamp\n1,10,4.5,964982703\n2,11,nan,964982703\n,1,1,1\n"
        "3,1,-inf,1\n4,1,,1\n5,1,many,1\n"
    )
    rows, bad = read(interactions, tmp_path)
    assert rows["user_id"].tolist() == ["1"]
    assert rows["item_id"].tolist() == ["10"]
    assert rows["value"].tolist() == [4.5]
    assert rows["event_time"].tolist() == [np.datetime64("2000-07-30T18:45:03", "us")]
    assert [(r.where, r.reason) for r in bad] == [
        ("log.csv line 3", "value is nan, not a finite number"),
        ("log.csv line 4", "user_id is empty"),
        ("log.csv line 5", "value is -inf, not a finite number"),
        ("log.csv line 6", "value is missing"),
        ("log.csv line 7", "value 'many' is not a number"),
    ]


def test_a_mapping_says_which_column_is_which(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("who\twhat\twhen\na\tx\t2024-05-01T12:00:00Z\n")
    rows, bad = read(interactions, tmp_path, user_id="who", item_id="what", event_time="when")
    assert not bad
    assert rows["value"].tolist() == [1.0]
    assert rows["event_time"].tolist() == [np.datetime64("2024-05-01T12:00:00", "us")]


@pytest.mark.parametrize(
    ("name", "value"),
    [("bought_at", "7"), ("purchaseDate", "x"), ("ts_ms", "1"), ("moment", "2024-05-01 12:00")],
)
def test_times_that_nobody_recognises_are_not_left_out_in_silence(
    tmp_path: Path, name: str, value: str
) -> None:
    (tmp_path / "log.csv").write_text(f"user_id,item_id,{name}\na,x,{value}\n")
    with pytest.raises(
        InvalidInput, match=f"known as event_time, but '{name}' looks like one"
    ) as e:
        read(interactions, tmp_path)
    assert (
        f"--map event_time={name}, or that there is none with --map event_time=-." in e.value.hint
    )
    rows, bad = read(interactions, tmp_path, event_time="-")
    assert not bad
    assert rows["user_id"].tolist() == ["a"]


def test_columns_that_are_no_times_need_no_word(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,price,note,sometimes\na,x,-3.5,1e5,\n")
    assert "event_time" not in read(interactions, tmp_path)[0]


def test_whole_ids_with_gaps_and_naive_times_read_from_parquet(tmp_path: Path) -> None:
    noon = np.datetime64("2011-06-01T12:00:00", "us")
    table = {
        "CustomerID": pa.array([17850, None], pa.int64()),
        "StockCode": ["85123A", "71053"],
        "Quantity": [6, 6],
        "InvoiceDate": pa.array([noon, noon]),
    }
    pq.write_table(pa.table(table), tmp_path / "r.parquet")
    rows, bad = read(interactions, tmp_path / "r.parquet")
    assert not len(rows["user_id"])
    assert [reject.reason.split(":")[0] for reject in bad] == [
        "event_time '2011-06-01 12",
        "user_id is empty",
    ]
    rows, bad = read(interactions, tmp_path / "r.parquet", zone="Europe/London")
    assert rows["user_id"].tolist() == ["17850"]
    assert rows["event_time"].tolist() == [noon - np.timedelta64(1, "h")]
    assert len(bad) == 1


def test_items_have_titles_and_categories(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n1,"A, the film",Drama|War\n2,B,(no genres listed)\n'
    )
    rows, bad = read(items, tmp_path)
    assert not bad
    assert rows["title"].tolist() == ["A, the film", "B"]
    assert rows["categories"].tolist() == [["Drama", "War"], []]


def test_users_need_only_their_key(tmp_path: Path) -> None:
    (tmp_path / "users.jsonl").write_text('{"id": 7}\n')
    assert read(users, tmp_path)[0]["user_id"].tolist() == ["7"]


def test_of_several_tables_the_one_that_fits_by_name_is_read(tmp_path: Path) -> None:
    for name in ("ratings", "tags"):
        (tmp_path / f"{name}.csv").write_text(f"user_id,item_id\n{name},1\n")
    assert read(interactions, tmp_path)[0]["user_id"].tolist() == ["ratings"]
    (tmp_path / "ratings.csv").rename(tmp_path / "scores.csv")
    with pytest.raises(InvalidInput, match=r"several tables: scores\.csv, tags\.csv"):
        read(interactions, tmp_path)


@pytest.mark.slow
def test_movielens_is_found_in_its_folder(data: Path) -> None:
    rows, bad = read(interactions, data / "movielens-latest-small")
    assert not bad
    assert len(rows["value"]) == 100_836
    assert round(float(rows["value"].mean()), 2) == 3.50
    assert str(rows["event_time"].min())[:10] == "1996-03-29"
    assert str(rows["event_time"].max())[:10] == "2018-09-24"
    rows, bad = read(items, data / "movielens-latest-small")
    assert not bad
    assert len(rows["title"]) == 9742
    assert rows["title"][0] == "Toy Story (1995)"
    assert rows["categories"][0][0] == "Adventure"

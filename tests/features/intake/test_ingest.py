import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import objects, without
from cluster.base.errors import InvalidInput, NotFound
from cluster.base.writers import LOCK
from cluster.features.intake.ingest import admit, ingest, ingest_rows
from cluster.features.offline.store import Store
from cluster.features.schema.raw import KEY_CHARACTERS
from cluster.features.schema.view import View
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions, items, users
from cluster.features.views.texts import labelled_texts
from tests.features.offline.shelf import batch, shelf


def table(path: Path, good: int, bad: int) -> Path:
    rows = [f"text {row},x" for row in range(good)] + [" ,x"] * bad
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def files(root: Path) -> list[Path]:
    beside = {"rejects", LOCK}
    return sorted(
        path for path in root.rglob("*") if path.is_file() and not beside.intersection(path.parts)
    )


def test_the_same_source_again_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    source = table(tmp_path / "a.csv", 20, 0)
    first = ingest(labelled_texts, [source], store)
    assert (first.rows, first.new, first.same, first.rejects) == (20, 20, 0, 0)
    before = files(store.root)
    again = ingest(labelled_texts, [source], store)
    assert (again.new, again.same, again.replaced, again.commit) == (0, 20, 0, first.commit)
    assert files(store.root) == before


def test_few_bad_rows_go_to_a_file_with_their_reasons(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    seen: list[tuple[int, int]] = []
    done = ingest(
        labelled_texts,
        [table(tmp_path / "a.csv", 99, 1)],
        store,
        progress=lambda rows, rejects: seen.append((rows, rejects)),
    )
    assert (done.rows, done.new, done.rejects) == (100, 99, 1)
    assert seen == [(100, 1)]
    assert done.rejects_file is not None
    with done.rejects_file.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["where", "reason"],
            ["a.csv line 101", "text is empty"],
        ]


def test_too_many_bad_rows_refuse_all_and_leave_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    source = table(tmp_path / "a.csv", 98, 2)
    with pytest.raises(InvalidInput) as caught:
        ingest(labelled_texts, [source], store)
    sentence = str(caught.value)
    assert "2 of 100 rows are bad (2.0%), more than the 1.0%" in sentence
    assert "a.csv line 100: text is empty; a.csv line 101: text is empty" in sentence
    (rejects,) = (store.root / "rejects").iterdir()
    assert str(rejects) in sentence
    assert "mend them, or allow a larger share, as in --max-rejects 0.02." in sentence
    assert files(store.root) == []
    assert ingest(labelled_texts, [source], store, max_reject_share=0.02).new == 98


def test_text_that_is_no_utf8_can_be_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff,x\nok,x\n")
    done = ingest(labelled_texts, [tmp_path / "a.csv"], Store(tmp_path / "s"), max_reject_share=1)
    assert done.new == 1
    assert done.rejects_file is not None
    assert (
        "text is not valid UTF-8: name the encoding it was written in, such as cp1252 (Western), "
        "koi8-r or cp1251 (Cyrillic) or shift_jis (Japanese): --map encoding=NAME"
    ) in done.rejects_file.read_text()


def test_half_a_character_of_json_is_no_matter_of_the_encoding(tmp_path: Path) -> None:
    lines = r"""{"text": "\ud800", "label": "x"}""", '{"text": "ok", "label": "x"}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    done = ingest(labelled_texts, [tmp_path / "a.jsonl"], Store(tmp_path / "s"), max_reject_share=1)
    (reason,) = done.summary.reasons
    assert reason.example == r"text holds half a character, '\ud800'"


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(InvalidInput, match="holds no rows for 'texts'"):
        ingest(labelled_texts, [tmp_path / "a.csv"], Store(tmp_path / "s"))
    with pytest.raises(NotFound, match="There is no file or folder"):
        ingest(labelled_texts, [tmp_path / "b.csv"], Store(tmp_path / "s"))
    assert not (tmp_path / "s").exists()


def test_an_empty_path_is_not_this_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"A path is empty\. Name a file"):
        ingest(labelled_texts, [""], Store(tmp_path))


def test_a_view_without_a_reader_takes_rows_that_are_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(InvalidInput, match="has no reader"):
        ingest(shelf, [tmp_path], store)
    assert ingest_rows(shelf, batch({("a", 0): ("x", 1.0)}), store).new == 1
    rows = without(batch({("a", 0): ("x", 1.0)}), ["number"])
    with pytest.raises(
        InvalidInput, match=r"need a column 'number'; these have id, word\. Add it, or"
    ):
        ingest_rows(shelf, rows, store)


def test_a_zone_is_named_beside_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id,timestamp\na,b,2024-05-01 14:00:00\n")
    store = Store(tmp_path / "s")
    with pytest.raises(InvalidInput, match="say which one it is in, as in --map timezone="):
        ingest(interactions, [tmp_path / "a.csv"], store)
    with pytest.raises(InvalidInput, match="There is no time zone 'Berlin'"):
        ingest(interactions, [tmp_path / "a.csv"], store, columns={"timezone": "Berlin"})
    ingest(interactions, [tmp_path / "a.csv"], store, columns={"timezone": "Europe/Berlin"})
    assert store.snapshot(interactions).newest == np.datetime64("2024-05-01T12:00:00", "us")


def test_a_source_says_when_its_rows_were_created(tmp_path: Path) -> None:
    head, store = "user_id,item_id,value,time,made\n", Store(tmp_path / "s")
    columns = {"created": "made", "timezone": "UTC"}
    for name, value, made in (("new", 2, "2024-05-03"), ("old", 1, "2024-05-02")):
        row = f"a,b,{value},2024-05-01T00:00:00Z,{made} 12:00:00\n"
        (tmp_path / f"{name}.csv").write_text(head + row)
    done = ingest(interactions, [tmp_path / "new.csv"], store, columns=columns)
    assert (done.new, done.older) == (1, 0)
    done = ingest(interactions, [tmp_path / "old.csv"], store, columns=columns)
    assert (done.new, done.replaced, done.older) == (0, 0, 1)
    read = store.snapshot(interactions).read(interactions, ["value", "created"])
    assert read["value"].tolist() == [2.0]
    assert read["created"].tolist() == [np.datetime64("2024-05-03T12:00", "us").item()]
    with pytest.raises(InvalidInput, match=r"created '2024.*has no time zone"):
        ingest(interactions, [tmp_path / "new.csv"], store, columns={"created": "made"})


def test_what_lies_in_the_future_is_not_taken_in(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "user_id,item_id,timestamp\na,b,2099-01-01T00:00:00Z\na,b,2024-05-01T00:00:00Z\n"
    )
    store = Store(tmp_path / "s")
    with pytest.raises(InvalidInput, match="event_time lies in the future: 2099-01-01T00:00:00Z"):
        ingest(interactions, [tmp_path / "a.csv"], store)
    done = ingest(interactions, [tmp_path / "a.csv"], store, max_reject_share=0.5)
    assert (done.new, done.rejects) == (1, 1)
    soon = datetime.now(UTC) + timedelta(minutes=4)
    rows = {"user_id": objects(["a"]), "item_id": objects(["b"]), "value": np.ones(1)}
    assert admit(interactions, {**rows, "event_time": objects([soon])})[1] == []
    (late,) = admit(interactions, {**rows, "created": objects([soon + timedelta(minutes=2)])})[1]
    assert late.reason.startswith("created lies in the future: ")


def test_a_key_that_nobody_could_ask_for_is_a_reject(tmp_path: Path) -> None:
    long = "i" * (KEY_CHARACTERS + 1)
    (tmp_path / "a.csv").write_text(f"item_id,title\n{long[1:]},fits\n{long},too long\n")
    done = ingest(items, [tmp_path / "a.csv"], Store(tmp_path / "s"), max_reject_share=0.5)
    assert (done.new, done.rejects) == (1, 1)
    assert done.rejects_file
    rejected = done.rejects_file.read_text()
    assert "item_id has 257 characters; the limit is 256" in rejected


@pytest.mark.parametrize("view", [labelled_images, labelled_texts, interactions, items, users])
def test_made_up_rows_go_the_same_way(tmp_path: Path, view: View) -> None:
    rows = view.sample(40, np.random.default_rng(3))
    done = ingest_rows(view, rows, Store(tmp_path))
    assert (done.rows, done.new, done.rejects) == (40, 40, 0)
    read = Store(tmp_path).snapshot(view).read(view)
    for name in (*view.key, *view.columns):
        same = zip(read[name].tolist(), rows[name].tolist(), strict=True)
        assert all(np.array_equal(left, right) for left, right in same)


@pytest.mark.slow
def test_the_test_part_of_fashion_mnist_goes_in_whole(data: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for file in (data / "fashion-mnist").glob("t10k-*"):
        (tmp_path / "raw" / file.name).symlink_to(file)
    store = Store(tmp_path / "store")
    done = ingest(labelled_images, [tmp_path / "raw"], store)
    assert (done.rows, done.new, done.rejects) == (10_000, 10_000, 0)
    rows = store.snapshot(labelled_images).read(labelled_images)
    assert set(rows["split"]) == {"test"}
    assert set(Counter(rows["label"]).values()) == {1000}
    mean = np.mean([pixels.mean() for pixels in rows["image"]]) / 255
    assert round(float(mean), 3) == 0.287


@pytest.mark.slow
def test_online_retail_says_how_many_customers_are_missing(data: Path, tmp_path: Path) -> None:
    source = data / "online-retail" / "online_retail.parquet"
    store = Store(tmp_path)
    columns = {"timezone": "Europe/London"}
    done = ingest(interactions, [source], store, columns=columns, max_reject_share=0.25)
    assert (done.rows, done.rejects) == (541_909, 135_080)
    assert done.new + done.doubled + done.rejects == done.rows
    assert store.snapshot(interactions).rows == done.new
    assert store.snapshot(interactions).newest == np.datetime64("2011-12-09T12:50", "us")


def test_files_that_are_not_read_are_named_and_count_as_no_bad_rows(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    table(source / "ratings.csv", 1, 0).write_text("user_id,item_id\na,b\n")
    table(source / "links.csv", 3, 0)
    (source / "README.md").write_text("about")
    done = ingest(interactions, [source], Store(tmp_path / "s"))
    assert (done.rows, done.rejects) == (1, 0)
    assert {skip.where: skip.reason for skip in done.skipped} == {
        "README.md": "it is of no kind that is read here",
        "links.csv": "other files of the source were read in its place",
    }
    assert done.rejects_file is not None
    with done.rejects_file.open(newline="") as file:
        assert {where for where, _ in csv.reader(file)} == {"where", "README.md", "links.csv"}


def test_rows_that_name_no_part_are_in_that_of_their_file(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label,split\na,x,\nb,x,valid\n")
    test.write_text("text,label\nc,x\n")
    store = Store(tmp_path / "store")
    ingest(labelled_texts, [train, test], store)
    rows = store.snapshot(labelled_texts).read(labelled_texts)
    parts = dict(zip(rows["text"], rows["split"], strict=True))
    assert parts == {"a": "train", "b": "valid", "c": "test"}


def test_a_lone_file_s_name_gives_no_part_and_those_of_several_do(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    train, test = table(folder / "train.csv", 3, 0), folder / "my-test.csv"
    test.write_text("text,label\nother,x\n")
    sources = (([test], {""}), ([train], {""}), ([train, test], {"train", "test"}))
    for at, (paths, parts) in enumerate((*sources, ([folder], {"train", "test"}))):
        store = Store(tmp_path / f"store-{at}")
        ingest(labelled_texts, paths, store)
        assert {*store.snapshot(labelled_texts).read(labelled_texts)["split"]} == parts

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.batch import Arrays, objects
from cluster.contract.split import ByKey
from cluster.features.intake.ingest import Ingested, ingest
from cluster.features.intake.naming import Repeats, fingerprints
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from cluster.media.pixels import encode

TEXTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8)
LOGS = st.lists(
    st.tuples(*[st.sampled_from("abc")] * 2, st.integers(1, 3), st.integers(1, 9)),
    min_size=1,
    max_size=8,
)


def lay(folder: Path, *names: str, start: int = 0) -> None:
    for shade, name in enumerate(names, start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.full((2, 2), shade, np.uint8)))


def counts(done: Ingested) -> tuple[int, int, int, int]:
    assert done.rows == done.new + done.same + done.replaced + done.doubled + done.rejects
    return done.new, done.same, done.replaced, done.doubled


def rows(store: Store, view: View) -> list[tuple[object, ...]]:
    read: Arrays = store.snapshot(view).read(view)
    return sorted(zip(*(column.tolist() for column in read.values()), strict=True))


def test_pictures_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    lay(tmp_path / "2025", "cat/1.png", "dog/1.png")
    lay(tmp_path / "2026", "cat/1.png", "dog/1.png", start=2)
    store = Store(tmp_path / "store")
    for year in ("2025", "2026"):
        assert counts(ingest(labelled_images, [tmp_path / year], store)) == (2, 0, 0, 0)
    assert store.snapshot(labelled_images).rows == 4


def test_a_folder_that_moved_or_grew_is_the_same_rows(tmp_path: Path) -> None:
    lay(tmp_path / "pets", "cat/1.png", "dog/1.png")
    store = Store(tmp_path / "store")
    ingest(labelled_images, [tmp_path / "pets"], store)
    (tmp_path / "pets").rename(tmp_path / "animals")
    (tmp_path / "animals/cat/1.png").rename(tmp_path / "animals/cat/first.png")
    lay(tmp_path / "animals", "cat/0.png", start=9)
    assert counts(ingest(labelled_images, [tmp_path / "animals"], store)) == (1, 2, 0, 0)


def test_a_picture_put_into_another_class_changes_its_label(tmp_path: Path) -> None:
    lay(tmp_path / "pets", "cat/1.png", "dog/1.png")
    store = Store(tmp_path / "store")
    ingest(labelled_images, [tmp_path / "pets"], store)
    shutil.move(tmp_path / "pets/cat/1.png", tmp_path / "pets/dog/2.png")
    assert counts(ingest(labelled_images, [tmp_path / "pets"], store)) == (0, 1, 1, 0)
    read = store.snapshot(labelled_images).read(labelled_images, ["label"])
    assert set(read["label"]) == {"dog"}


def test_rows_put_above_others_do_not_rename_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a.csv").write_text("text,label\nold,x\n")
    ingest(labelled_texts, [tmp_path / "a.csv"], store)
    (tmp_path / "a.csv").write_text("text,label\nnew,x\nold,x\n")
    assert counts(ingest(labelled_texts, [tmp_path / "a.csv"], store)) == (1, 1, 0, 0)


def test_a_row_whose_source_gives_an_id_replaces_the_one_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for text in ("before", "after"):
        (tmp_path / "a.csv").write_text(f"id,text,label\n7,{text},x\n")
        done = ingest(labelled_texts, [tmp_path / "a.csv"], store)
    assert counts(done) == (0, 0, 1, 0)
    assert store.snapshot(labelled_texts).read(labelled_texts)["text_id"].tolist() == ["7"]


def test_rows_of_one_source_that_hold_the_same_all_stay(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a.csv").write_text("text,label\nok,good\nok,bad\nok,good\n")
    for expected in ((3, 0, 0, 0), (0, 3, 0, 0)):
        assert counts(ingest(labelled_texts, [tmp_path / "a.csv"], store)) == expected
    # a path that is named twice is read once; the same rows of another file take their place
    assert counts(ingest(labelled_texts, [tmp_path / "a.csv"] * 2, store)) == (0, 3, 0, 0)
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")
    both = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert counts(ingest(labelled_texts, both, store)) == (0, 3, 0, 3)


def test_names_tell_shapes_and_repeats_apart() -> None:
    pixels = np.zeros((2, 3), np.uint8)
    first, turned, again = fingerprints(objects([pixels, pixels.T, pixels]))
    assert first == again != turned
    assert len(first) == 24
    repeats = Repeats()
    assert repeats.number(objects(["a", "b", "a"])).tolist() == ["a", "b", "a-2"]
    assert repeats.number(objects(["a"])).tolist() == ["a-3"]


def texts_file(folder: Path, name: str, said: Sequence[str]) -> Path:
    """A table of texts, each labelled by itself."""
    path = folder / f"{name}.csv"
    path.write_text("".join(["text,label\n", *(f"{text},{text}\n" for text in said)]))
    return path


def log_file(folder: Path, name: str, said: Sequence[tuple[str, str, int, int]]) -> Path:
    """A table of interactions."""
    path = folder / f"{name}.csv"
    lines = ("user_id,item_id,timestamp,value\n", *(f"{u},{i},{t},{v}\n" for u, i, t, v in said))
    path.write_text("".join(lines))
    return path


@settings(max_examples=15)
@given(TEXTS, TEXTS)
@pytest.mark.slow
def test_texts_come_out_the_same_at_once_or_apart_and_in_any_order(
    left: list[str], right: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        a, b = texts_file(folder, "a", left), texts_file(folder, "b", right)
        apart, together, turned = (Store(folder / name) for name in ("apart", "together", "turned"))
        ingest(labelled_texts, [a], apart)
        assert counts(ingest(labelled_texts, [a], apart)) == (0, len(left), 0, 0)
        before = parts(apart)
        counts(ingest(labelled_texts, [b], apart))
        counts(ingest(labelled_texts, [a, b], together))
        counts(ingest(labelled_texts, [b, a], turned))
        assert rows(apart, labelled_texts) == rows(together, labelled_texts)
        assert rows(together, labelled_texts) == rows(turned, labelled_texts)
        assert before.items() <= parts(apart).items()
        # lines in another order are the same rows
        assert ingest(labelled_texts, [texts_file(folder, "a", left[::-1])], apart).same == len(
            left
        )


@settings(max_examples=15)
@given(LOGS, LOGS)
@pytest.mark.slow
def test_of_interactions_at_one_moment_the_last_that_came_counts(
    left: list[tuple[str, str, int, int]], right: list[tuple[str, str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        a, b = log_file(folder, "a", left), log_file(folder, "b", right)
        apart, together = Store(folder / "apart"), Store(folder / "together")
        doubled = ingest(interactions, [a], apart).doubled
        assert doubled == len(left) - len({row[:3] for row in left})
        assert ingest(interactions, [a], apart).commit == 1
        counts(ingest(interactions, [b], apart))
        counts(ingest(interactions, [a, b], together))
        assert rows(apart, interactions) == rows(together, interactions)
        newest = {row[:3]: row[3] for row in [*left, *right]}
        assert len(rows(together, interactions)) == len(newest)


def parts(store: Store) -> dict[str, str]:
    """The part of each text, as the default split decides it."""
    read = store.snapshot(labelled_texts).read(labelled_texts)
    return dict(zip(read["text_id"], ByKey().parts(read, ["text_id"]), strict=True))

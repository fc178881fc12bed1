"""What a check finds of errors that were planted, and that it finds none where there is none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from cluster.base.batch import Arrays, Batch, objects
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.quality.check import Checked, Finding, check
from cluster.features.quality.noise import doubted
from cluster.features.quality.shingles import Shingles, near_copies
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from services.cli import show_data

TOPICS = {
    "sea": ["wave", "boat", "harbour", "sail", "tide", "fish", "anchor", "captain", "storm"],
    "sky": ["cloud", "plane", "wing", "pilot", "rain", "star", "moon", "bird", "tower"],
    "soil": ["root", "worm", "plough", "seed", "field", "clay", "harvest", "barn", "stone"],
}


def texts(count: int = 240, *, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    labels = [list(TOPICS)[row % 3] for row in range(count)]
    drawn = (" ".join(rng.choice(TOPICS[label], 8)) for label in labels)
    return {
        "text_id": objects(f"t{row:03}" for row in range(count)),
        "text": objects(f"{words} {row}" for row, words in enumerate(drawn)),
        "label": objects(labels),
        "event_time": np.zeros(count, "M8[us]"),
        "split": objects([""] * count),
    }


def checked(folder: Path, rows: Batch, view: View = labelled_texts) -> Checked:
    store = Store(folder)
    ingest_rows(view, rows, store)
    return check(view, store.snapshot(view))


def only(found: Checked, kind: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.kind == kind]
    return finding


def test_sound_rows_have_no_findings(tmp_path: Path) -> None:
    found = checked(tmp_path, texts())
    assert (found.rows, found.looked_at) == (240, 240)
    assert found.findings == []
    assert found.summary.warnings == []


def test_labels_that_were_changed_are_doubted_first(tmp_path: Path) -> None:
    rows = texts()
    for row in (10, 40, 77):
        rows["label"][row] = "sea" if rows["label"][row] != "sea" else "sky"
    finding = only(checked(tmp_path, rows), "labels")
    assert len(finding.rows) >= 2
    assert {suspect.key for suspect in finding.rows} <= {("t010",), ("t040",), ("t077",)}
    assert "of 240 labels are doubted by a linear model" in finding.sentence
    assert "; the model says '" in finding.rows[0].why
    assert finding.rows[0].excerpt


def test_labels_too_many_for_the_model_are_not_doubted_and_that_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = texts(8_000)
    rows["text"] = objects(" ".join(map(str, row)) for row in rng.integers(0, 10**6, (8_000, 9)))
    rows["label"] = objects(f"l{row % 2_000}" for row in range(8_000))
    rows["text_id"] = objects(f"t{row:04}" for row in range(8_000))
    sentence = only(checked(tmp_path, rows), "labels").sentence
    assert sentence.startswith("Wrong labels were not looked for: 2,000 labels by ")
    assert "are more than 10,000,000" in sentence


def test_copies_in_train_and_test_are_named(tmp_path: Path) -> None:
    rows = texts()
    rows["split"][:] = "train"
    rows["split"][200:] = "test"
    rows["text"][230] = rows["text"][20].upper().replace(" ", "  ")
    first, second = [f for f in checked(tmp_path, rows).findings if f.kind == "copies"]
    assert first.sentence.startswith("1 of 40 rows of the test part hold the same as a row of the")
    assert [(s.key, s.why) for s in first.rows] == [(("t230",), "as t020")]
    assert second.count == 1


def test_a_copy_of_the_test_part_is_named_by_its_row_of_the_train_part(tmp_path: Path) -> None:
    rows = texts()
    rows["split"][:] = "train"
    rows["split"][:40] = "test"
    rows["text"][[30, 230, 235]] = rows["text"][20]
    rows["label"][[30, 230, 235]] = rows["label"][20]
    first, second = [f for f in checked(tmp_path, rows).findings if f.kind == "copies"]
    assert [(s.key, s.why) for s in first.rows] == [
        (("t020",), "as t230"),
        (("t030",), "as t230"),
    ]
    assert [s.key for s in second.rows] == [("t030",), ("t230",), ("t235",)]


def test_copies_with_another_label_are_named(tmp_path: Path) -> None:
    rows = texts()
    rows["text"][9] = rows["text"][7]
    finding = next(f for f in checked(tmp_path, rows).findings if f.kind == "labels")
    assert finding.sentence.startswith("1 rows hold the same as another row, and have another")
    assert finding.rows[0].why == "'sea'; t007 has 'sky'"


def test_texts_that_differ_by_a_word_are_near_copies(tmp_path: Path) -> None:
    rows = texts()
    rows["text"][12] = "the captain of the boat saw a great wave in the storm, and the sail tore"
    rows["text"][15] = "The captain of the boat saw a great wave in the storm and the sails tore"
    finding = only(checked(tmp_path, rows), "copies")
    assert [(s.key, s.why) for s in finding.rows] == [(("t015",), "nearly t012")]
    assert near_copies(["", "a", "", "b"]) == [(0, 2)]


def test_texts_whose_shingles_are_not_held_are_compared_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = [" ".join(rng.choice(TOPICS["sea"], 40)) for _ in range(30)]
    near = [f"{text} again" for text in drawn]
    rows = [*drawn, *near]
    shingles = Shingles(rows, most=0)
    assert [len(shingles[row]) for row in (0, 1)]
    assert not shingles.held
    assert {(row, row + 30) for row in range(30)} <= {*near_copies(rows, most=0)}
    assert near_copies(rows, most=0) == near_copies(rows)


def wide() -> View:
    columns = {"text": Text(), "label": Text(), "price": Number(), "shelf": Text(), "n": Number()}
    return View("wide", ("text_id",), columns, labelled_texts.sample, named_by="text")


def test_columns_that_alone_tell_the_label_are_leaks(tmp_path: Path) -> None:
    rows, rng = texts(), np.random.default_rng(1)
    number = np.arange(240) % 3
    rows |= {
        "price": number * 10 + rng.normal(0, 1, 240),
        "shelf": objects(f"s{n}" for n in number),
        "n": rng.normal(0, 1, 240),
    }
    leaks = [f.sentence for f in checked(tmp_path, rows, wide()).findings if f.kind == "leakage"]
    assert [sentence[:24] for sentence in leaks] == [
        "The column price alone t",
        "The column shelf alone t",
    ]


def test_a_column_that_tells_one_label_of_several_is_a_leak(tmp_path: Path) -> None:
    rows, number = texts(), np.arange(240) % 3
    rows |= {
        "price": np.where(number == 1, 7.0, 5.0),
        "shelf": objects(["one"] * 240),
        "n": np.zeros(240),
    }
    leak = only(checked(tmp_path, rows, wide()), "leakage").sentence
    assert leak.startswith("The column price alone tells the label 'sky' from the others (at least")


def test_a_text_that_holds_its_own_label_is_a_leak(tmp_path: Path) -> None:
    rows = texts()
    rows["text"] = objects(f"{t} [{w}]" for t, w in zip(rows["text"], rows["label"], strict=True))
    finding = only(checked(tmp_path, rows), "leakage")
    assert finding.sentence.startswith("100% of texts hold their own label as words (and 0")


def pictures(folder: Path, count: int = 60) -> Arrays:
    """Bright and dark noise; the bright ones one pixel lower."""
    rng = np.random.default_rng(0)
    drawn = [
        rng.integers(100 * bright, 100 + 100 * bright, (16 - bright, 16, 1), dtype=np.uint8)
        for bright in (row % 2 for row in range(count))
    ]
    return {
        "image_id": objects(f"p{row}" for row in range(count)),
        "image": objects(drawn),
        "label": objects(["dark", "bright"] * (count // 2)),
        "event_time": np.zeros(count, "M8[us]"),
        "split": objects([""] * count),
    }


def test_the_size_of_a_picture_that_tells_its_label_is_a_leak(tmp_path: Path) -> None:
    rows = pictures(tmp_path)
    found = checked(tmp_path, rows, labelled_images)
    sentences = [f.sentence for f in found.findings if f.kind == "leakage"]
    assert any(s.startswith("The height of image alone tells the label (100%") for s in sentences)


def test_pictures_that_show_nothing_and_texts_of_odd_length_are_outliers(tmp_path: Path) -> None:
    rows = pictures(tmp_path / "p")
    rows["image"][3] = np.full((16, 16, 1), 7, np.uint8)
    finding = only(checked(tmp_path / "p", rows, labelled_images), "outliers")
    assert (finding.rows[0].key, finding.count) == (("p3",), 1)
    assert finding.rows[0].why == "image shows nothing: all of it has about the level 7"
    long = texts()
    long["text"][5] = "wave " * 5_000
    finding = only(checked(tmp_path / "t", long), "outliers")
    assert finding.rows[0].key == ("t005",)
    assert finding.rows[0].why.startswith("text has 25,000 characters; the median is ")


def test_interactions_are_checked_for_outliers_and_summed_up(tmp_path: Path) -> None:
    rows: Arrays = {
        "user_id": objects(f"u{row % 5}" for row in range(50)),
        "item_id": objects(f"i{row}" for row in range(50)),
        "value": np.r_[np.linspace(1, 5, 48), -1.0, 1e6],
        "event_time": np.arange(50).astype("M8[s]").astype("M8[us]"),
        "split": objects([""] * 50),
    }
    found = checked(tmp_path, rows, interactions)
    assert found.summary.warnings[0].startswith("1 of 50 rows have a value of 0 or less.")
    assert only(found, "outliers").rows[0].key == ("u4", "i49")


def test_labels_of_keys_alone_are_not_judged(tmp_path: Path) -> None:
    bare = View("bare", ("text_id",), {"label": Text()}, labelled_texts.sample)
    rows = {name: values for name, values in texts().items() if name != "text"}
    assert checked(tmp_path, rows, bare).findings == []


def test_a_row_is_doubted_by_the_thresholds_of_both_labels() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    sure = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.45])  # of label 0
    assert doubted(np.stack([sure, 1 - sure], axis=1), labels).tolist() == [2]


def test_large_sets_are_sampled_and_the_sample_is_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    ingest_rows(labelled_texts, texts(), store)
    found = check(labelled_texts, store.snapshot(labelled_texts), sample=100)
    assert (found.rows, found.looked_at) == (240, 100)
    assert found.summary.counts["", "sea"] == 80
    show_data.checked(found)
    said = capsys.readouterr().out
    assert said.startswith("texts: 240 rows are stored; 100, drawn at random, were looked at one")


def test_a_check_is_shown_with_keys_and_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = texts()
    rows["text"][9] = rows["text"][7]
    show_data.checked(checked(tmp_path, rows))
    said = capsys.readouterr().out
    assert "Labels: 1 rows hold the same as another row" in said
    assert "t009" in said
    assert "'sea'; t007 has 'sky'" in said


def test_a_picture_that_was_encoded_again_is_a_copy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pictures(tmp_path)
    smooth = np.asarray(
        Pillow.fromarray(rng.integers(0, 255, (6, 6), dtype=np.uint8)).resize((48, 48))
    )
    path = tmp_path / "again.jpg"
    Pillow.fromarray(smooth).save(path, quality=90)
    rows["image"][4], rows["image"][8] = smooth[..., None], path.read_bytes()
    finding = next(
        f for f in checked(tmp_path, rows, labelled_images).findings if f.kind == "copies"
    )
    assert {suspect.key for suspect in finding.rows} == {("p8",)}

"""What an ingest says of its files: counts of the good rows, reasons of the others, warnings."""

from pathlib import Path

import numpy as np
import pytest

from cluster.features.intake.ingest import ingest, ingest_rows
from cluster.features.intake.summary import Reason, Summary, reasons
from cluster.features.offline.store import Store
from cluster.features.schema.view import Reject, View
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from cluster.media.pixels import encode
from services.cli import show
from services.local import catalog


def taken(folder: Path, text: str, view: View = labelled_texts, name: str = "a.csv") -> Summary:
    (folder / name).write_text(text)
    return ingest(view, [folder / name], Store(folder / "store"), max_reject_share=1).summary


def lines(head: str, *rows: str) -> str:
    return "\n".join([head, *rows]) + "\n"


def labelled(*labels: str) -> str:
    return lines("text,label", *(f"text {row},{label}" for row, label in enumerate(labels)))


def test_labels_and_parts_are_counted(tmp_path: Path) -> None:
    rows = ["one,a,train", "two,a,train", "three,b,train", "four,a,test", "five,b,test"]
    found = taken(tmp_path, lines("text,label,split", *rows))
    assert found.counts == {
        ("train", "a"): 2, ("train", "b"): 1, ("test", "a"): 1, ("test", "b"): 1,
    }  # fmt: skip
    assert (found.warnings, found.reasons, found.unused, found.copies) == ([], [], {}, 0)


def test_superseded_rows_are_not_counted(tmp_path: Path) -> None:
    rows = [f"{n},{label} {n},{label}" for label in ("pos", "neg") for n in range(60)]
    found = taken(tmp_path, lines("text_id,text,label", *rows))
    assert found.counts == {("", "neg"): 60}
    assert found.warnings == [
        "All 60 rows have the label 'neg': a classifier needs rows of at least two."
    ]
    assert found.copies == 0


def test_of_rows_of_one_id_the_one_created_last_is_counted(tmp_path: Path) -> None:
    text = lines("text_id,text,label,made", "1,a,x,2024-01-02T00:00Z", "1,b,y,2024-01-01T00:00Z")
    (tmp_path / "a.csv").write_text(text)
    store = Store(tmp_path / "store")
    done = ingest(labelled_texts, [tmp_path / "a.csv"], store, columns={"created": "made"})
    assert done.summary.counts == {("", "x"): 1}


def test_numbers_of_rows_as_times_are_a_warning(tmp_path: Path) -> None:
    def warnings(start: int) -> str:
        rows = [f"u{n % 5},i{n},{start + n}" for n in range(60)]
        return " ".join(taken(tmp_path, lines("user_id,item_id,ts", *rows), interactions).warnings)

    assert "lie in 1970, from 1970-01-01T00:00:00Z to 1970-01-01T00:00:59Z: numbers" in warnings(0)
    assert "1970" not in warnings(874_724_710)


def test_folders_of_pictures_and_of_masks_are_no_classes(tmp_path: Path) -> None:
    for label, shade in (("images", 9), ("masks", 200)):
        (tmp_path / "files" / label).mkdir(parents=True)
        picture = np.full((8, 8, 3), shade, np.uint8)
        (tmp_path / "files" / label / "1.png").write_bytes(encode(picture))
    found = ingest(labelled_images, [tmp_path / "files"], Store(tmp_path / "store")).summary
    said = "The labels 'images', 'masks' read as folders of pictures and of their masks, which are"
    assert any(warning.startswith(said) for warning in found.warnings)


def test_rows_of_equal_content_are_copies_with_an_id_and_without(tmp_path: Path) -> None:
    assert taken(tmp_path, lines("text,label", "one,a", "one,a", "one,a", "two,b")).copies == 2
    found = taken(tmp_path, lines("text_id,text,label", "1,one,a", "2,one,b", "3,two,b"))
    assert found.copies == 1
    assert found.warnings[0] == (
        "Texts that stand in the source with more than one label: 1. At most one label of each is "
        "right."
    )


def test_copies_across_the_parts_of_the_source_are_a_warning(tmp_path: Path) -> None:
    rows = ["one,a,train", "two,b,train", "one,a,test", "three,b,test"]
    (warning,) = taken(tmp_path, lines("text,label,split", *rows)).warnings
    assert warning.startswith("Texts that stand in the source in more than one of its parts: 1.")


def test_copied_pictures_are_counted(tmp_path: Path) -> None:
    for name, label, shade in (("1", "a", 9), ("2", "a", 9), ("3", "b", 200)):
        (tmp_path / "files" / label).mkdir(parents=True, exist_ok=True)
        picture = np.full((8, 8, 3), shade, np.uint8)
        (tmp_path / "files" / label / f"{name}.png").write_bytes(encode(picture))
    done = ingest(labelled_images, [tmp_path / "files"], Store(tmp_path / "store"))
    assert done.summary.copies == 1


def test_rejects_are_counted_by_kind_of_reason(tmp_path: Path) -> None:
    bad = [f"u,i,1,{year}-13-01" for year in range(2001, 2006)]
    rows = ["u,i,1,2001-01-01T00:00:00Z", *bad, "u,,1,2001-01-02T00:00:00Z"]
    first, second = taken(
        tmp_path, lines("user_id,item_id,value,timestamp", *rows), interactions
    ).reasons
    assert (first.count, second.count) == (5, 1)
    assert first.example.startswith("event_time '2001-13-01'")
    assert first.places == ("a.csv line 3", "a.csv line 4", "a.csv line 5")
    assert second.example == "item_id is empty"


def test_reasons_that_differ_by_what_they_quote_are_of_one_kind() -> None:
    names = "cat.png", "cat's.png", "dog 2.png"
    (kind,) = reasons([Reject("a.csv", f"image {name!r} is no file") for name in names])
    assert (kind.count, kind.example) == (3, "image 'cat.png' is no file")


def test_many_kinds_of_reasons_are_not_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [Reason(f"is {letter}", 2, ("a.csv line 2",)) for letter in "abcdefghijkl"]
    show.summary(Summary(reasons=kinds))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 11
    assert said[-1] == "Rejected: 4 for 2 other reasons."


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    found = taken(tmp_path, lines("text,label,stars,author", "one,a,5,x", "two,b,1,y"))
    assert found.unused == {"a.csv": ("stars", "author")}


def test_files_that_are_not_read_are_named_by_reason(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text(labelled("a", "b"))
    (folder / "b.pdf").write_bytes(b"%PDF")
    (skipped,) = ingest(labelled_texts, [folder], Store(tmp_path / "store")).summary.skipped
    assert (skipped.count, skipped.places) == (1, ("b.pdf",))


def test_a_ratio_of_a_hundred_and_a_label_that_is_hardly_tested_are_warnings(
    tmp_path: Path,
) -> None:
    imbalance, tiny = taken(tmp_path, labelled(*["pos"] * 600, *["neg"] * 6)).warnings
    assert "'pos' has 600 rows and 'neg' has 6, a ratio of 100:1" in imbalance
    assert "always answers 'pos' has an accuracy of 99.0%" in imbalance
    assert "'neg' has 6 rows: a test part of 15% holds none of them with odds of 38%" in tiny


def test_labels_without_a_row_in_a_part_are_warnings(tmp_path: Path) -> None:
    rows = ["one,a,train", "two,b,train", "three,a,test", "four,a,test", "five,c,train"]
    alone, untested = taken(tmp_path, lines("text,label,split", *rows)).warnings
    assert alone == "All 2 rows of the test part have the label 'a'."
    assert untested == (
        "2 of 3 labels have no row in the test part, so no score says how well a model knows them: "
        "'b', 'c'."
    )


def test_all_rows_in_one_part_is_a_warning(tmp_path: Path) -> None:
    rows = lines("text,label,split", *(f"text {row},{'ab'[row % 2]},test" for row in range(40)))
    (warning,) = taken(tmp_path, rows).warnings
    assert warning.startswith("All 40 rows are in the test part")
    assert "Training needs rows in train and in test" in warning


def test_one_label_for_all_is_a_warning(tmp_path: Path) -> None:
    (warning,) = taken(tmp_path, labelled(*["a"] * 30)).warnings
    assert "All 30 rows have the label 'a'" in warning


def test_labels_that_differ_by_case_or_spaces_are_a_warning(tmp_path: Path) -> None:
    labels = ["pos"] * 30 + ["Pos"] * 25 + ["neg"] * 30
    (warning,) = taken(tmp_path, labelled(*labels)).warnings
    assert "are different labels: 'Pos' (25 rows) and 'pos' (30 rows)." in warning


def test_labels_that_are_nearly_all_different_are_a_warning(tmp_path: Path) -> None:
    warnings = taken(tmp_path, labelled(*(f"label {row}" for row in range(50)))).warnings
    assert "50 different labels for 50 rows: is label the right column?" in warnings


def events(*rows: str) -> str:
    return lines("user_id,item_id,value,timestamp", *rows)


def test_users_of_one_item_each_are_a_warning_with_the_reason(tmp_path: Path) -> None:
    rows = (f"u{row},i{row},1,{1_700_000_000 + row}" for row in range(9))
    (warning,) = taken(tmp_path, events(*rows), interactions).warnings
    assert warning.startswith("Every user_id has one row: nothing tells which item_id values go")
    assert "--map user_id=NAME" in warning


def test_times_that_are_all_equal_are_a_warning(tmp_path: Path) -> None:
    rows = [f"u,i{row},1,1700000000" for row in range(9)]
    (warning,) = taken(tmp_path, events(*rows), interactions).warnings
    assert "All 9 rows have the event time 2023-11-14T22:13:20Z" in warning
    assert "--map event_time=-" in warning
    untimed = lines("user_id,item_id", *(f"u,i{row}" for row in range(9)))
    assert taken(tmp_path, untimed, interactions).warnings == []


def test_labels_that_a_program_wrote_as_fractions_are_a_warning(tmp_path: Path) -> None:
    rows = [f'{{"text": "text {row}", "label": "{row % 2}.0"}}' for row in range(60)]
    (warning,) = taken(tmp_path, "\n".join(rows), name="a.jsonl").warnings
    assert warning.startswith("Every label reads as a fraction, such as '0.0'")
    assert "may call the same thing '0'" in warning
    assert taken(tmp_path, labelled(*["1.0", "0.0"] * 30)).warnings == []  # of CSV it is '1'
    assert taken(tmp_path, labelled(*["1.0", "0.5"] * 30)).warnings == []


def test_values_of_nought_and_less_are_counted(tmp_path: Path) -> None:
    rows = [f"u,i{row},{row - 2},{1_700_000_000 + row}" for row in range(9)]
    (warning,) = taken(tmp_path, events(*rows), interactions).warnings
    assert warning.startswith("3 of 9 rows have a value of 0 or less.")
    assert "--map value=-" in warning


def test_all_of_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = lines("text,label,stars", *["one,a,5", "two,b,1", "one,a,4", ",b,3"])
    (tmp_path / "a.csv").write_text(text)
    store = Store(tmp_path / "store")
    done = ingest(labelled_texts, [tmp_path / "a.csv"], store, max_reject_share=1)
    show.ingested(done)
    said = capsys.readouterr().out.splitlines()
    assert said[1:5] == [
        "Labels: a 2, b 1.",
        "Copies: 1 (rows that hold the same as a row before them).",
        "Rejected: 1, text is empty (a.csv line 5).",
        "Columns not used: 'stars' of a.csv.",
    ]
    assert said[5].startswith("Warning: The label 'b' has 1 row (under 20, as 1 other)")


@pytest.mark.parametrize("name", ["images", "texts", "items", "item_images", "interactions"])
def test_made_up_rows_are_no_reason_for_a_warning(tmp_path: Path, name: str) -> None:
    view = catalog.find_view(name)
    rows = view.sample(600, np.random.default_rng(0))
    assert ingest_rows(view, rows, Store(tmp_path)).summary.warnings == []

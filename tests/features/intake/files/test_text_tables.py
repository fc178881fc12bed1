from pathlib import Path

import pytest

from cluster.base.errors import InvalidInput
from cluster.features.views.texts import labelled_texts
from tests.features.intake.reading import read

SENTENCES = [("Great phone.", "1"), ("It broke.", "0"), ("Loud.", "1"), ("No.", "0"), ("Fine", "1")]


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("".join(f"{first}\t{last}\n" for first, last in rows))


def test_a_file_of_texts_tabs_and_labels_is_no_class(tmp_path: Path) -> None:
    write(tmp_path / "shop_labelled.txt", SENTENCES)
    (tmp_path / "original_readme.txt").write_text("Please cite us.\n")
    with pytest.raises(InvalidInput) as refused:
        read(labelled_texts, tmp_path)
    assert refused.value.message == (
        "shop_labelled.txt is a table without a header: its lines hold a tab and a label (0, 1)."
    )
    assert refused.value.hint == "Say which column is which with --map text=0,label=1."
    rows, bad = read(labelled_texts, tmp_path, text="0", label="1")
    assert not bad
    assert sorted(zip(rows["text"], rows["label"], strict=True)) == sorted(SENTENCES)


def test_labels_may_stand_before_the_tab(tmp_path: Path) -> None:
    write(tmp_path / "sms.txt", [(label, text) for text, label in SENTENCES])
    with pytest.raises(InvalidInput, match=r"label \(0, 1\)") as refused:
        read(labelled_texts, tmp_path)
    assert refused.value.hint == "Say which column is which with --map text=1,label=0."


def test_a_table_by_another_end_is_asked_for_as_txt(tmp_path: Path) -> None:
    write(tmp_path / "sms.all", SENTENCES)
    with pytest.raises(InvalidInput) as refused:
        read(labelled_texts, tmp_path)
    assert refused.value.hint.startswith("Let its name end in .txt, and say which")


@pytest.mark.parametrize(
    "rows",
    [
        SENTENCES[:4],
        [(f"word {n}", f"another {n}") for n in range(9)],
        [*SENTENCES, ("two", "tabs\tare no table")],
    ],
)
def test_lines_with_tabs_alone_are_texts_of_a_class(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    write(tmp_path / "pos.txt", rows)
    write(tmp_path / "neg.txt", [("a", "b")])
    found, bad = read(labelled_texts, tmp_path)
    assert not bad
    assert set(found["label"]) == {"pos", "neg"}
    assert len(found["text"]) == len(rows) + 1

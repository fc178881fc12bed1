"""The model card: what a version learnt from, what it scored, a picture of its curves."""

from pathlib import Path

import pytest
from PIL import Image

from cluster.contract.labels import confusion
from cluster.contract.task import Evaluation, Reference
from cluster.registry.card import below_reference, write_card
from tests.support import manifest
from tests.toy import Side

CURVES = [
    {"step": 10, "epoch": 1, "loss": 0.9, "lr": 0.05, "accuracy": 0.6},
    {"step": 20, "epoch": 2, "loss": 0.4, "lr": 0.01, "accuracy": 0.8},
]


def card(folder: Path, curves: list[dict[str, float]], details: str = "") -> str:
    evaluation = Evaluation({"accuracy": 0.875, "macro_f1": 0.8125}, 1_270, details)
    write_card(folder, manifest(), evaluation, curves, summary="Say on which side.")
    return (folder / "card.md").read_text()


def test_the_tables_hold_the_figures(tmp_path: Path) -> None:
    text = card(tmp_path, CURVES, "## Confusion matrix\n")
    assert text.startswith("# toy.side\n\nSay on which side.\n\nMade 2026-01-02 03:04 UTC by run")
    for line in (
        "| accuracy | 0.8750 |",
        "| macro_f1 | 0.8125 |",
        "| epochs | 3 |",
        "| train | 1,200 |",
        "View points at commit 4.",
        "On 1,270 questions",
        "with seed 7 on 2 worker(s)",
        "## Confusion matrix",
        "(curves.png)",
    ):
        assert line in text


SVM = Reference("a linear SVM", {"accuracy": 0.9})


def test_the_reference_stands_beside_the_metrics_and_the_warning_above_them(
    tmp_path: Path,
) -> None:
    evaluation = Evaluation({"accuracy": 0.875, "macro_f1": 0.8}, 1_270, reference=SVM)
    warning = below_reference(Side(), evaluation)
    write_card(tmp_path, manifest(), evaluation, [], summary="Say.", warnings=[warning])
    text = (tmp_path / "card.md").read_text()
    assert "| metric | test | reference: a linear SVM |" in text
    assert "| accuracy | 0.8750 | 0.9000 |" in text
    assert "| macro_f1 | 0.8000 |  |" in text
    assert f"**Warning:** {warning}" in text


def test_a_result_below_the_reference_is_a_sentence_that_says_what_to_do() -> None:
    said = below_reference(Side(), Evaluation({"accuracy": 0.875}, 9, reference=SVM))
    assert said == (
        "tests.toy scores accuracy 0.8750, worse than a linear SVM trained on the same rows "
        "(0.9000). Try other settings: python -m services tasks tests.toy"
    )


@pytest.mark.parametrize("reference", [None, SVM])
def test_a_result_at_the_reference_is_not_warned_of(reference: Reference | None) -> None:
    assert below_reference(Side(), Evaluation({"accuracy": 0.9}, 9, reference=reference)) == ""


def test_views_are_told_with_what_there_is_of_them(tmp_path: Path) -> None:
    views = {
        "points": {"commit": 4, "rows": 1_500, "version": "ab"},
        "point_vector": {"commit": 2, "rows": 9, "version": "cd", "release": 3},
        "lately": {"version": "ef"},
    }
    made = manifest(views=views)
    write_card(tmp_path, made, Evaluation({"accuracy": 0.5}, 9, ""), [], summary="Say.")
    said = "View points at commit 4, point_vector of release 3 at commit 2, lately."
    assert said in (tmp_path / "card.md").read_text()


def test_what_the_scores_cannot_tell_stands_above_them(tmp_path: Path) -> None:
    scored = Evaluation({"accuracy": 1.0}, 9, "")
    said = ["1 of 2 labels has no row in the test part."]
    write_card(tmp_path, manifest(), scored, [], summary="Say.", warnings=said)
    text = (tmp_path / "card.md").read_text()
    assert f"**Warning:** {said[0]}\n\n| metric | test |" in text


def test_the_curves_are_a_png(tmp_path: Path) -> None:
    card(tmp_path, CURVES)
    with Image.open(tmp_path / "curves.png") as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 600
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10


def test_curves_without_watched_metrics_are_drawn_too(tmp_path: Path) -> None:
    card(tmp_path, [{"step": 10, "epoch": 1, "loss": 0.9, "lr": 0.05}])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_without_curves_has_a_card_without_a_picture(tmp_path: Path) -> None:
    assert "curves.png" not in card(tmp_path, [])
    assert not (tmp_path / "curves.png").exists()


def test_the_confusion_matrix_counts_every_pair() -> None:
    matrix = confusion(["a", "a", "b"], ["a", "b", "b"])
    assert "| true \\ answered | a | b |" in matrix
    assert "| a | 1 | 1 |" in matrix
    assert "| b | 0 | 1 |" in matrix
    assert "\n3 rows of 2 labels: 2 of a at most, 1 of b at least.\n" in matrix


def test_of_many_labels_only_the_commonest_confusions_are_listed() -> None:
    truth = ["a", "a", "b", "c"]
    listed = confusion(truth, ["b", "b", "c", "c"], most=2)
    assert listed.index("| a | b | 2 |") < listed.index("| b | c | 1 |")
    assert "| c |" not in listed.replace("| c | 1 |", "")


@pytest.mark.parametrize("label", ["a|b", "two\nlines"])
def test_a_label_cannot_break_the_table(label: str) -> None:
    lines = [line for line in confusion([label, "x"], ["x", "x"]).splitlines() if line[:1] == "|"]
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {4}

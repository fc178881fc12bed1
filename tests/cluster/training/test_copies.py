"""A plan warns of scores that mislead: copies in two parts, rare labels, a part without rows."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.split import ByKey, Split
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.quality.copies import plain
from cluster.features.views.texts import labelled_texts, texts
from cluster.training.data import plan
from tests.cluster.training.weather import points
from tests.toy import Side, labelled_points


class Words(Side):
    """The toy, asked by words."""

    inputs = texts
    examples = labelled_texts
    split: ClassVar[Split] = ByKey(valid=0.1, test=0.3)


def said(count: int, copies: int, split: str = "") -> Batch:
    """Texts of which each comes as often, in another case and with other spaces."""
    words = [f"text  number {row % count}" for row in range(count * copies)]
    turned = [
        word.upper() if row % 2 else word.replace("  ", " ") for row, word in enumerate(words)
    ]
    return {
        "text_id": objects(f"t{row}" for row in range(count * copies)),
        "text": objects(turned),
        "label": objects("ab"[row % 2] for row in range(count * copies)),
        "split": objects([split] * (count * copies)),
    }


def test_copies_of_a_text_are_in_one_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(labelled_texts, said(51, 4))
    made = plan(Words, store, memory_share=0.9)
    assert min(made.counts.values()) > 0
    parts = [set(map(plain, made.rows(part).whole()["text"])) for part in made.counts]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 51
    assert made.warnings(("label",)) == []


def test_copies_that_the_source_puts_on_both_sides_are_counted_and_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(labelled_texts, said(40, 2, "train"))
    tested = said(50, 1, "test")
    store.write(labelled_texts, {**tested, "text_id": objects(f"u{row}" for row in range(50))})
    made = plan(Words, store, memory_share=0.9)
    copied = replace(made, split=ByKey(valid=0.0)).warnings(("label",))[0]
    assert copied.startswith("40 of the 50 test rows are copies of training rows")
    assert "their source puts them there" in copied


def test_labels_that_no_test_row_has_are_a_warning(tmp_path: Path) -> None:
    rows = points(300)
    rows = {**rows, "label": objects(["above"] * 299 + ["below"])}
    rows["split"] = objects(["train"] * 200 + ["test"] * 99 + ["train"])
    store = Store(tmp_path)
    ingest_rows(labelled_points, rows, store)
    made = plan(Side, store, memory_share=0.9)
    imbalance, *alone, untested = made.warnings(("label",))
    assert "'above' has 299 rows and 'below' has 1, a ratio of 299:1" in imbalance
    assert alone[-1] == "All 99 rows of the test part have the label 'above'."
    assert untested == (
        "1 of 2 labels has no row in the test part, so no score says how well a model knows it: "
        "'below'."
    )
    assert made.warnings(("point_id", "x")) == []


def test_rows_that_their_source_puts_in_one_part_are_refused_with_that_reason(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    ingest_rows(labelled_points, {**points(30), "split": objects(["test"] * 30)}, store)
    with pytest.raises(InvalidInput, match="Their source puts all of them in test, by the name"):
        plan(Side, store, memory_share=0.9)

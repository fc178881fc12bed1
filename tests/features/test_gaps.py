"""Values that may be missing: read as gaps at every door, asked as a value and a mask beside it."""

from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.contract.inputs import input_of
from cluster.features.intake.ingest import ingest_rows
from cluster.features.monitoring.drift import measured, statistics
from cluster.features.offline.store import Store
from cluster.features.schema.category import Category
from cluster.features.schema.column import Number
from cluster.features.views.images import labelled_images
from tests.contract.risk import Risk, asked, draw, loans


def test_nothing_an_empty_text_and_nan_are_gaps_and_other_words_are_not() -> None:
    numbers, faults = Number(gaps=True).admit(objects([1, None, "", " ", float("nan"), "2.5", "x"]))
    assert list(faults) == [6]
    assert Number(gaps=True).gap(numbers[:6]).tolist() == [False, True, True, True, True, False]  # type: ignore[union-attr]
    words, none = Category(gaps=True).admit(objects(["a", None, float("nan"), "", 7]))
    assert words.tolist() == ["a", "", "", "", "7"]
    assert not none


def test_without_gaps_a_missing_value_is_refused_as_before() -> None:
    assert Number().admit(objects([None]))[1] == {0: "is missing"}
    assert Category().admit(objects([""]))[1] == {0: "is empty"}
    assert repr(Number()) == "Number()"


def test_rows_without_a_column_that_may_have_gaps_are_taken_in(tmp_path: Path) -> None:
    rows = dict(draw(20, np.random.default_rng(0)))
    del rows["branch"]
    assert ingest_rows(loans, rows, Store(tmp_path)).rows == 20
    kept = Store(tmp_path).head(loans).read(loans, ["branch", "income"])
    assert set(kept["branch"]) == {""}
    assert np.isnan(kept["income"]).any()


def test_a_gap_that_is_sent_is_the_gap_that_is_stored() -> None:
    stored = draw(60, np.random.default_rng(0))
    row = int(np.flatnonzero(np.isnan(stored["income"]))[0])
    learnt = Risk.complete(stored)
    body = {"amount": 1.0, "income": None, "branch": None, "opened": "2020-01-01T00:00:00Z"}
    answered = Risk.complete(Risk.batch([Risk.Input.model_validate(body)]))
    for name, gap in (("income", 0.0), ("branch", "")):
        assert answered[name].tolist() == [gap]
        assert answered[f"{name}_gap"].tolist() == [True]
        assert answered[name].dtype == learnt[name].dtype
    assert (learnt["income"][row], learnt["income_gap"][row]) == (0.0, True)
    assert np.isnan(stored["income"][row])  # the stored row stays as it was
    assert Risk.complete(learnt)["income_gap"].tolist() == learnt["income_gap"].tolist()


def test_gaps_are_missing_values_where_drift_is_measured() -> None:
    stored = draw(400, np.random.default_rng(0))
    learnt = statistics([loans], stored, {})
    share = float(np.isnan(stored["income"]).mean())
    assert learnt["loans.income"]["missing"] == pytest.approx(share)
    assert learnt["loans.income"]["low"] >= 1.0
    served = measured(learnt, Risk.complete(stored))["loans.income"]
    assert [value is None for value in served] == np.isnan(stored["income"]).tolist()


def test_an_input_is_made_from_a_view_and_its_options() -> None:
    made = input_of(asked, top_k=(int, 5))
    fields = made.model_fields
    assert set(fields) == {*asked.columns, "top_k"}
    assert [name for name, field in fields.items() if field.is_required()] == ["amount", "opened"]
    assert (
        made.model_validate({"amount": 1, "opened": "2020-01-01T00:00:00Z"}).model_dump()["top_k"]
        == 5
    )


def test_a_column_that_has_no_one_form_to_be_sent_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"Column 'image' of view .* Declare Input as a class"):
        input_of(labelled_images.only("image"))

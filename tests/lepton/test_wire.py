"""The shapes: an output reads like an object, whatever its fields are."""

import copy

import pytest

from lepton import Output, Prediction, TaskInfo
from lepton.wire import Problem

OUTPUT = Output.model_validate({"label": "boot", "items": [1, 2], "scores": {"boot": 0.9}})


def test_an_output_is_read_by_attribute_and_by_name() -> None:
    assert OUTPUT.label == OUTPUT["label"] == "boot"
    assert OUTPUT.items == [1, 2]
    assert OUTPUT.scores["boot"] == 0.9
    assert "label" in OUTPUT
    assert "lable" not in OUTPUT
    assert OUTPUT.model_dump() == {"label": "boot", "items": [1, 2], "scores": {"boot": 0.9}}


def test_a_field_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no 'lable'\. It has: label, items, scores"):
        _ = OUTPUT.lable
    with pytest.raises(KeyError, match=r"no 'lable'\. It has: label, items, scores"):
        _ = OUTPUT["lable"]


def test_an_output_can_be_copied_and_compared() -> None:
    assert copy.deepcopy(OUTPUT) == OUTPUT
    assert not hasattr(OUTPUT, "__array__")


def test_a_prediction_survives_json() -> None:
    prediction = Prediction(model="a.b", version="3", outputs=[OUTPUT], request_id="r")
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction


def test_fields_that_a_newer_server_adds_are_ignored() -> None:
    task = TaskInfo.model_validate(
        {"name": "a.b", "url": "/v1/a/b", "state": "ready", "input": {}, "output": {}, "new": 1}
    )
    assert task.version is None


def test_a_problem_needs_only_what_rfc_9457_gives_a_reader() -> None:
    assert Problem(title="Gone", status=410, detail="It is gone.").errors == []

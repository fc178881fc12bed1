"""Inputs: what the schema says of a field, and what becomes of a value."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lepton import BadType, BadValue
from lepton._fields import Field, input_fields
from lepton._inputs import batch_of, to_wire
from lepton.wire import Schema
from tests.lepton.toy import INPUTS

B64: Schema = {"type": "string", "contentEncoding": "base64"}


class Colour(Enum):
    RED = "red"


class Point(BaseModel):
    x: int


def wire(value: object, schema: Schema | None = None) -> object:
    return to_wire({"x": value}, {"x": Field("x", schema or {})})["x"]


def test_fields_come_in_the_order_of_the_schema() -> None:
    assert list(input_fields(INPUTS["nlp.classify"])) == ["text", "lang", "threshold", "explain"]


def test_an_input_of_two_forms_has_the_fields_of_both_and_requires_neither() -> None:
    fields = input_fields(INPUTS["vision.classify"])
    assert list(fields) == ["image", "top_k", "item_id"]
    assert not any(field.required for field in fields.values())
    assert fields["image"].is_binary


def test_required_means_required_in_every_form() -> None:
    assert input_fields(INPUTS["nlp.classify"])["text"].required


@pytest.mark.parametrize(
    "schema",
    [
        B64,
        {"anyOf": [B64, {"type": "null"}]},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "contentEncoding": "base64"},
    ],
)
def test_base64_is_found_wherever_it_is_marked(schema: Schema) -> None:
    assert wire(b"abc", schema) == "YWJj"
    assert wire(None, schema) is None


def test_base64_is_found_inside_lists_and_objects() -> None:
    inner: Schema = {"type": "array", "items": {"type": "object", "properties": {"image": B64}}}
    assert wire([{"image": b"abc", "k": 1}], inner) == [{"image": "YWJj", "k": 1}]
    assert wire([b"abc"], {"type": "array", "items": B64}) == ["YWJj"]


def test_a_reference_to_nothing_means_anything() -> None:
    assert wire(3, {"$ref": "#/$defs/Gone"}) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a"]), ["a"]),
        ((1, 2), [1, 2]),
        (True, True),
        (Colour.RED, "red"),
        (Decimal("1.5"), "1.5"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (Point(x=1), {"x": 1}),
        ({"a": [Point(x=1)]}, {"a": [{"x": 1}]}),
    ],
)
def test_values_of_other_libraries_become_json(value: object, expected: object) -> None:
    assert wire(value) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan"), [[float("nan")]]])
def test_a_number_that_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(BadValue, match=r"x is (nan|inf), not a finite number: JSON cannot carry"):
        wire(value)


@pytest.mark.parametrize("value", [b"bytes", Path("a"), object(), {1, 2}, memoryview(b"a")])
def test_a_value_that_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(BadType, match=r"x is of type .* Give a str"):
        wire(value)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadType, match="x has the key 1"):
        wire({1: 2})


NUMBERS: Schema = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("value", "schema", "is_column"),
    [
        ("text", {"type": "string"}, False),
        (["text"], {"type": "string"}, True),
        (["text"], {}, True),
        ([1], NUMBERS, False),
        ([], NUMBERS, False),
        ([[1]], NUMBERS, True),
        ([[1]], {"type": "array", "items": NUMBERS}, False),
        ([[1]], {"type": "array"}, False),
        ([[1]], {"type": "array", "items": {}}, False),
        ([1], {"anyOf": [{"type": "integer"}, NUMBERS]}, False),
        ([1], {"type": ["array", "null"]}, False),
    ],
)
def test_a_column_is_nested_deeper_than_the_schema_says(
    value: object, schema: Schema, *, is_column: bool
) -> None:
    assert Field("x", schema).is_column(value) is is_column


def test_arrays_and_series_are_columns_too() -> None:
    fields = {"x": Field("x", {"type": "integer"})}
    assert batch_of({"x": np.array([1, 2])}, fields) == [{"x": 1}, {"x": 2}]
    assert batch_of({"x": np.int64(1)}, fields) is None


@given(st.lists(st.integers()), st.integers())
def test_a_batch_has_one_row_per_value(values: list[int], constant: int) -> None:
    fields: Mapping[str, Field] = {"x": Field("x", {"type": "integer"})}
    rows = batch_of({"x": values, "y": constant}, fields)
    assert rows == [{"x": value, "y": constant} for value in values]


def test_half_a_character_is_refused_with_its_place() -> None:
    with pytest.raises(BadValue, match=r"x holds half a character, '\\udcff', at place 3\. Decode"):
        wire("caf\udcff")
    assert wire("caf\u00e9 \U0001f600 \0") == "caf\u00e9 \U0001f600 \0"

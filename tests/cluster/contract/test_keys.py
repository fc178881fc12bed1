"""Which shapes an input may have: columns, or the key of a stored row."""

import pytest
from pydantic import ValidationError

from cluster.contract.keys import input_schema, keys_of, naming_of, shapes_of
from services.local import catalog
from tests.knows import Knows


def test_keys_have_the_key_and_the_options_and_are_as_strict_as_input() -> None:
    keys = keys_of(catalog.find("vision.classify"))
    assert keys is not None
    assert list(keys.model_fields) == ["image_id", "top_k"]
    assert keys(image_id="a").top_k == 5  # type: ignore[attr-defined]
    for wrong in ({"image_id": "a", "top_k": 0}, {"image_id": ""}, {"image_id": "a", "x": 1}):
        with pytest.raises(ValidationError):
            keys(**wrong)


def test_a_capability_whose_input_is_ids_already_has_no_other_shape() -> None:
    assert keys_of(catalog.find("recsys.recommend")) is None
    assert naming_of(catalog.find("recsys.recommend")) is None
    assert len(shapes_of(catalog.find("recsys.recommend"))) == 1


@pytest.mark.parametrize(
    ("row", "keyed"),
    [
        ({"point_id": "p"}, True),
        ({"point_id": "p", "margin": 1}, True),
        ({"point_id": "p", "x": 1}, False),
        ({"x": 1, "y": 2}, False),
        ({}, False),
        ([], False),
        (None, False),
    ],
)
def test_an_input_with_the_key_and_no_column_names_a_row(row: object, *, keyed: bool) -> None:
    naming = naming_of(Knows)
    assert naming is not None
    assert naming.is_keyed(row) is keyed


def test_the_schema_offers_both_shapes_and_one_schema_where_there_is_one() -> None:
    classify, recommend = catalog.find("vision.classify"), catalog.find("recsys.recommend")
    columns, keys = input_schema(classify)["oneOf"]
    assert (columns["required"], keys["required"]) == (["image"], ["image_id"])
    assert keys["additionalProperties"] is False
    assert keys["properties"]["top_k"] == columns["properties"]["top_k"]
    assert input_schema(recommend) == recommend.Input.model_json_schema()


def test_a_key_that_is_a_whole_number_is_its_digits() -> None:
    shape = keys_of(Knows)
    assert shape is not None
    assert shape.model_validate_json('{"point_id": 42}', strict=True).point_id == "42"  # type: ignore[attr-defined]
    with pytest.raises(ValidationError):
        shape.model_validate_json('{"point_id": true}', strict=True)

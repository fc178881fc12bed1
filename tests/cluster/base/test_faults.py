"""What pydantic finds wrong is told in our sentences, with the limit and the value."""

from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from cluster.base.errors import InvalidInput, TooLarge
from cluster.base.faults import faults, refuse_infinite


def small(value: int) -> int:
    if value == 13:
        raise TooLarge("13 is too large.", hint="Send 12.", limit=12, actual=13)
    if value == 14:
        raise ValueError("fourteen is nobody's number")
    return value


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    depth: int = 0


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=5)
    top_k: int = Field(5, ge=1, le=100)
    share: float = Field(0.5, gt=0, lt=1)
    loud: bool = False
    exclude: list[Annotated[str, Field(min_length=2)]] = Field([], min_length=1, max_length=2)
    pair: tuple[int, int] = (0, 0)
    words: dict[str, int] = {}
    method: Literal["ease", "ials"] = "ease"
    number: Annotated[int, AfterValidator(small)] = 0
    inner: Inner = Inner()
    id: UUID | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Asked":
        if self.top_k == 99:
            raise ValueError("top_k of 99 fits nothing")
        return self


def found(row: Any) -> list[InvalidInput]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(list[Asked]).validate_python([row])
    return faults(refused.value, Asked, "/inputs")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("text", 3, "text is 3; it must be a string."),
        ("text", None, "text is null; it must be a string."),
        ("text", "", "text is empty; it must have at least 1 character."),
        ("text", "sesame", "text has 6 characters; the limit is 5."),
        ("top_k", "x", "top_k is 'x'; it must be a whole number."),
        ("top_k", "x" * 41, "top_k is a string of 41 characters; it must be a whole number."),
        ("top_k", "9" * 5_000, "top_k is a string of 5,000 characters; it must be a whole number."),
        ("top_k", 2.5, "top_k is 2.5; it must be a whole number."),
        ("top_k", [1], "top_k is a list; it must be a whole number."),
        ("top_k", {}, "top_k is an object; it must be a whole number."),
        ("top_k", object(), "top_k is of type object; it must be a whole number."),
        ("top_k", 0, "top_k is 0; it must be greater than or equal to 1."),
        ("top_k", np.int64(101), "top_k is 101; it must be less than or equal to 100."),
        ("top_k", "101", "top_k is '101'; it must be less than or equal to 100."),
        ("top_k", 10**60, "top_k is 1e+60; it must be less than or equal to 100."),
        ("top_k", 10**400, "top_k is a number of more than 300 digits; it must be "),
        ("share", "much", "share is 'much'; it must be a number."),
        ("share", 0, "share is 0; it must be greater than 0."),
        ("share", 1.0, "share is 1.0; it must be less than 1."),
        ("loud", "very", "loud is 'very'; it must be true or false."),
        ("exclude", "a", "exclude is 'a'; it must be a list."),
        ("exclude", [], "exclude is empty; it must have at least 1 element."),
        ("exclude", ["ab"] * 3, "exclude has 3 elements; the limit is 2."),
        ("exclude", ["ab", True], "exclude.1 is true; it must be a string."),
        ("exclude", ["ab", "c"], "exclude.1 has 1 character; it must have at least 2 characters."),
        ("pair", 1, "pair is 1; it must be a list."),
        ("words", 1, "words is 1; it must be an object."),
        ("method", "als", "method is 'als'; it must be 'ease' or 'ials'."),
        ("number", 13, "13 is too large. Send 12."),
        ("number", 14, "number: fourteen is nobody's number."),
        ("inner", 3, "inner is 3; it must be an object."),
        ("inner", {"deep": 3}, "There is no field 'deep'."),
        ("topk", 3, "There is no field 'topk'. Did you mean 'top_k'?"),
        ("z" * 90, 3, f"There is no field {'z' * 64!r}. There are: "),
    ],
)  # fmt: skip
def test_each_fault_is_a_sentence(field: str, value: Any, sentence: str) -> None:
    (fault,) = found({"text": "open", field: value})
    assert str(fault).startswith(sentence) if sentence.endswith(" ") else str(fault) == sentence
    assert fault.pointer.startswith(f"/inputs/0/{field[:64]}")


def test_more_faults_than_anybody_reads_are_only_counted() -> None:
    (fault,) = found({"text": "a", **{f"a{number}": 1 for number in range(20_001)}})
    assert str(fault) == "There are 20,001 faults. Mend one input first, and send it alone."
    assert fault.pointer == "/inputs"


def test_what_is_missing_is_named() -> None:
    (fault,) = found({})
    assert (str(fault), fault.pointer) == ("text is missing; it is required.", "/inputs/0/text")


def test_what_is_no_input_at_all_is_told_which_fields_one_has() -> None:
    (fault,) = found(3)
    assert str(fault).startswith("The input is 3; it must be an object of fields: text, top_k, ")
    assert fault.pointer == "/inputs/0"


def test_a_kind_that_is_not_foreseen_keeps_what_pydantic_says_of_it() -> None:
    (fault,) = found({"text": "a", "id": "x"})
    assert str(fault).startswith("id is 'x'; it must be a valid UUID, ")
    assert str(fault).endswith(".")


def test_fields_that_do_not_fit_together_are_told_without_a_name() -> None:
    (fault,) = found({"text": "a", "top_k": 99})
    assert str(fault) == "top_k of 99 fits nothing."


@pytest.mark.parametrize(
    ("field", "value", "limit", "actual"),
    [
        ("top_k", 0, 1, 0), ("top_k", "200", 100, 200), ("share", 1.5, 1, 1.5),
        ("text", "sesame", 5, 6), ("text", "", 1, 0), ("exclude", ["ab"] * 7, 2, 7),
        ("number", 13, 12, 13), ("top_k", "x", None, None), ("method", "x", None, None),
    ],
)  # fmt: skip
def test_the_limit_and_the_value_are_numbers_for_programs(
    field: str, value: Any, limit: float | None, actual: float | None
) -> None:
    (fault,) = found({"text": "a", field: value})
    assert (fault.limit, fault.actual) == (limit, actual)


def test_a_pointer_is_escaped_as_rfc_6901_says() -> None:
    (fault,) = found({"text": "a", "a/b~c": 1})
    assert fault.pointer == "/inputs/0/a~1b~0c"


def test_a_strict_number_may_have_no_point() -> None:
    with pytest.raises(ValidationError) as refused:
        Asked.model_validate_json('{"text": "a", "top_k": 5.0}', strict=True)
    (fault,) = faults(refused.value, Asked)
    assert str(fault) == ("top_k is 5.0; it must be a whole number without a point or an exponent.")
    assert fault.pointer == "/top_k"


def test_what_is_not_finite_is_refused() -> None:
    class Point(BaseModel):
        x: float = 0.0
        name: str = ""

    refuse_infinite([Point(x=1.0, name="nan")])
    with pytest.raises(ValidationError) as refused:
        refuse_infinite([Point(), Point(x=float("inf"))])
    (fault,) = faults(refused.value, Point, "/inputs")
    assert str(fault) == "x is inf; it must be a finite number."
    assert fault.pointer == "/inputs/1/x"

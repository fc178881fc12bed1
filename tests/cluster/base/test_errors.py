"""Errors say what was wrong and what to do next."""

import inspect
import re

import pytest

from cluster.base import errors
from cluster.base.errors import InvalidInput, LeptonError, NotFound, TooLarge, nearest

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LeptonError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_is_the_tree_of_the_classes(kind: type[LeptonError]) -> None:
    drawn = re.search(rf"\b{kind.__name__} +(\d+)", errors.__doc__ or "")
    assert drawn is not None
    assert int(drawn[1]) == kind.status


def test_each_kind_has_its_own_code_and_title() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.title for kind in KINDS}) == len(KINDS)
    assert all(re.fullmatch(r"[a-z-]+", kind.code) for kind in KINDS)


def test_an_error_reads_as_what_was_wrong_and_what_to_do() -> None:
    error = NotFound("There is no x.", hint="Make one.")
    assert str(error) == "There is no x. Make one."
    assert str(NotFound("There is no x.")) == "There is no x."


def test_limits_travel_with_the_error_and_pydantic_takes_it_for_a_value_error() -> None:
    error = TooLarge("Too many.", limit=3, actual=4, pointer="/inputs")
    assert (error.limit, error.actual, error.pointer) == (3, 4, "/inputs")
    assert isinstance(error, InvalidInput)
    assert isinstance(error, ValueError)


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    names = ["vision.classify", "nlp.classify"]
    assert nearest("vision.clasify", names) == "Did you mean 'vision.classify'?"
    assert nearest("zzz", names) == "There are: nlp.classify, vision.classify."
    assert nearest("zzz", []) == "There are none yet."

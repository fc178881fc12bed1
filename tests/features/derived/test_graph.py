"""What does not fit is found when views are loaded, in a sentence that names it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from cluster.base.errors import Conflict, InvalidInput, LeptonError, NotFound
from cluster.features.derived.aggregates import Count, Last, Since, Sum
from cluster.features.derived.computed import Computed, computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import windows
from cluster.features.schema.column import Number, Text, Whole
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions, items, users

Function = Callable[..., pl.DataFrame]
LABEL = {"label": Text()}

activity = windows("activity", over=interactions, key=("user_id",), columns={"events": Count()})
title_vector = model_view(
    "title_vector",
    "nlp.embed@production",
    over=items,
    columns={"vector": Vector(4)},
    inputs={"text": "title"},
)


@computed(key=("item_id",), columns={"words": Whole()}, defaults={"words": 1}, owner="shop")
def title_words(items: pl.DataFrame) -> pl.DataFrame:
    """How many words the title of an item has."""
    return items.select(words=pl.col("title").str.split(" ").list.len())


@computed(key=("user_id", "item_id"), columns={"score": Number()})
def match(title_words: pl.DataFrame, activity: pl.DataFrame) -> pl.DataFrame:
    """How well a user and an item go together."""
    return pl.DataFrame({"score": title_words["words"] * activity["events"].cast(pl.Float64)})


ALL = (match, activity, title_words, items, interactions, title_vector, users)


def named(function: Function, **changes: object) -> Computed:
    view = computed(key=("item_id",), columns={"words": Whole()})(function)
    return replace(view, **changes)  # type: ignore[arg-type]


def test_views_come_after_what_they_are_made_from() -> None:
    graph = Graph(ALL)
    place = {view.name: number for number, view in enumerate(graph.order)}
    assert all(place[need] < place[view.name] for view in graph.order for need in view.needs)
    assert graph.inputs(match) == [title_words, activity]
    assert {view.name for view in graph.readers(items)} == {"title_vector", "title_words"}
    assert "match" in graph
    assert "macth" not in graph


def test_the_view_with_most_columns_counts() -> None:
    assert Graph([items.only("title"), items]).order == [items]


def test_a_function_is_a_view_with_its_name_and_its_docstring() -> None:
    assert title_words.name == "title_words"
    assert title_words.description == "How many words the title of an item has."
    assert title_words.needs == ("items",)
    assert title_words.owner == "shop"


def test_made_up_rows_of_a_function_are_what_it_makes_of_made_up_rows() -> None:
    drawn = Graph(ALL).sample(title_words, 20, np.random.default_rng(0))
    assert drawn["words"].tolist() == [4] * 20
    assert set(drawn) == {"item_id", "words", "event_time"}


def test_what_a_function_does_not_know_has_the_default() -> None:
    unknown = pl.DataFrame({"title": ["one two", None], "categories": [[], None]})
    assert title_words.compute({"items": unknown})["words"].to_pylist() == [2, 1]


def test_a_version_changes_with_the_definition_and_with_nothing_else() -> None:
    assert items.version == replace(items, description="other words").version
    versions = {
        items.version,
        replace(items, columns={"title": Text()}).version,
        title_words.version,
        replace(title_words, defaults={}).version,
        title_vector.version,
        title_vector.at(3).version,
        title_vector.at(4).version,
    }
    assert len(versions) == 7


def test_rows_of_a_model_are_stored_for_each_of_its_versions() -> None:
    graph = Graph(ALL)
    assert graph.stored(title_vector.at(3)).name == "title_vector_v3"
    assert graph.stored(items) is items
    with pytest.raises(InvalidInput, match=r"Which version of nlp\.embed makes 'title_vector'"):
        graph.stored(title_vector)
    with pytest.raises(InvalidInput, match="made when it is read"):
        graph.stored(activity)


def loop_a(loop_b: pl.DataFrame) -> pl.DataFrame:
    return loop_b


def loop_b(loop_a: pl.DataFrame) -> pl.DataFrame:
    return loop_a


def lost(itmes: pl.DataFrame) -> pl.DataFrame:
    return itmes


def renamed(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(words=pl.col("titel").str.len_chars())


def wrong_type(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(words=pl.col("title"))


def wrong_name(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(word=pl.col("title").str.len_chars())


def wrong_rows(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(words=pl.col("title").str.len_chars())[:1]


def no_frame(items: pl.DataFrame) -> pl.DataFrame:
    return items["title"]  # type: ignore[return-value]


def wrong_operation(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(words=pl.col("title") * pl.col("categories"))


def no_such_method(items: pl.DataFrame) -> pl.DataFrame:
    return items.pick(words=pl.col("title"))  # type: ignore[attr-defined, no-any-return]


def words_for_numbers(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(words=pl.col("title").str.len_chars().cast(pl.String))


def nothing() -> pl.DataFrame:
    return pl.DataFrame()


@pytest.mark.parametrize(
    ("views", "kind", "words"),
    [
        ([named(loop_a), named(loop_b)], InvalidInput, "circle: loop_a from loop_b from loop_a"),
        ([named(lost), items], NotFound, r"'lost' is made from 'itmes'.*Did you mean 'items'"),
        ([named(renamed), items], InvalidInput, r"asks for a column 'titel'.*mean 'title'"),
        ([named(wrong_type), items], InvalidInput, "declared as int64; its function"),
        ([named(wrong_name), items], InvalidInput, r"declares a column 'words'.*mean 'word'"),
        ([named(wrong_rows), items], InvalidInput, "given 3 rows and returned 1 rows"),
        ([named(no_frame), items], InvalidInput, "given 3 rows and returned Series"),
        (
            [named(words_for_numbers), items],
            InvalidInput,
            "declared as int64; its function returns",
        ),
        (
            [named(wrong_operation), items],
            InvalidInput,
            "function of view 'wrong_operation' fails: .*test_graph.py, line [0-9]+: ",
        ),
        (
            [named(no_such_method), items],
            InvalidInput,
            "fails: .*test_graph.py, line [0-9]+: AttributeError: 'DataFrame' object has no",
        ),
        ([named(nothing)], InvalidInput, "is a function of nothing"),
        (
            [named(title_words.function, key=("user_id",)), items],
            InvalidInput,
            r"whose key has 'item_id': its own key is user_id\. Add 'item_id'",
        ),
        (
            [replace(items, defaults={"titel": ""})],
            InvalidInput,
            r"has a default for 'titel'.*Did you mean 'title'",
        ),
        (
            [
                activity,
                interactions,
                model_view("wrong", "a.b@1", over=activity, columns=LABEL),
            ],
            InvalidInput,
            r"'wrong' is made from the rows of 'activity', which are not stored",
        ),
        (
            [items, title_vector, replace(activity, over=title_vector)],
            InvalidInput,
            r"'activity' is made from the rows of 'title_vector', .*: Windows must be over",
        ),
        (
            [items, title_vector, model_view("wrong", "a.b@1", over=title_vector, columns=LABEL)],
            InvalidInput,
            r"'wrong' is made from the rows of 'title_vector', .*: ModelView must be over a source",
        ),
        ([items, replace(users, name="items")], Conflict, "Two views are named 'items'"),
        ([items, replace(items, columns={"title": Whole()})], Conflict, "declared as Whole"),
    ],
)
def test_what_does_not_fit_is_told_when_views_are_loaded(
    views: list[View], kind: type[LeptonError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        Graph(views)


def test_a_number_that_is_none_has_the_default() -> None:
    def shares(items: pl.DataFrame) -> pl.DataFrame:
        return items.select(share=pl.Series([0.5, float("nan"), None]))

    view = computed(key=("item_id",), columns={"share": Number()}, defaults={"share": -1.0})(shares)
    made = view.compute({"items": pl.DataFrame({"title": ["a", "b", "c"]})})
    assert made["share"].to_pylist() == [0.5, -1.0, -1.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "mine view/.."}, "'mine view/..' is no name of a view"),
        ({"key": "item_id"}, r"has the key 'item_id', which is no tuple.*\('item_id',\)|key=\("),
        ({"key": ()}, "which is no tuple of columns"),
        ({"ttl": timedelta(days=-1)}, "so that nothing ever holds"),
        ({"key": ["item_id"]}, r"the key \['item_id'\], which is no tuple of columns"),
        ({"ttl": 5}, "'items' has a time-to-live of 5, which is no timedelta. Write ttl="),
        ({"tags": "abc"}, r"the tags 'abc', which are no tuple of words. Write tags=\(\"abc\",\)"),
        ({"columns": {"n": Number}}, r"'n' of view 'items' is Number, which is no.*Write Number\("),
        ({"columns": {"n": 3}}, r"is 3, which is no type of a column. Write Number\(\), Text"),
        ({"columns": 3}, "has the columns 3, which are none"),
        ({"defaults": {"title": 3}}, "The default 3 of column 'title' of view 'items' cannot stan"),
        ({"defaults": 3}, "the defaults 3, which name no columns"),
        ({"columns": {"item_id": Text()}}, "a name that is part of its key"),
        ({"columns": {"created": Text()}}, "a name that is kept for what every row has"),
    ],
)
def test_a_view_that_could_not_be_stored_or_read_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        replace(items, **changes)


def of_events(aggregate: Any, **about: Any) -> Any:
    return windows("mine", over=interactions, key=("user_id",), columns={"n": aggregate}, **about)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Count(within=timedelta()), "is no length of a window"),
        (lambda: Count(within=7), "7 is no length of a window"),  # type: ignore[arg-type]
        (lambda: Last("item_id", n=0), "The last 0 events are none"),
        (lambda: Last("item_id", n=2.5), "The last 2.5 events are none"),  # type: ignore[arg-type]
        (lambda: Count(timedelta(days=7)), "is no name of a column. Lengths of windows are named"),  # type: ignore[arg-type]
        (lambda: of_events(Count), r"'n' of view 'mine' is Count, which says.* Write Count\(\)"),
        (lambda: of_events(Number()), r"is Number\(\), which says nothing of events. Write Count"),
        (
            lambda: of_events(Sum("valu")),
            "'n' of view 'mine': View 'interactions' has no column ",
        ),
        (
            lambda: windows("mine", over=interactions, key=("user_id",), columns={}),
            "which are none",
        ),
        (
            lambda: of_events(Count(), defaults={"n": "many"}),
            r"The default 'many' of column 'n'",
        ),
        (
            lambda: of_events(Count(), defaults={"n": True}),
            r"the column is Whole\(\). Give a",
        ),
        (lambda: of_events(Since(), defaults={"n": float("nan")}), "The default nan of column 'n'"),
    ],
)
def test_a_window_that_holds_nothing_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        ("nlp/embed", None, "'nlp/embed' names no model for view 'wrong'"),
        ("nlp.embed@", None, "names no model"),
        ("nlp.embed@prodcution", None, "'prodcution' is no alias. Did you mean 'production'?"),
        ("nlp.embed@3", {"text": "titel"}, r"column 'titel', which 'items' lacks.*mean 'title'"),
    ],
)
def test_a_model_view_that_cannot_be_is_refused_where_it_is_declared(
    model: str, inputs: dict[str, str] | None, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        model_view("wrong", model, over=items, columns={"vector": Vector(4)}, inputs=inputs)


@pytest.mark.parametrize(
    "function",
    [
        lambda items: items.select(pl.col("titel")),
        lambda items: pl.DataFrame({"words": items["titel"]}),
        lambda items: items.drop("titel"),
    ],
)
def test_a_lost_column_is_named_however_it_is_asked_for(function: Function) -> None:
    function.__name__ = "mine"
    with pytest.raises(InvalidInput, match=r"asks for a column 'titel' that.*mean 'title'\?"):
        Graph([items, named(function)])


def test_an_unknown_view_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'activity'"):
        Graph(ALL)["activty"]

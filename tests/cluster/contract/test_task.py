"""The batch that a capability is asked with: options, moments, all of it alike at every door."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from cluster.base.batch import Batch, objects
from cluster.contract.config import Config
from cluster.contract.task import Task, sent
from cluster.features.schema.column import Text, Time
from cluster.features.schema.view import View
from tests.knows import Input as KnownInput
from tests.knows import Service
from tests.toy import Side


class Input(BaseModel):
    opened: datetime


def draw(count: int, rng: np.random.Generator) -> Batch:
    del rng
    return {
        "account_id": objects(f"a{number}" for number in range(count)),
        "opened": np.full(count, np.datetime64("2026-01-02T03:04:05", "us")),
        "label": objects(["late"] * count),
        "event_time": np.zeros(count, "datetime64[us]"),
    }


accounts = View("accounts", ("account_id",), {"opened": Time(), "label": Text()}, draw)


class Dated(Side):
    """The toy, were it asked about accounts."""

    Input: ClassVar[type[BaseModel]] = Input
    inputs = accounts.only("opened")
    examples = accounts


def test_a_moment_that_is_sent_is_a_column_as_a_stored_one_whatever_its_zone() -> None:
    stored = accounts.sample(1, np.random.default_rng(0))["opened"]
    here = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    for moment in (here, datetime(2026, 1, 2, 3, 4, 5), sent(stored[0])):
        column = Dated.batch([Input(opened=moment)])["opened"]
        assert column.dtype == stored.dtype
        assert column[0] == stored[0]


def test_rows_without_an_event_time_are_of_now_and_others_keep_theirs() -> None:
    asked: dict[str, Any] = {"x": np.zeros(2), "y": np.zeros(2)}
    now = Side.complete(asked)["event_time"]
    assert now.dtype == "datetime64[us]"
    assert abs(datetime.now(UTC).replace(tzinfo=None) - now[0].item()) < timedelta(minutes=1)
    then = np.zeros(2, "datetime64[us]")
    assert Side.complete({**asked, "event_time": then})["event_time"] is then


def test_a_replica_has_one_moment_for_look_ups_and_for_the_rows(tmp_path: Any) -> None:
    joined = Service(tmp_path).answering.live.join([KnownInput(x=1, y=2, owner_id="o1")])
    assert joined.batch["event_time"].tolist() == [joined.at.replace(tzinfo=None)]


class Loose(BaseModel):
    level: int = 40


class Strict(Task[Config, Loose, Loose]):
    """Answers what it is asked."""


def test_a_misspelt_option_is_refused_though_its_author_did_not_say_so() -> None:
    assert Strict.Input.model_json_schema()["additionalProperties"] is False
    with pytest.raises(ValidationError, match="levle"):
        Strict.Input.model_validate({"levle": 3})

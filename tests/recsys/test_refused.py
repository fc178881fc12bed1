"""A value of 0 or less takes back what was taken: no history, no popularity, but seen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from recsys._interactions import netted, read
from recsys.recommend import Config, Output, Recommend

Event = tuple[str, str, float]


def events(*rows: Event) -> Batch:
    return {
        "user_id": objects(user for user, _, _ in rows),
        "item_id": objects(item for _, item, _ in rows),
        "value": np.array([value for _, _, value in rows]),
    }


def catalogue(*names: str) -> dict[str, Batch]:
    return {
        "items": {
            "item_id": objects(names),
            "title": objects(f"fruit {name}" for name in names),
            "categories": objects([] for _ in names),
        }
    }


def bought() -> list[Event]:
    """Thirty users, who take each of eight fruits with odds of a half."""
    drawn = np.random.default_rng(0).random((30, 8)) < 0.5
    return [(f"u{user}", f"f{item}", 1.0) for user, item in zip(*np.nonzero(drawn), strict=True)]


def trained(folder: Path, method: str, *more: Event) -> Recommend:
    task = Recommend(Config(method=method, choose=False, ridge=5.0, dim=4, penalty=0.01))
    names = [f"f{item}" for item in range(8)]
    task.fit(
        Resident(events(*bought(), *more)), Resident({}), Run(tables=catalogue(*names, "lemon"))
    )
    task.save(folder)
    return Recommend.load(folder)


def ask(model: Recommend, recent: list[tuple[str, float]] | None = None, **row: Any) -> Output:
    batch = dict(model.batch([model.Input(**row)]))
    if recent is not None:
        batch["recent_items"] = objects([[item for item, _ in recent]])
        batch["recent_values"] = objects([[value for _, value in recent]])
    return model.predict(batch)[0]


RETURNED: list[Event] = [(f"u{user}", "lemon", -1.0) for user in range(30)]


@pytest.mark.parametrize("method", ["ease", "ials"])
def test_what_everybody_returned_is_shown_to_newcomers_last(tmp_path: Path, method: str) -> None:
    model = trained(tmp_path, method, *RETURNED)
    shown = ask(model, k=9)
    assert shown.basis == "popular"
    assert shown.items[-1] == "lemon"
    assert shown.scores[-1] == 0.0


def test_a_return_leaves_the_model_as_if_nothing_had_been_taken(tmp_path: Path) -> None:
    without = trained(tmp_path, "ease")
    (tmp_path / "b").mkdir()
    pairs = [(user, "lemon", value) for user, _, _ in RETURNED for value in (2.0, -2.0)]
    model = trained(tmp_path / "b", "ease", *pairs, ("nobody", "f1", -1.0))
    for user in ("u1", "u7", "nobody"):
        assert ask(model, user_id=user, k=9) == ask(without, user_id=user, k=9)
    assert ask(model, user_id="nobody").basis == "popular"


def test_a_return_of_some_leaves_the_purchase(tmp_path: Path) -> None:
    log = read([events(("u", "lemon", 3.0), ("u", "lemon", -1.0), ("v", "plum", -1.0))])
    assert (log.users, log.items, log.value.tolist()) == (["u"], ["lemon"], [1.0])
    assert log.refused == {"v": ["plum"]}


def test_amounts_that_cancel_leave_no_purchase_of_a_rounding_error() -> None:
    log = read([events(("u", "a", 0.1), ("u", "a", 0.2), ("u", "a", -0.3), ("u", "b", 1.0))])
    assert log.items == ["b"]
    assert netted(["a", "a", "a", "b"], [0.1, 0.2, -0.3, 1.0]) == (["b"], ["a"])


def test_what_was_returned_is_left_out_with_what_was_seen(tmp_path: Path) -> None:
    model = trained(tmp_path, "ease", *RETURNED)
    assert "lemon" in ask(model, user_id="u1", k=9).items
    assert "lemon" not in ask(model, user_id="u1", k=9, exclude_seen=True).items


def test_what_was_returned_since_the_training_is_history_no_more(tmp_path: Path) -> None:
    model = trained(tmp_path, "ease")
    taken = [item for user, item, _ in bought() if user == "u1"]
    before = ask(model, [(taken[0], 1.0)], user_id="u1", k=9)
    assert before == ask(model, user_id="u1", k=9)
    after = ask(model, [(taken[0], -1.0), (taken[0], 1.0)], user_id="u1", k=9)
    assert after.scores != before.scores
    assert ask(model, [("f1", -1.0)], user_id="newcomer").basis == "popular"
    hidden = ask(model, [("f1", -1.0)], user_id="newcomer", k=9, exclude_seen=True)
    assert "f1" not in hidden.items


def test_what_was_returned_is_not_among_what_should_have_been_guessed(tmp_path: Path) -> None:
    model = trained(tmp_path, "ease")
    asked = model.questions(events(("u1", "f1", 1.0), ("u1", "f2", -1.0), ("u2", "f3", 0.0)))
    assert asked["user_id"].tolist() == ["u1"]
    assert asked["item_id"].tolist() == [["f1"]]


def test_rows_of_which_none_is_above_nought_are_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidInput, match=r"Nobody took anything: .* each of 2 pairs .*value=-"):
        read([events(("u", "a", 0.0), ("v", "b", 0.0))])

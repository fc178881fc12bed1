"""recsys.recommend: who is known, what may be shown, factors that workers do not move."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, NotFound
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.features.schema.column import Text
from cluster.features.views.interactions import items
from recsys._ease import Ease
from recsys._ials import Ials, Knobs
from recsys.recommend import Config, Output, Recommend
from services.local import catalog

KINDS = {"a": "A red kite", "b": "The blue boat"}
KNOBS = Knobs(dim=8, ridge=0.05, alpha0=0.2, nu=1.0, epochs=4)


def two_tastes() -> Batch:
    """Forty users, half of whom take of a0..a9 and half of b0..b9; all of them take a0 or b0."""
    rng = np.random.default_rng(0)
    pairs = [
        (f"u{user}", f"{'ab'[user % 2]}{item}")
        for user in range(40)
        for item in {0, *rng.choice(10, 5, replace=False).tolist()}
    ]
    return {
        "user_id": objects(user for user, _ in pairs),
        "item_id": objects(item for _, item in pairs),
        "value": np.ones(len(pairs)),
    }


def catalogue(*untouched: tuple[str, str]) -> dict[str, Batch]:
    """The items a0..a9 and b0..b9, whose titles tell their kind, and some more."""
    titles = {f"{kind}{number}": word for kind, word in KINDS.items() for number in range(10)}
    titles |= dict(untouched)
    return {
        "items": {
            "item_id": objects(titles),
            "title": objects(titles.values()),
            "categories": objects([name[0]] for name in titles),
        }
    }


@pytest.fixture(params=["ease", "ials"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Recommend:
    task = Recommend(
        Config(method=request.param, choose=False, ridge=5.0, dim=4, epochs=12, penalty=0.01)
    )
    new = catalogue(("n1", "One more red kite"), ("n2", "One more blue boat"))
    task.fit(Resident(two_tastes()), Resident({}), Run(tables=new))
    task.save(tmp_path)
    return Recommend.load(tmp_path)


def ask(model: Recommend, **row: Any) -> Output:
    return model.predict(model.batch([model.Input(**row)]))[0]


def test_a_known_user_gets_more_of_their_taste(model: Recommend) -> None:
    shown = ask(model, user_id="u1", k=6)
    assert shown.basis == "user"
    assert {item[0] for item in shown.items} == {"b"}
    assert shown.scores == sorted(shown.scores, reverse=True)


def test_a_newcomer_is_known_by_the_items_they_bring(model: Recommend) -> None:
    shown = ask(model, user_id="nobody", items=["a1", "a2", "never sold"], k=5)
    assert shown.basis == "items"
    assert shown.unknown == ["never sold"]
    assert all(item.startswith("a") for item in shown.items)


def test_nobody_known_gets_what_is_popular(model: Recommend) -> None:
    shown = ask(model, k=2)
    assert shown.basis == "popular"
    assert set(shown.items) == {"a0", "b0"}


def test_seen_and_excluded_items_are_left_out_on_request(model: Recommend) -> None:
    taken = {
        i
        for u, i in zip(*(two_tastes()[c] for c in ("user_id", "item_id")), strict=True)
        if u == "u0"
    }
    assert taken & set(ask(model, user_id="u0", k=10).items)
    shown = ask(model, user_id="u0", k=1_000, exclude_seen=True, exclude=["b3"])
    assert not taken & set(shown.items)
    assert "b3" not in shown.items
    assert len(shown.items) == 22 - len(taken) - 1


def test_only_the_categories_asked_for_are_shown(model: Recommend) -> None:
    assert {item[0] for item in ask(model, user_id="u0", k=1_000, categories=["b"]).items} == {"b"}


def test_a_category_that_nothing_has_is_told_as_unknown(model: Recommend) -> None:
    shown = ask(model, user_id="u0", items=["c1"], categories=["no such"])
    assert (shown.items, shown.unknown) == ([], ["c1", "no such"])
    assert ask(model, user_id="u0", categories=["a"]).unknown == []


@pytest.mark.parametrize("choose", [False, True])
@pytest.mark.parametrize("method", ["ease", "ials"])
def test_what_is_said_of_users_counts_beside_what_they_took(
    tmp_path: Path,
    method: Any,
    choose: bool,  # noqa: FBT001
) -> None:
    task = Recommend(Config(method=method, choose=choose, ridge=5.0, dim=4, penalty=0.01))
    who = [*(f"u{user}" for user in range(40)), "new a", "new b", "odd"]
    town = [*(["Aden", "Bonn"] * 20), "Aden", "Bonn", "a town of its own"]
    told = {"user_id": objects(who), "town": objects(town), "age": np.arange(43.0)}
    tables = {**catalogue(("n1", "One more red kite")), "people": told}
    task.fit(Resident(two_tastes()), Resident({}), Run(tables=tables))
    task.save(tmp_path)
    model = Recommend.load(tmp_path)
    for kind in "ab":
        shown = ask(model, user_id=f"new {kind}", k=6)
        assert shown.basis == "user"
        assert [item[0] for item in shown.items].count(kind) >= 5
    everything = ask(model, user_id="new a", k=1_000).items
    assert sorted(everything) == sorted(tables["items"]["item_id"])
    assert set(ask(model, k=1_000).items) == set(everything)
    assert ask(model, items=["town:aden"]).unknown == ["town:aden"]


def test_views_are_read_by_name_if_they_are_about_items_or_users() -> None:
    find = catalog.graph().__getitem__
    config = Config.parse(["views=user_activity,items"])
    assert [view.name for view in Recommend.tables_for(config, find)] == [
        *(view.name for view in Recommend.tables),
        "user_activity",
    ]
    with pytest.raises(InvalidInput, match="View 'interactions' is by user_id, item_id"):
        Recommend.tables_for(Config.parse(["views=interactions"]), find)
    with pytest.raises(InvalidInput, match="View 'item_images' holds pictures"):
        Recommend.tables_for(Config.parse(["views=item_images"]), find)
    seller = replace(items, name="sellers", columns={"user_id": Text()})
    with pytest.raises(InvalidInput, match="View 'sellers' has a column 'user_id'"):
        Recommend.tables_for(Config.parse(["views=sellers"]), lambda _: seller)
    with pytest.raises(NotFound, match="user_activty"):
        Recommend.tables_for(Config.parse(["views=user_activty"]), find)


@pytest.mark.parametrize(("user", "best"), [("u0", "n1"), ("u1", "n2")])
def test_what_nobody_has_touched_is_ranked_by_its_title(
    model: Recommend, user: str, best: str
) -> None:
    assert ask(model, user_id=user, categories=["n"]).items[0] == best
    everything = ask(model, user_id=user, k=1_000).items
    rivals = [n for n, item in enumerate(everything) if item[0] == "ba"[int(user[1])]]
    assert everything.index(best) < np.median(rivals)


def test_new_items_do_not_move_the_scores_of_the_others(model: Recommend) -> None:
    alone = Recommend(model.config)
    alone.fit(Resident(two_tastes()), Resident({}), Run(tables=catalogue()))
    without = ask(alone, user_id="u0", k=1_000)
    scores = dict(zip(without.items, without.scores, strict=True))
    shown = ask(model, user_id="u0", k=1_000)
    known = {i: s for i, s in zip(shown.items, shown.scores, strict=True) if i[0] != "n"}
    assert known == pytest.approx(scores, abs=1e-6)


def test_an_item_that_nobody_had_touched_tells_of_a_newcomers_taste(model: Recommend) -> None:
    shown = ask(model, user_id="nobody", items=["n2"], k=5)
    assert shown.basis == "items"
    assert shown.unknown == []
    assert {item[0] for item in shown.items if item != "n2"} == {"b"}


def ask_live(
    model: Recommend, recent: list[str], values: list[float] | None = None, **row: Any
) -> Output:
    batch = dict(model.batch([model.Input(**row)]))
    batch["recent_items"] = objects([recent])
    batch["recent_values"] = objects([values or [1.0] * len(recent)])
    batch["user_history_missing"] = np.array([not recent])
    return model.predict(batch)[0]


def test_a_newcomer_is_known_by_their_first_event(model: Recommend) -> None:
    shown = ask_live(model, ["b0"], user_id="newcomer", k=5)
    assert shown.basis == "recent"
    assert {item[0] for item in shown.items[:3]} == {"b"}
    assert "b0" not in ask_live(model, ["b0"], user_id="newcomer", exclude_seen=True).items
    assert ask_live(model, ["never sold"], user_id="newcomer").basis == "popular"
    assert ask_live(model, [], user_id="newcomer") == ask(model, user_id="newcomer")


def test_what_a_known_user_took_since_the_training_is_added(model: Recommend) -> None:
    before = ask(model, user_id="u0")
    after = ask_live(model, ["b3", "b5", "b7", "b1"], user_id="u0")
    assert after.basis == "user"
    assert sum(item[0] == "b" for item in after.items) > sum(
        item[0] == "b" for item in before.items
    )
    pairs = zip(two_tastes()["user_id"], two_tastes()["item_id"], strict=True)
    taken = [item for user, item in pairs if user == "u0"]
    assert ask_live(model, taken, user_id="u0") == ask(model, user_id="u0")


def test_both_forms_of_ease_give_the_same_scores() -> None:
    rng = np.random.default_rng(1)
    x = sparse.csr_matrix((rng.random((30, 30)) < 0.2).astype(float))
    knobs = {"ridge": 3.0, "user_power": 0.4, "item_power": 0.1}
    dense = Ease.fit(x, **knobs)
    factored = Ease._factored(
        sparse.csr_matrix(sparse.diags(np.sqrt(weight_of(x, 0.4))) @ x), 3.0, column_of(x, 0.1)
    )
    assert dense.dense is not None
    assert factored.dense is None
    assert dense.scores(x) == pytest.approx(factored.scores(x), abs=1e-5)


def weight_of(x: sparse.csr_matrix, power: float) -> Any:
    counts = np.maximum(x.getnnz(axis=1), 1).astype(float)
    return (counts / np.exp(np.log(counts).mean())) ** -power


def column_of(x: sparse.csr_matrix, power: float) -> Any:
    return np.maximum(x.getnnz(axis=0), 1).astype(float) ** -power


class Together:
    """Runs `fit` on several threads whose gathers wait for each other, as workers do."""

    def __init__(self, workers: int) -> None:
        self.barrier = threading.Barrier(workers)
        self.given: list[Any] = [None] * workers

    def run(self, fit: Callable[[Run], Ials]) -> list[Ials]:
        found: list[Any] = [None] * len(self.given)

        def work(rank: int) -> None:
            found[rank] = fit(Member(self, rank))

        threads = [threading.Thread(target=work, args=(r,)) for r in range(len(self.given))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


class Member(Run):
    """One of those workers."""

    def __init__(self, group: Together, rank: int) -> None:
        super().__init__(rank=rank, workers=len(group.given))
        self.group = group

    def all_gather(self, value: Any) -> list[Any]:
        self.group.given[self.rank] = value
        self.group.barrier.wait()
        gathered = list(self.group.given)
        self.group.barrier.wait()
        return gathered


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_does_not_move_the_factors(workers: int) -> None:
    rng = np.random.default_rng(2)
    x = sparse.csr_matrix((rng.random((41, 23)) < 0.15).astype(float))
    alone = Ials.fit(x, KNOBS, Run())
    for member in Together(workers).run(lambda run: Ials.fit(x, KNOBS, run)):
        assert member.users == pytest.approx(alone.users, abs=1e-8)
        assert member.items == pytest.approx(alone.items, abs=1e-8)


def test_folding_in_a_history_solves_what_the_paper_states() -> None:
    rng = np.random.default_rng(3)
    x = sparse.csr_matrix((rng.random((20, 15)) < 0.3).astype(float))
    fitted = Ials.fit(x, KNOBS, Run())
    history = x[4].toarray().ravel() > 0
    items = fitted.items
    system = KNOBS.alpha0 * items.T @ items + items[history].T @ items[history]
    system += KNOBS.ridge * (history.sum() + KNOBS.alpha0 * 15) ** KNOBS.nu * np.eye(KNOBS.dim)
    expected = np.linalg.solve(system, items[history].sum(axis=0))
    assert fitted.fold_in(x[4])[0] == pytest.approx(expected)


def test_ials_leaves_other_cores_to_others() -> None:
    knobs, seen = Knobs(dim=4, ridge=0.1, alpha0=0.1, nu=1.0, epochs=1), []

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    before = threads()
    Ials.fit(sparse.eye(9, format="csr"), knobs, Run(), lambda _: seen.append(threads()))
    assert seen == [{1}]
    assert threads() == before

"""recsys.recommend: who is known, what may be shown, factors that workers do not move."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from cluster.batch import Batch, objects
from cluster.rows import Resident
from cluster.run import Run
from recsys._ease import Ease
from recsys._ials import Ials, Knobs
from recsys.recommend import Config, Output, Recommend

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
        "categories": objects([item[0]] for _, item in pairs),
    }


@pytest.fixture(params=["ease", "ials"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Recommend:
    task = Recommend(
        Config(method=request.param, choose=False, ridge=5.0, dim=4, epochs=12, penalty=0.01)
    )
    task.fit(Resident(two_tastes()), Resident({}), Run())
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
    assert len(shown.items) == 20 - len(taken) - 1


def test_only_the_categories_asked_for_are_shown(model: Recommend) -> None:
    assert {item[0] for item in ask(model, user_id="u0", k=1_000, categories=["b"]).items} == {"b"}


def test_a_category_that_nothing_has_is_told_as_unknown(model: Recommend) -> None:
    shown = ask(model, user_id="u0", items=["c1"], categories=["no such"])
    assert (shown.items, shown.unknown) == ([], ["c1", "no such"])
    assert ask(model, user_id="u0", categories=["a"]).unknown == []


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

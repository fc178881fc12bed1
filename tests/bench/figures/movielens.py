"""Rank MovieLens latest-small: every rating counts, a quarter of each user's is held out."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cluster.contract.run import Run
from cluster.contract.split import PerUser
from cluster.training.data import Plan
from recsys.recommend import Config, Recommend
from tests.bench.data import stored
from tests.bench.fitting import Fitted, fitted
from tests.bench.report import Result, at_least, at_most, say, spread, told

SPLITS = 5


def results(home: Path) -> Iterator[Result]:
    """NDCG@10 over all unseen items, mean of five splits, of the default method and of iALS.

    Both choose their knobs inside the training part; the seconds hold that choice.
    """
    plan = stored(Recommend, "movielens-latest-small", home)
    best, ials = Config(), Config(method="ials")
    quality, seconds = measured(best, plan)
    yield at_least("movielens.ndcg", quality, "NDCG@10", 0.398, 0.41)
    yield at_most("movielens.seconds", seconds, "s", 30.0, 10.0)
    quality, seconds = measured(ials, plan)
    yield at_least("movielens.ials.ndcg", quality, "NDCG@10", 0.380, 0.395)
    yield told("movielens.ials.seconds", seconds, "s")


def measured(config: Config, plan: Plan) -> tuple[float, float]:
    """Mean NDCG@10 and median training seconds of a configuration over the splits."""
    fits = [_fitted(config, plan, seed) for seed in range(SPLITS)]
    scores = [fit.metrics["ndcg_at_10"] for fit in fits]
    seconds = [fit.seconds for fit in fits]
    say(f"{config.method}: NDCG@10 mean {statistics.mean(scores):.4f}, {spread(scores)}.")
    say(f"{config.method}: seconds {spread(seconds)}.")
    return statistics.mean(scores), statistics.median(seconds)


def _fitted(config: Config, plan: Plan, seed: int) -> Fitted:
    split = PerUser(valid=0.0, test=0.25, seed=seed)
    done = fitted(Recommend, config, replace(plan, split=split), Run())
    chosen = done.task.config.model_dump_json(exclude_defaults=True)
    say(
        f"{config.method}, split {seed}: NDCG@10 {done.metrics['ndcg_at_10']:.4f} "
        f"after {done.seconds:.1f} s; chose {chosen}."
    )
    return done

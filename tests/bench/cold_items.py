"""Rank items that nobody has touched among themselves: a tenth of MovieLens, and of the shop.

Every interaction with a tenth of the items, drawn at random, is taken out of the training; each
user who had one is asked for the best of these items alone. Titles and categories are known of all
items; the tags of MovieLens are not used, since people wrote them after they saw the film. They are
told apart, as what they would add.
"""

import csv
import gzip
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from cluster.batch import Batch, concat, length, objects, take
from cluster.features import shop
from cluster.rows import Resident
from cluster.run import Run
from recsys._ranking import ndcg, top_k
from recsys._said import WORD
from recsys.recommend import Config, Recommend
from tests.bench.data import folder, stored
from tests.bench.report import Result, at_least, say, spread, told

SPLITS = 5
COLD = 0.1
CONFIG = Config(choose=False)
SHOP_ROWS = 24_000


@dataclass(frozen=True)
class World:
    """Who took what, and what is known of the items.

    Attributes:
        name: for the lines that are printed.
        rows: user, item, value and time of every interaction.
        catalogue: the items' table.
    """

    name: str
    rows: Batch
    catalogue: Batch


@dataclass(frozen=True)
class Figures:
    """NDCG@10 of one split."""

    model: float
    cosine: float
    one_hot: float
    random: float


def results(home: Path) -> Iterator[Result]:
    """How many times random and content cosine the model reaches, and how far the ceiling is."""
    films = _films(home)
    yield from _measured("cold_items", films, SPLITS, cosine=True)
    yield told("cold_items.tags.ndcg", _split(_tagged(films), 0).model, "NDCG@10, split 0")
    yield from _measured("cold_items.shop", _shop(), SPLITS, cosine=False)


def _measured(name: str, world: World, splits: int, *, cosine: bool) -> Iterator[Result]:
    """The figures of a world; the shop's are only told."""
    found = [_split(world, seed) for seed in range(splits)]
    mean = {
        kind: statistics.mean(getattr(each, kind) for each in found)
        for kind in ("model", "cosine", "one_hot", "random")
    }
    say(f"{world.name}: NDCG@10 of the model {spread([each.model for each in found])}.")
    to_random, to_cosine = mean["model"] / mean["random"], mean["model"] / mean["cosine"]
    if cosine:
        yield at_least(f"{name}.ratio_random", to_random, "times", 5.0)
        yield at_least(f"{name}.ratio_cosine", to_cosine, "times", 1.5, 2.5)
    else:
        yield told(f"{name}.ratio_random", to_random, "times")
        yield told(f"{name}.ratio_cosine", to_cosine, "times")
    yield told(f"{name}.ratio_one_hot", mean["model"] / mean["one_hot"], "times")
    for kind, value in mean.items():
        yield told(f"{name}.{kind}.ndcg", value, "NDCG@10")
    yield told(f"{name}.ceiling.ndcg", _ceiling(world, 0), "NDCG@10, split 0")


def _split(world: World, seed: int) -> Figures:
    """The model, both cosines and chance on one draw of cold items."""
    cold = _cold(world, seed)
    held = np.isin(world.rows["item_id"], cold)
    train, test = take(world.rows, ~held), take(world.rows, held)
    model = _trained(train, world.catalogue)
    asked = model.questions(test)
    taken = list(asked["item_id"])
    others = sorted(set(model.names) - set(cold))
    shown = _ranked(model, {**asked, "items": objects([[]] * len(taken))}, others)
    cosine, one_hot = (
        ndcg(_by_cosine(world, train, asked, cold, weighed), taken, 10) for weighed in (True, False)
    )
    figures = Figures(ndcg(shown, taken, 10), cosine, one_hot, _by_chance(taken, len(cold)))
    say(f"{world.name}, split {seed}: {figures}")
    return figures


def _ceiling(world: World, seed: int, *, folds: int = 5) -> float:
    """What the model reaches where the others' interactions with these items are known.

    Each fifth of the users brings what they took of the other items to a model of all items that
    learnt from the rest of the users.
    """
    cold = _cold(world, seed)
    users = np.unique(world.rows["user_id"])
    fold_of = dict(
        zip(users, np.random.default_rng(seed).integers(0, folds, len(users)), strict=True)
    )
    fold = np.array([fold_of[user] for user in world.rows["user_id"]])
    held = np.isin(world.rows["item_id"], cold)
    shown, taken = [], []
    for number in range(folds):
        model = _trained(take(world.rows, fold != number), world.catalogue)
        asked = model.questions(take(world.rows, (fold == number) & held))
        known = take(world.rows, (fold == number) & ~held)
        brought = dict(_by_user(known))
        items = objects(brought.get(user, []) for user in asked["user_id"])
        others = sorted(set(model.names) - set(cold))
        shown += _ranked(model, {**asked, "items": items}, others)
        taken += list(asked["item_id"])
    return ndcg(shown, taken, 10)


def _trained(rows: Batch, catalogue: Batch) -> Recommend:
    model = Recommend(CONFIG)
    model.fit(Resident(rows), Resident({}), Run(tables={"items": catalogue}))
    return model


def _ranked(model: Recommend, asked: Batch, others: list[str]) -> list[list[str]]:
    """The ten best for each user, of all items but the others."""
    rows = length(asked)
    exclude, k = objects([others] * rows), np.full(rows, 10)
    batch = {**asked, "exclude": exclude, "k": k, "exclude_seen": np.zeros(rows, dtype=bool)}
    return [output.items for output in model.predict(model.complete(batch))]


def _by_cosine(
    world: World,
    train: Batch,
    asked: Batch,
    cold: list[str],
    weighted: bool,  # noqa: FBT001
) -> list[list[str]]:
    """The rival: the cosine of an item's words and categories to the mean of the user's items."""
    names = world.catalogue["item_id"].tolist()
    place = {name: row for row, name in enumerate(names)}
    content = _bags(world.catalogue, weighted=weighted)
    mine = dict(_by_user(train))
    histories = [[place[item] for item in mine.get(user, [])] for user in asked["user_id"]]
    profile = sparse.vstack([sparse.csr_matrix(content[rows].sum(axis=0)) for rows in histories])
    scores = (sparse.csr_matrix(profile) @ content[[place[name] for name in cold]].T).toarray()
    best, _ = top_k(scores, 10)
    return [[cold[item] for item in row] for row in best]


def _bags(catalogue: Batch, *, weighted: bool) -> sparse.csr_matrix:
    """Words of the titles and categories, of length one; TF-IDF or plain ones."""
    lists = [
        name for name, column in catalogue.items() if name not in ("item_id", "title", "event_time")
    ]
    bags = [
        {
            *WORD.findall(title.lower()),
            *(f"{name}:{word}" for name, row in zip(lists, rows, strict=True) for word in row),
        }
        for title, *rows in zip(
            catalogue["title"], *(catalogue[name] for name in lists), strict=True
        )
    ]
    count = Counter(word for bag in bags for word in bag)
    column = {word: number for number, word in enumerate(sorted(count))}
    row = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    words = [word for bag in bags for word in sorted(bag)]
    idf = [np.log(len(bags) / count[word]) + 1 if weighted else 1.0 for word in words]
    made = sparse.csr_matrix((idf, (row, [column[word] for word in words])))
    size = np.sqrt(np.asarray(made.multiply(made).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(size, 1e-12)) @ made)


def _by_chance(taken: list[list[str]], count: int) -> float:
    """The expected NDCG@10 of a random order."""
    discount = 1 / np.log2(np.arange(2, 12))
    ideal = np.cumsum(discount)
    sizes = np.array([len(set(items)) for items in taken])
    return float(np.mean(sizes / count * discount.sum() / ideal[np.minimum(sizes, 10) - 1]))


def _by_user(rows: Batch) -> Iterable[tuple[str, list[str]]]:
    """What each user took."""
    found: dict[str, list[str]] = {}
    for user, item in zip(rows["user_id"], rows["item_id"], strict=True):
        found.setdefault(user, []).append(item)
    return found.items()


def _cold(world: World, seed: int) -> list[str]:
    """A tenth of the items that anybody took."""
    touched = np.unique(world.rows["item_id"].astype(str))
    drawn = np.random.default_rng(seed).permutation(len(touched))[: round(COLD * len(touched))]
    return sorted(touched[drawn].tolist())


def _films(home: Path) -> World:
    plan = stored(Recommend, "movielens-latest-small", home)
    rows = concat([plan.rows(part).whole() for part in ("train", "test")])
    return World("MovieLens", rows, plan.whole()["items"])


def _tagged(films: World) -> World:
    """The same with the tags that people gave."""
    tags: dict[str, list[str]] = {}
    with gzip.open(folder("movielens-latest-small") / "tags.csv.gz", "rt", encoding="utf-8") as raw:
        for row in csv.DictReader(raw):
            tags.setdefault(row["movieId"], []).append(row["tag"].lower())
    column = objects(tags.get(item, []) for item in films.catalogue["item_id"])
    return World("MovieLens with tags", films.rows, {**films.catalogue, "tags": column})


def _shop() -> World:
    rng = np.random.default_rng(0)
    return World(
        "shop", shop.sample_interactions(SHOP_ROWS, rng), shop.sample_items(shop.PRODUCTS, rng)
    )

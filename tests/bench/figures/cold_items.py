"""Rank items that nobody has touched among themselves: a tenth of MovieLens, and of the shop.

Every interaction with a tenth of the items, drawn at random, is taken out of the training; each
user who had one is asked for the best of these items alone. Titles and categories are known of all
items, and of films their tags: since those who wrote tags had seen the film, only users who wrote
none are asked. The rival is the better of two cosines: of all that the model reads, and of titles
and categories alone. What the model makes of the films without their tags is told beside.
"""

import csv
import gzip
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cluster.base.batch import Batch, concat, length, objects, take
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.features.shop import shop
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
        tables: what is known of the items, `items` first.
        silent: users who are not asked, since they wrote some of it.
    """

    name: str
    rows: Batch
    tables: Mapping[str, Batch]
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Figures:
    """NDCG@10 of one split."""

    model: float
    cosine: float
    titles: float
    one_hot: float
    random: float


def results(home: Path) -> Iterator[Result]:
    """How many times random and content cosine the model reaches, and how far the ceiling is."""
    films = _films(home)
    found = _measured(films)
    rival = max(found["cosine"], found["titles"])
    yield at_least("cold_items.ratio_random", found["model"] / found["random"], "times", 5.0)
    yield at_least("cold_items.ratio_cosine", found["model"] / rival, "times", 1.5, 2.5)
    yield from _told("cold_items", films, found)
    untagged = World("MovieLens without tags", films.rows, {"items": films.tables["items"]})
    for world, name in ((untagged, "cold_items.untagged"), (_shop(), "cold_items.shop")):
        found = _measured(world)
        yield told(f"{name}.ratio_cosine", found["model"] / found["cosine"], "times")
        yield from _told(name, world, found)


def _measured(world: World) -> dict[str, float]:
    """The mean of each figure over the splits."""
    found = [_split(world, seed) for seed in range(SPLITS)]
    say(f"{world.name}: NDCG@10 of the model {spread([each.model for each in found])}.")
    return {
        kind.name: statistics.mean(getattr(each, kind.name) for each in found)
        for kind in fields(Figures)
    }


def _told(name: str, world: World, found: Mapping[str, float]) -> Iterator[Result]:
    for kind, value in found.items():
        yield told(f"{name}.{kind}.ndcg", value, "NDCG@10")
    yield told(f"{name}.ceiling.ndcg", _ceiling(world, 0), "NDCG@10, split 0")


def _split(world: World, seed: int) -> Figures:
    """The model, the cosines and chance on one draw of cold items."""
    cold = _cold(world, seed)
    held = np.isin(world.rows["item_id"], cold)
    train, test = take(world.rows, ~held), take(world.rows, held & _asked(world))
    model = _trained(train, world)
    asked = model.questions(test)
    taken = list(asked["item_id"])
    others = sorted(set(model.names) - set(cold))
    shown = _ranked(model, {**asked, "items": objects([[]] * len(taken))}, others)
    titles = replace(world, tables={"items": world.tables["items"]})
    cosines = (
        _by_cosine(rival, train, asked, cold, weighted)
        for rival, weighted in ((world, True), (titles, True), (world, False))
    )
    cosine, plain, one_hot = (ndcg(ranked, taken, 10) for ranked in cosines)
    chance = _by_chance(taken, len(cold))
    figures = Figures(ndcg(shown, taken, 10), cosine, plain, one_hot, chance)
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
        model = _trained(take(world.rows, fold != number), world)
        asked = model.questions(take(world.rows, (fold == number) & held & _asked(world)))
        known = take(world.rows, (fold == number) & ~held)
        brought = dict(_by_user(known))
        items = objects(brought.get(user, []) for user in asked["user_id"])
        others = sorted(set(model.names) - set(cold))
        shown += _ranked(model, {**asked, "items": items}, others)
        taken += list(asked["item_id"])
    return ndcg(shown, taken, 10)


def _trained(rows: Batch, world: World) -> Recommend:
    model = Recommend(CONFIG)
    model.fit(Resident(rows), Resident({}), Run(tables=world.tables))
    return model


def _asked(world: World) -> NDArray[np.bool_]:
    """The interactions of users who are asked."""
    return ~np.isin(world.rows["user_id"], sorted(world.silent))


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
    place = {name: row for row, name in enumerate(world.tables["items"]["item_id"])}
    content = _bags(world.tables, weighted=weighted)
    mine = dict(_by_user(train))
    histories = [[place[item] for item in mine.get(user, [])] for user in asked["user_id"]]
    profile = sparse.vstack([sparse.csr_matrix(content[rows].sum(axis=0)) for rows in histories])
    scores = (sparse.csr_matrix(profile) @ content[[place[name] for name in cold]].T).toarray()
    best, _ = top_k(scores, 10)
    return [[cold[item] for item in row] for row in best]


def _bags(tables: Mapping[str, Batch], *, weighted: bool) -> sparse.csr_matrix:
    """Words of the titles, categories and tags, of length one; TF-IDF or plain ones."""
    words_of: dict[str, set[str]] = {name: set() for name in tables["items"]["item_id"]}
    for table in tables.values():
        for column in set(table) & {"title", "categories", "tags"}:
            for name, said in zip(table["item_id"], table[column], strict=True):
                words = WORD.findall(said.lower()) if isinstance(said, str) else said
                words_of[name].update(f"{column}:{word}" for word in words)
    bags = list(words_of.values())
    count = Counter(word for bag in bags for word in bag)
    number = {word: place for place, word in enumerate(sorted(count))}
    row = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    every = [word for bag in bags for word in sorted(bag)]
    idf = [np.log(len(bags) / count[word]) + 1 if weighted else 1.0 for word in every]
    made = sparse.csr_matrix((idf, (row, [number[word] for word in every])))
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
    catalogue = plan.whole()["items"]
    tags: dict[str, list[str]] = {name: [] for name in catalogue["item_id"]}
    wrote = set()
    with gzip.open(folder("movielens-latest-small") / "tags.csv.gz", "rt", encoding="utf-8") as raw:
        for row in csv.DictReader(raw):
            tags[row["movieId"]].append(row["tag"].lower())
            wrote.add(row["userId"])
    tagged = {"item_id": objects(tags), "tags": objects(tags.values())}
    return World("MovieLens", rows, {"items": catalogue, "item_tags": tagged}, frozenset(wrote))


def _shop() -> World:
    rng = np.random.default_rng(0)
    rows = shop.sample_interactions(SHOP_ROWS, rng)
    return World("shop", rows, {"items": shop.sample_items(shop.PRODUCTS, rng)})

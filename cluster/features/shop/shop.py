"""Make up one small shop: products with looks and words, customers with tastes, what they bought.

Everything is drawn from one fixed world, so that the views' samples belong together: the picture
`p0042-3` shows product `p0042`, the review `p0042-r1` is about it, and customers who like its
category and its style buy it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Arrays, objects
from cluster.features.schema.column import ALWAYS
from cluster.features.shop.pictures import SHAPES, draw
from cluster.features.shop.words import review

WORLD = 20_240_501
PRODUCTS = 300
USERS = 400
STYLES = (
    ("amber", "crimson", "emerald", "azure", "violet", "rose"),
    ("plain", "rustic", "modern", "ornate"),
)
_OPENED = np.datetime64("2024-01-01", "us")
_DAY = np.timedelta64(86_400_000_000, "us")


@dataclass(frozen=True)
class Product:
    """Something on sale.

    Args:
        item_id: its key.
        category: what it is, and which shape its pictures show.
        colour: which of the six colours, as words in its title and as the hue of its pictures.
        finish: which of the four finishes.
        appeal: how well it sells to everybody, as a log-odds.
        quality: how often its reviews praise it, 0 to 1.
    """

    item_id: str
    category: str
    colour: int
    finish: int
    appeal: float
    quality: float

    @property
    def title(self) -> str:
        """As it stands in the catalogue, such as `Crimson rustic kite 42`."""
        words = (STYLES[0][self.colour], STYLES[1][self.finish], self.category)
        return f"{' '.join(words).capitalize()} {int(self.item_id[1:])}"


@cache
def product(number: int) -> Product:
    """The product of that number: the same in every process."""
    rng = np.random.default_rng((WORLD, 1, number))
    return Product(
        item_id=f"p{number:04d}",
        category=SHAPES[number % len(SHAPES)],
        colour=int(rng.integers(len(STYLES[0]))),
        finish=int(rng.integers(len(STYLES[1]))),
        appeal=float(rng.normal(0, 0.9)),
        quality=float(rng.beta(4, 4)),
    )


def sample_images(n: int, rng: np.random.Generator) -> Arrays:
    """`n` pictures, 32 x 32 RGB, spread evenly over the products; the label is the category."""
    shown = _spread(n, rng)
    return {
        "image_id": _numbered(shown, "-"),
        "image": objects(draw(product(p).category, product(p).colour, rng) for p in shown),
        "label": objects(product(p).category for p in shown),
        "event_time": np.full(n, ALWAYS),
    }


def sample_item_images(n: int, rng: np.random.Generator) -> Arrays:
    """A picture of each of the first `n` products, 32 x 32 RGB, in any order."""
    chosen = [product(int(p)) for p in rng.permutation(n)]
    return {
        "item_id": objects(p.item_id for p in chosen),
        "image": objects(draw(p.category, p.colour, rng) for p in chosen),
        "event_time": np.full(n, ALWAYS),
    }


def sample_texts(n: int, rng: np.random.Generator) -> Arrays:
    """`n` reviews, spread evenly over the products; the label is positive or negative."""
    about = _spread(n, rng)
    praise = rng.random(n) < [0.15 + 0.7 * product(p).quality for p in about]
    written = [
        review(product(p).category, rng, good=bool(good))
        for p, good in zip(about, praise, strict=True)
    ]
    return {
        "text_id": _numbered(about, "-r"),
        "text": objects(text for text, _ in written),
        "label": objects(label for _, label in written),
        "event_time": np.full(n, ALWAYS),
    }


def sample_items(n: int, rng: np.random.Generator) -> Arrays:
    """The first `n` products of the catalogue, in any order."""
    chosen = [product(int(p)) for p in rng.permutation(n)]
    return {
        "item_id": objects(p.item_id for p in chosen),
        "title": objects(p.title for p in chosen),
        "categories": objects(
            [p.category, STYLES[0][p.colour], STYLES[1][p.finish]] for p in chosen
        ),
        "event_time": np.full(n, ALWAYS),
    }


def sample_users(n: int, rng: np.random.Generator) -> Arrays:
    """The first `n` customers, in any order."""
    return {
        "user_id": objects(f"u{user:04d}" for user in rng.permutation(n)),
        "event_time": np.full(n, ALWAYS),
    }


def sample_interactions(n: int, rng: np.random.Generator) -> Arrays:
    """`n` purchases over a year in order of time, some sixty a customer, none of one thing twice.

    Each customer has tastes of their own, the same in every sample; what sells well to everybody
    is bought more by everybody.
    """
    users = int(np.clip(n // 60, min(max(n, 1), 8), max(USERS, n // 150)))
    counts = _shares(n, rng.lognormal(0, 0.5, users))
    bought = [_basket(user, int(count), rng) for user, count in enumerate(counts)]
    order = rng.permutation(n)
    who = np.repeat(np.arange(users), counts)[order]
    days = np.sort(rng.random(n) * 365)
    return {
        "user_id": objects(f"u{user:04d}" for user in who),
        "item_id": objects(product(int(p)).item_id for p in np.concatenate(bought)[order]),
        "value": np.ones(n),
        "event_time": _OPENED + (days * _DAY.astype(int)).astype("m8[us]"),
    }


@cache
def _traits() -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Of each product its category, colour and finish `[products, 3]`, and its appeal."""
    stock = [product(number) for number in range(PRODUCTS)]
    kinds = [(SHAPES.index(p.category), p.colour, p.finish) for p in stock]
    return np.array(kinds), np.array([p.appeal for p in stock])


def _basket(user: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """What a customer buys: a draw without replacement, by taste and appeal."""
    traits, appeal = _traits()
    tastes = np.random.default_rng((WORLD, 2, user))
    liking = appeal.copy()
    for trait, strength in enumerate((1.4, 1.0, 0.7)):
        liking += (strength * tastes.normal(size=traits[:, trait].max() + 1))[traits[:, trait]]
    # The largest of utilities with Gumbel noise are a draw by softmax without replacement.
    wishes: NDArray[np.intp] = np.argsort(-(liking + rng.gumbel(size=len(liking))))
    return wishes[:count]


def _shares(n: int, weights: NDArray[np.float64]) -> NDArray[np.intp]:
    """Whole numbers about in proportion to the weights, `n` in all, none near the catalogue."""
    most = PRODUCTS * 3 // 5
    even: NDArray[np.float64] = np.floor(n * weights / weights.sum())
    counts = np.minimum(even, most).astype(np.intp)
    while (short := n - int(counts.sum())) > 0:
        counts[np.flatnonzero(counts < most)[:short]] += 1
    return counts


def _spread(n: int, rng: np.random.Generator) -> list[int]:
    """Product numbers `[n]`, each as often as any other, in any order."""
    whole = [rng.permutation(PRODUCTS) for _ in range(-(-n // PRODUCTS))]
    return [int(p) for p in np.concatenate([*whole, np.empty(0, np.intp)])[:n]]


def _numbered(products: list[int], mark: str) -> NDArray[np.object_]:
    """Keys that name the product and count within it."""
    seen: dict[int, int] = {}
    keys = []
    for number in products:
        seen[number] = seen.get(number, -1) + 1
        keys.append(f"{product(number).item_id}{mark}{seen[number]}")
    return objects(keys)

from collections import Counter

import numpy as np
import pytest

from cluster.features.schema.view import Sample
from cluster.features.shop import shop
from cluster.features.shop.pictures import SHAPES


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("rows", [0, 1, 7, 350])
@pytest.mark.parametrize(
    "sample",
    [
        shop.sample_images,
        shop.sample_texts,
        shop.sample_items,
        shop.sample_users,
        shop.sample_interactions,
    ],
)
def test_a_sample_has_as_many_rows_as_asked_and_no_key_twice(sample: Sample, rows: int) -> None:
    drawn = sample(rows, rng())
    assert {len(column) for column in drawn.values()} == {rows}
    keys = [name for name in drawn if name.endswith("_id")]
    assert len(set(zip(*(drawn[name] for name in keys), strict=True))) == rows


def test_the_same_seed_draws_the_same_rows() -> None:
    left, right = (shop.sample_images(5, rng()) for _ in range(2))
    assert left["image_id"].tolist() == right["image_id"].tolist()
    assert all((a == b).all() for a, b in zip(left["image"], right["image"], strict=True))
    assert (
        shop.sample_texts(9, rng())["text"].tolist() == shop.sample_texts(9, rng())["text"].tolist()
    )


def test_pictures_reviews_and_purchases_are_of_the_items_on_sale() -> None:
    items = shop.sample_items(shop.PRODUCTS, rng())
    category = dict(zip(items["item_id"], (c[0] for c in items["categories"]), strict=True))
    pictures = shop.sample_images(600, rng())
    shown = [key.split("-")[0] for key in pictures["image_id"]]
    assert [category[item] for item in shown] == pictures["label"].tolist()
    assert set(Counter(shown).values()) == {2}
    reviews = shop.sample_texts(600, rng())
    assert {key.split("-")[0] for key in reviews["text_id"]} == set(category)
    assert set(shop.sample_interactions(5000, rng())["item_id"]) <= set(category)


def test_pictures_are_small_colour_photographs_of_eight_things() -> None:
    pictures = shop.sample_images(300, rng())
    assert {pixels.shape for pixels in pictures["image"]} == {(32, 32, 3)}
    assert {pixels.dtype for pixels in pictures["image"]} == {np.dtype(np.uint8)}
    assert set(pictures["label"]) == set(SHAPES)
    assert len(SHAPES) == 8


def test_reviews_use_the_words_of_both_moods_in_both_moods() -> None:
    reviews = shop.sample_texts(2000, rng())
    good = reviews["label"] == "positive"
    assert 0.4 < good.mean() < 0.6
    praises = np.array(["lovely" in text for text in reviews["text"]])
    assert 0.1 < (praises & ~good).sum() / praises.sum() < 0.5  # negation and mixed feelings


def test_customers_have_tastes_that_differ_from_what_sells_best() -> None:
    bought = shop.sample_interactions(25_000, rng())
    users, rows = np.unique(bought["user_id"].astype(str), return_inverse=True)
    things, columns = np.unique(bought["item_id"].astype(str), return_inverse=True)
    assert len(users) == shop.USERS
    seen = np.zeros((len(users), len(things)))
    hidden = rng().random(len(rows)) < 0.25
    seen[rows[~hidden], columns[~hidden]] = 1
    truth = np.zeros_like(seen)
    truth[rows[hidden], columns[hidden]] = 1
    # EASE (Steck 2019) in three lines: what was bought together predicts what was hidden.
    inverse = np.linalg.inv(seen.T @ seen + 150 * np.eye(len(things)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)

    def hits(scores: np.ndarray) -> float:
        best = np.argsort(np.where(seen > 0, np.inf, -scores), axis=1)[:, :10]
        return float(np.take_along_axis(truth, best, 1).mean())

    popular, personal = hits(np.tile(seen.sum(0), (len(users), 1))), hits(seen @ weights)
    assert popular > 2 * truth.mean()
    assert personal > 1.7 * popular


def test_purchases_run_through_one_year_in_order() -> None:
    moments = shop.sample_interactions(3000, rng())["event_time"]
    assert (np.diff(moments) >= np.timedelta64(0, "us")).all()
    assert moments[0] >= np.datetime64("2024-01-01")
    assert moments[-1] < np.datetime64("2025-01-01")

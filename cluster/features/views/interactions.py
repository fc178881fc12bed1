"""Hold who did what with what and when, and what is known of the items and the users."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cluster.base.batch import length, objects
from cluster.features.intake.mapping import ITEM, Wanted, read_tables
from cluster.features.schema.column import Number, Text
from cluster.features.schema.ragged import Texts
from cluster.features.schema.view import Piece, Reject, Skipped, View
from cluster.features.shop import shop

USER = ("userid", "user", "uid", "customerid", "customer")

INTERACTIONS = Wanted(
    names={
        "user_id": USER,
        "item_id": ITEM,
        "value": ("value", "rating", "score", "quantity", "weight"),
        "event_time": (
            "eventtime", "timestamp", "time", "datetime", "date", "ts", "invoicedate", "orderdate",
            "createdat",
        ),
    },
    needed=("user_id", "item_id"),
    files=("ratings", "interactions", "events", "purchases", "orders", "u.data"),
    timed=True,
)  # fmt: skip
ITEMS = Wanted(
    names={
        "item_id": (*ITEM, "id"),
        "title": ("title", "name", "description"),
        "categories": ("categories", "category", "genres", "genre", "tags"),
    },
    needed=("item_id", "title"),
    files=("items", "movies", "products", "catalog", "u.item"),
)
USERS = Wanted(
    names={"user_id": (*USER, "id")}, needed=("user_id",), files=("users", "customers", "u.user")
)


def read_interactions(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Interactions from CSV, TSV, JSON lines or Parquet, mapped or by the names in `INTERACTIONS`.

    A row without a value counts 1. In a table without times every row has held always; one whose
    times are not recognised is refused, unless `event_time=-` says that it has none. Of a folder's
    tables the one called ratings, interactions, events, purchases or orders is read.
    """
    for rows in read_tables(path, columns, INTERACTIONS):
        if isinstance(rows, Reject | Skipped) or "value" in rows:
            yield rows
        else:
            yield {**rows, "value": np.ones(length(rows))}


def read_items(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Items from a table, mapped or by the names in `ITEMS`; categories have `|` between them."""
    for rows in read_tables(path, columns, ITEMS):
        if isinstance(rows, Reject | Skipped):
            yield rows
            continue
        nothing = objects([None] * length(rows))
        # This is how MovieLens writes an empty list.
        known = [
            None if value == "(no genres listed)" else value
            for value in rows.get("categories", nothing)
        ]
        yield {**rows, "categories": objects(known)}


def read_users(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Users from a table, mapped or by the names in `USERS`."""
    return read_tables(path, columns, USERS)


interactions = View(
    name="interactions",
    key=("user_id", "item_id"),
    columns={"value": Number()},
    sample=shop.sample_interactions,
    read=read_interactions,
    description="What users did with items: ratings, purchases, views. What a user's values of an "
    "item add up to says whether they took it: 0 or less is a return or a dislike.",
)
items = View(
    name="items",
    key=("item_id",),
    columns={"title": Text(), "categories": Texts()},
    sample=shop.sample_items,
    read=read_items,
    description="What is offered: products, films, articles.",
)
users = View(
    name="users",
    key=("user_id",),
    columns={},
    sample=shop.sample_users,
    read=read_users,
    description="Whom it is offered to.",
)

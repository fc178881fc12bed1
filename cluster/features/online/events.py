"""Say which events windows look at, and so which of them are kept by key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from cluster.features.derived.aggregates import Aggregate, Last, Since
from cluster.features.derived.windows import Windows
from cluster.features.online.packing import Types, types_of
from cluster.features.schema.view import View


@dataclass(frozen=True)
class Retention:
    """Which events are kept for windows, and what of them.

    Args:
        types: the columns of the events that are looked at, and their Arrow types.
        within: how many microseconds back windows look.
        last: how many of the newest events are looked at, however old: at least one, which tells
            that there were any.
        every: whether all events are looked at.
    """

    types: Types
    within: int = 0
    last: int = 1
    every: bool = False

    @classmethod
    def of(cls, view: Windows) -> Self:
        """What the columns of a view look at; a narrowed view needs less."""
        used = [view.aggregates[name] for name in view.columns]
        lengths = [a.within // timedelta(microseconds=1) for a in used if a.within is not None]
        always = [a for a in used if a.within is None]
        types = types_of(view.event_columns)
        wanted = {a.column for a in used}
        return cls(
            {name: kind for name, kind in types.items() if name in wanted},
            max(lengths, default=0),
            max(map(_last, always), default=1),
            any(not isinstance(a, Last | Since) for a in always),
        )

    @classmethod
    def read(cls, declaration: str) -> Self:
        """What `declaration` wrote."""
        return cls(**json.loads(declaration))

    @property
    def declaration(self) -> str:
        """As a text, the same for the same."""
        held = {"types": dict(sorted(self.types.items())), "within": self.within}
        return json.dumps({**held, "last": self.last, "every": self.every})

    def covers(self, other: "Retention") -> bool:
        """Whether who needs the other finds all of it here."""
        deep = not other.every and self.within >= other.within and self.last >= other.last
        return (self.every or deep) and other.types.items() <= self.types.items()

    def joined(self, other: "Retention") -> "Retention":
        """What covers both; a column of two types has the other's."""
        return Retention(
            {**self.types, **other.types},
            max(self.within, other.within),
            max(self.last, other.last),
            self.every or other.every,
        )


Streams = Mapping[str, tuple[tuple[str, ...], Retention]]
"""By shelf the key that events are kept by, and what is kept of them."""


def shelf_of(over: View, key: Sequence[str]) -> str:
    """Where the events of a view by a part of their key are kept: once for all windows."""
    return f"{over.name}/{','.join(key)}"


def streams_of(views: Sequence[Windows]) -> Streams:
    """The events that some windows need: once for those over the same events by the same key."""
    found: dict[str, tuple[tuple[str, ...], Retention]] = {}
    for view in views:
        shelf, kept = shelf_of(view.over, view.key), Retention.of(view)
        found[shelf] = (view.key, found[shelf][1].joined(kept) if shelf in found else kept)
    return found


def _last(aggregate: Aggregate) -> int:
    return aggregate.n if isinstance(aggregate, Last) else 1

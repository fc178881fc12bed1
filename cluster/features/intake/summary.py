"""Summarise what an ingest made of its files, and warn of what looks wrong in them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Arrays, length
from cluster.contract import classes
from cluster.features.intake.dates import SAY_FORMAT
from cluster.features.intake.doubts import Doubts, alike
from cluster.features.schema.column import ALWAYS, Number
from cluster.features.schema.view import Reject, Skipped, Unused, View

LABEL, VALUE = "label", "value"
MOST_LABELS = 10_000
"""How many different labels are counted one by one."""
FEWEST = 3
"""How many rows a user needs before a quarter of them, rounded, is a row to measure with."""
MANY_LABELS = 30
"""From so many on, labels of which most have one row are more likely no labels."""
PLACES = 3
_NOW = np.datetime64("9999-12-31", "us")
_YEAR_1971 = np.datetime64("1971-01-01", "us")
_SEGMENTED = frozenset(("images", "image", "imgs", "img", "masks", "mask"))
_FLOAT = r"^-?\d+\.0+$"


@dataclass(frozen=True)
class Reason:
    """Why rows were rejected or files skipped: one kind of reason.

    Args:
        example: the first of them, word for word.
        count: how many.
        places: where the first of them stand.
    """

    example: str
    count: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """What an ingest made of its files, over the rows that were good.

    Args:
        counts: rows by part, empty where the source names none, and label, empty where rows have
            none.
        copies: rows whose content another row of the source has, too; None where rows have no
            content of their own.
        reasons: why rows were rejected, the commonest first.
        skipped: why files were not read.
        unused: by table the columns that were not read.
        warnings: sentences about what looks wrong.
    """

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    copies: int | None = None
    reasons: Sequence[Reason] = ()
    skipped: Sequence[Reason] = ()
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: Sequence[str] = ()


class Tally:
    """Counts good rows as they come; it keeps 44 bytes a row of content, or 8 of a pair of keys.

    Rows that a later one of the same key and moment supersedes are no part of the summary.

    Args:
        view: whose rows they are.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.rows = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.uncounted = 0
        self.not_positive = 0
        self.floats = dict.fromkeys((*view.key, *({LABEL} & view.columns.keys())), "")
        self.doubts = Doubts(view)
        self.first: np.datetime64 | None = None
        self.last: np.datetime64 | None = None
        self._rows: list[pl.DataFrame] = []
        self._owners: list[NDArray[np.uint64]] = []

    def add(self, good: Arrays, places: Sequence[str] = ()) -> None:
        """Count admitted rows; `places` says where each stands, if it is known."""
        self.rows += length(good)
        if not length(good):
            return
        self.doubts.add(good, places)
        pairs = self._count(good)
        self._times(good.get("event_time"))
        for name in list(self.floats):
            values = good[name]
            # one look at the first value spares nearly all tables the look at the others
            odd = re.match(_FLOAT, values[0]) and pl.Series(values.tolist()).str.contains(_FLOAT)
            if odd is None or not odd.all():
                del self.floats[name]
            else:
                self.floats[name] = self.floats[name] or values[0]
        if self.view.named_by or LABEL in self.view.columns:
            self._rows.append(self._marks(good, pairs))
        if len(self.view.key) > 1:
            self._owners.append(hashes(good[self.view.key[0]]))
            if isinstance(self.view.columns.get(VALUE), Number):
                self.not_positive += int((good[VALUE] <= 0).sum())

    def summary(self, rejects: Sequence[Reject] = (), skipped: Sequence[Skipped] = ()) -> Summary:
        """What was counted, and what was left out."""
        self._drop_superseded()
        copies, torn = self._copies()
        return Summary(
            counts=dict(self.counts),
            copies=copies,
            reasons=reasons(rejects),
            skipped=reasons([one for one in skipped if not isinstance(one, Unused)]),
            unused={one.where: one.columns for one in skipped if isinstance(one, Unused)},
            warnings=[*torn, *self._warnings()],
        )

    def _copies(self) -> tuple[int | None, list[str]]:
        """How many rows hold what a row before them holds, and what tears such rows apart."""
        if not self._rows or not self.view.named_by:
            return None, []
        rows = pl.concat(self._rows)
        copied = rows.filter(pl.col("content").is_duplicated())
        each = copied.group_by("content").agg(pl.all().n_unique())
        labels, parts = (int((each[name] > 1).sum()) for name in (LABEL, "split"))
        what, found = f"{self.view.named_by.capitalize()}s that stand in the source", []
        if labels:
            found.append(
                f"{what} with more than one label: {labels:,}. At most one label of each is right."
            )
        if parts:
            found.append(
                f"{what} in more than one of its parts: {parts:,}. A score on rows that were "
                "learnt from flatters."
            )
        return len(copied) - len(each), found

    def _count(self, good: Arrays) -> NDArray[np.int32]:
        """Count rows by part and label; per row the place of its pair in `counts`, or -1."""
        blank = np.full(length(good), "", dtype=object)
        each = list(zip(good.get("split", blank), good.get(LABEL, blank), strict=True))
        for pair, rows in Counter(each).items():
            if pair in self.counts or len(self.counts) < MOST_LABELS:
                self.counts[pair] += rows
            else:
                self.uncounted += rows
        places = {pair: at for at, pair in enumerate(self.counts)}
        return np.array([places.get(pair, -1) for pair in each], np.int32)

    def _marks(self, good: Arrays, pairs: NDArray[np.int32]) -> pl.DataFrame:
        """Per row hashes of its key and content, when it was created, and its part and label."""
        rows = length(good)
        moments = good.get("event_time", np.full(rows, ALWAYS)).astype("M8[us]")
        key = {name: hashes(good[name]) for name in self.view.key}
        marks = {
            "row": pl.DataFrame({**key, "event_time": moments.astype(np.int64)}).hash_rows(),
            # rows that do not say it are created as they come in, after those that do
            "created": good.get("created", np.full(rows, _NOW)).astype("M8[us]").astype(np.int64),
            "pair": pairs,
        }
        if self.view.named_by:
            named = {"content": self.view.named_by, LABEL: LABEL, "split": "split"}
            for name, column in named.items():
                marks[name] = hashes(good[column]) if column in good else np.zeros(rows, np.uint64)
        return pl.DataFrame(marks)

    def _drop_superseded(self) -> None:
        """Take back the counts of rows of which a later one of the same key and moment is here."""
        if not self._rows:
            return
        rows = pl.concat(self._rows).with_row_index("at")
        if not rows["created"].is_sorted():
            rows = rows.sort("created", maintain_order=True)
        live = rows.unique("row", keep="last", maintain_order=True)
        lost = rows.join(live.select("at"), on="at", how="anti")["pair"].value_counts()
        pairs = list(self.counts)
        for place, count in lost.iter_rows():
            if place < 0:
                self.uncounted -= count
            else:
                self.counts[pairs[place]] -= count
        self.counts = +self.counts
        self.rows = len(live)
        self._rows = [live.drop("at")]

    def _times(self, moments: NDArray[Any] | None) -> None:
        if moments is not None:
            low, high = moments.min(), moments.max()
            self.first = low if self.first is None else min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)

    def _early(self) -> bool:
        """Whether all times lie in 1970, and not all at its begin, which means always."""
        if self.first is None or self.last is None:
            return False
        return bool(self.first >= ALWAYS and ALWAYS < self.last < _YEAR_1971)

    def _warnings(self) -> Iterator[str]:
        if LABEL in self.view.columns:
            yield from self._labels(classes.by_label(self.counts))
        yield from self._parts()
        yield from self.doubts.warnings()
        for name, example in self.floats.items() if self.rows else ():
            yield (
                f"Every {name} reads as a fraction, such as {example!r}: a program wrote whole "
                "numbers so, and another source may call the same thing "
                f"{example.split('.')[0]!r}. Write them as whole numbers, or they do not meet."
            )
        if self.first is not None and self.first == self.last and self.rows > 1:
            moment = np.datetime_as_string(self.first, unit="s")
            yield (
                f"All {self.rows:,} rows have the event time "
                f"{'1970-01-01 (0)' if self.first == ALWAYS else f'{moment}Z'}: is that when the "
                "file was written? --map event_time=- says that there are no times."
            )
        yield from self._owned()
        yield from self._negative()
        if self._early():
            times = np.array([self.first, self.last], "M8[us]")
            low, high = np.datetime_as_string(times, unit="s")
            yield (
                f"All event times lie in 1970, from {low}Z to {high}Z: numbers as small as those "
                "of rows, days or years read so as unix time. Say how they are written, as in "
                f"{SAY_FORMAT}, or that there are no times: --map event_time=-"
            )

    def _labels(self, labels: Counter[str]) -> Iterator[str]:
        yield from classes.warnings(self.counts)
        if len(labels) == 1 and self.rows > 1:
            yield (
                f"All {self.rows:,} rows have the label {next(iter(labels))!r}: a classifier needs "
                "rows of at least two."
            )
        if len(labels) == 2 and {label.lower() for label in labels} <= _SEGMENTED:
            yield (
                f"The labels {classes.listed(sorted(labels))} read as folders of pictures and of "
                "their masks, which are no classes: name a folder that holds a folder per class, "
                "or a table with labels."
            )
        if self.uncounted or (len(labels) > MANY_LABELS and len(labels) > self.rows / 2):
            yield (
                f"{'Over ' * bool(self.uncounted)}{len(labels):,} different labels for "
                f"{self.rows:,} rows: is {LABEL} the right column?"
            )
        yield from spellings(labels)

    def _parts(self) -> Iterator[str]:
        """Whether the source puts all rows in one part."""
        parts = classes.by_part(self.counts)
        if len(parts) == 1 and "" not in parts:
            yield (
                f"All {self.rows:,} rows are in the {next(iter(parts))} part, as the name of their "
                "file or folder or a column `split` says. Training needs rows in train and in "
                "test: bring the other part too, or take that word out of the name."
            )

    def _owned(self) -> Iterator[str]:
        """Whether anybody has enough rows for others to be predicted from them."""
        if not self._owners or self.rows < 2:
            return
        owner, about = self.view.key[0], " and ".join(self.view.key[1:])
        most = int(np.unique(np.concatenate(self._owners), return_counts=True)[1].max())
        if most < FEWEST:
            has = "has one row" if most == 1 else f"has at most {most} rows"
            yield (
                f"Every {owner} {has}: nothing tells which {about} values go together, and no row "
                f"of theirs can be kept to measure with. Is {owner} the number of an order or a "
                f"session? Map the column that says who it was: --map {owner}=NAME."
            )

    def _negative(self) -> Iterator[str]:
        if self.not_positive:
            some = f"{self.not_positive:,} of" if self.not_positive < self.rows else "All"
            yield (
                f"{some} {self.rows:,} rows have a value of 0 or less. They count against what the "
                "same user took of the same item; where the sum is 0 or less, the user did not "
                "take it. If 0 or less is no return and no dislike here, leave the column out, "
                "and every row counts 1: --map value=-"
            )


def hashes(values: NDArray[Any]) -> NDArray[np.uint64]:
    """A 64-bit hash of each text or bytes `[n]`, the same within one process."""
    return pl.Series(values.tolist()).hash().to_numpy()


def reasons(found: Sequence[Reject | Skipped]) -> list[Reason]:
    """What was left out by kind of reason: those that differ by numbers and quotes are one kind."""
    kinds: dict[str, list[Reject | Skipped]] = {}
    counts: Counter[str] = Counter()
    for one in found:
        kind = re.sub(r"""'[^']*'|"[^"]*"|\d[\d,.:TZ-]*""", "#", one.reason)
        counts[kind] += 1
        first = kinds.setdefault(kind, [])
        if len(first) < PLACES:
            first.append(one)
    return [
        Reason(kinds[kind][0].reason, count, tuple(one.where for one in kinds[kind]))
        for kind, count in counts.most_common()
    ]


def spellings(labels: Mapping[str, int]) -> list[str]:
    """A sentence where labels differ by case, spaces or Unicode form alone."""
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(alike(label), []).append(label)
    groups = [sorted(group) for group in found.values() if len(group) > 1]
    if not groups:
        return []
    shown = "; ".join(
        " and ".join(f"{_shown(label)} ({labels[label]:,} rows)" for label in group)
        for group in groups[:PLACES]
    )
    more = f"; {len(groups) - PLACES:,} more" if len(groups) > PLACES else ""
    how = "Labels that differ by case, spaces or Unicode form alone are different labels"
    return [f"{how}: {shown}{more}."]


def _shown(label: str) -> str:
    """A label, with codes for letters in a form that looks like another."""
    return repr(label) if unicodedata.is_normalized("NFC", label) else ascii(label)

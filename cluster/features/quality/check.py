"""Check stored rows for what makes a model or its score wrong, and name rows to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, concat, length, numbered, take
from cluster.contract.split import TEST, TRAIN, ByKey, Split
from cluster.features.intake.summary import LABEL, Summary, Tally
from cluster.features.offline.snapshot import Snapshot
from cluster.features.quality.copies import across, copies_of, plain
from cluster.features.quality.encode import encode
from cluster.features.quality.leakage import facts, named, telling
from cluster.features.quality.noise import FEWEST, MOST_WEIGHTS, doubted, out_of_fold
from cluster.features.quality.outliers import outliers
from cluster.features.quality.shingles import near_copies
from cluster.features.schema.column import ALWAYS, Text
from cluster.features.schema.view import View
from cluster.media.media import Media

SAMPLE, FILES = 20_000, 5_000
"""How many rows are looked at one by one, and how many where each holds a file."""
LEAK = 0.9
"""A fact that tells labels so well alone, where guessing has 0 and a perfect one 1, is a leak."""
NAMES_ITSELF = 0.8
WEAK = 0.85
"""A model that is right less often doubts more sound labels than wrong ones."""
EXCERPT = 60
MOST = 200
"""How many rows a finding names."""
SEED = 0


@dataclass(frozen=True)
class Suspect:
    """A row to look at.

    Args:
        key: what names it.
        why: what is odd about it.
        excerpt: how its text begins.
    """

    key: tuple[str, ...]
    why: str
    excerpt: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of trouble.

    Args:
        kind: copies, labels, leakage or outliers.
        sentence: what was found and what it means.
        count: how many rows it is about.
        rows: the worst of them.
    """

    kind: str
    sentence: str
    count: int
    rows: Sequence[Suspect] = ()


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Args:
        view: the view's name.
        rows: how many are stored.
        looked_at: how many of them were looked at one by one; all are counted and compared.
        summary: of all rows, as an ingest of them would give it.
        findings: what was found, in the order in which it should be looked at.
    """

    view: str
    rows: int
    looked_at: int
    summary: Summary
    findings: Sequence[Finding]


def check(
    view: View, snapshot: Snapshot, *, split: Split | None = None, sample: int | None = None
) -> Checked:
    """Look for copies, wrong labels, leaks and outliers among stored rows.

    Memory is that of one stored file and of the rows that are looked at one by one.

    Args:
        view: what the rows are.
        snapshot: of it.
        split: of the capability that learns from them; by default by key.
        sample: how many rows to look at one by one; by default `SAMPLE`, or `FILES`.
    """
    filed = any(isinstance(kind, Media) for kind in view.columns.values())
    most = sample or (FILES if filed else SAMPLE)
    rows, sizes, numbers, summary = _read(view, snapshot, most)
    findings = [
        *_copies(view, snapshot, split or ByKey()),
        *_near(view, rows),
        *_labelled(view, rows, sizes),
        *_outliers(view, rows),
    ]
    return Checked(view.name, snapshot.rows, len(numbers), summary, findings)


def _read(
    view: View, snapshot: Snapshot, most: int
) -> tuple[Arrays, dict[str, NDArray[Any]], NDArray[np.int64], Summary]:
    """A sample of the rows, the bytes of their files, their numbers, and a summary of all."""
    filed = [name for name, kind in view.columns.items() if isinstance(kind, Media)]
    drawn = np.sort(np.random.default_rng(SEED).permutation(snapshot.rows)[:most])
    tally, start = Tally(view), 0
    pieces: list[Arrays] = []
    bytes_of: dict[str, list[int]] = {name: [] for name in filed}
    for file in snapshot.files:
        table = snapshot.rows_of(file, list(view.schema))
        packed = _packed(view, table, filed)
        if (packed["event_time"] == ALWAYS).all():  # rows without times are stored so
            del packed["event_time"]
        tally.add(packed)
        mine = drawn[(drawn >= start) & (drawn < start + table.num_rows)] - start
        start += table.num_rows
        if len(mine):
            some = table.take(pa.array(mine))
            pieces.append(dict(view.unpack(some)))
            for name in filed:
                bytes_of[name] += [len(data) for data in some[name].to_pylist()]
    sizes = {name: np.array(found) for name, found in bytes_of.items()}
    return concat(pieces), sizes, drawn, tally.summary()


def _packed(view: View, table: pa.Table, filed: Sequence[str]) -> Arrays:
    """The columns of rows, files as their bytes."""
    return {
        name: np.array([*table[name].to_pylist(), None], dtype=object)[:-1]
        if name in filed
        else column.unpack(table[name])
        for name, column in view.schema.items()
    }


def _copies(view: View, snapshot: Snapshot, split: Split) -> Iterator[Finding]:
    """Rows that hold the same as others, with other labels or in another part."""
    if not view.named_by:
        return
    wanted = [*view.key, "event_time", "split", *split.columns, *({LABEL} & view.columns.keys())]
    if isinstance(view.columns[view.named_by], Text):
        wanted.append(view.named_by)
    rows, first = snapshot.read(view, wanted), copies_of(snapshot, view).alike

    def finding(
        kind: str, sentence: str, copies: NDArray[np.int64], others: NDArray[np.int64] = first
    ) -> Iterator[Finding]:
        if len(copies):
            said = f"{len(copies):,} {sentence}"
            suspects = [_copy(view, rows, row, int(others[row])) for row in copies[:MOST].tolist()]
            yield Finding(kind, said, len(copies), suspects)

    copied = np.flatnonzero(first != np.arange(len(first)))
    labels = rows.get(LABEL, np.zeros(len(first)))
    yield from finding(
        "labels",
        "rows hold the same as another row, and have another label: at most one of the two is "
        "right.",
        copied[labels[copied] != labels[first[copied]]],
    )
    parts = split.parts(rows, view.key, first)
    yield from finding(
        "copies",
        f"of {int((parts == TEST).sum()):,} rows of the test part hold the same as a row of the "
        "train part, as the source parts them: a score on them flatters.",
        across(first, parts, TEST, TRAIN),
        _in_part(first, parts == TRAIN),
    )
    yield from finding(
        "copies",
        "rows hold the same as another row (case, spaces or the encoding of a picture may differ). "
        "Training keeps them in one part where the source names none.",
        copied,
    )


def _in_part(groups: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row the first of the chosen ones that holds the same; its own group if none does."""
    found = np.arange(len(groups))
    rows = np.flatnonzero(chosen)[::-1]
    found[groups[rows]] = rows
    return found[groups]


def _copy(view: View, rows: Batch, row: int, other: int) -> Suspect:
    """A row that holds the same as another one, and the labels where they differ."""
    key, labels = _key(view, rows, other), rows.get(LABEL)
    if labels is None or labels[row] == labels[other]:
        return _suspect(view, rows, row, f"as {key}")
    return _suspect(view, rows, row, f"{labels[row]!r}; {key} has {labels[other]!r}")


def _near(view: View, rows: Batch) -> Iterator[Finding]:
    """Texts that nearly are copies."""
    name = view.named_by
    if not isinstance(view.columns.get(name), Text):
        return
    pairs = near_copies(rows[name].tolist())
    same = [plain(text) for text in rows[name]]
    near = [(one, other) for one, other in pairs if same[one] != same[other]]
    if near:
        yield Finding(
            "copies",
            f"{len(near):,} {name}s share most of their letters with another one: the same thing "
            "said twice, or a template. Training does not keep them in one part, so a score on "
            "them may flatter: name the parts in a column `split` if it matters.",
            len(near),
            [
                _suspect(view, rows, other, f"nearly {_key(view, rows, one)}")
                for one, other in near[:MOST]
            ],
        )


def _labelled(view: View, rows: Batch, sizes: dict[str, NDArray[Any]]) -> Iterator[Finding]:
    """Labels that are likely wrong, and facts that tell them."""
    if LABEL not in view.columns:
        return
    names, numbers = numbered(rows[LABEL])
    often = np.bincount(numbers, minlength=len(names)) >= FEWEST
    if often.sum() < 2:
        return
    kept = np.flatnonzero(often[numbers])
    chosen, columns = take(rows, kept), {n: c for n, c in view.columns.items() if n != LABEL}
    labels = np.unique(numbers[kept], return_inverse=True)[1].astype(np.int64)
    spare = {name: values[kept] for name, values in sizes.items()}
    yield from _leaks(facts(columns, chosen, spare), chosen, columns, labels)
    if (features := encode(columns, chosen)) is not None:
        known = [name for name, enough in zip(names, often, strict=True) if enough]
        yield from _doubts(view, chosen, features, labels, known)


def _doubts(
    view: View, chosen: Batch, features: Any, labels: NDArray[np.int64], known: Sequence[str]
) -> Iterator[Finding]:
    """Labels that a linear model of the other rows doubts."""
    weights = len(known) * max(features.shape)  # rows count too: each has a chance per label
    if weights > MOST_WEIGHTS:
        yield Finding(
            "labels",
            f"Wrong labels were not looked for: {len(known):,} labels by {max(features.shape):,} "
            f"features or rows are more than {MOST_WEIGHTS:,}, too many for the model that doubts "
            "them. Check a view with fewer labels or shorter texts.",
            0,
        )
        return
    chances = out_of_fold(features, labels, seed=SEED)
    odd = doubted(chances, labels)
    if len(odd):
        right = float((chances.argmax(axis=1) == labels).mean())
        weak = "It is weak here, so most doubts are its own mistakes." if right < WEAK else ""
        yield Finding(
            "labels",
            f"{len(odd):,} of {len(labels):,} labels are doubted by a linear model that learnt "
            f"from the other rows and is right about {right:.0%} of them. The most doubted stand "
            f"first; the further down, the more of them are right. {weak}".rstrip(),
            len(odd),
            [
                _suspect(
                    view, chosen, row,
                    f"{chosen[LABEL][row]!r}; the model says {known[chances[row].argmax()]!r} "
                    f"({chances[row].max():.0%})",
                )
                for row in odd[:MOST].tolist()
            ],
        )  # fmt: skip


def _leaks(
    found: Batch, rows: Batch, columns: dict[str, Any], labels: NDArray[np.int64]
) -> Iterator[Finding]:
    """Facts that tell the label alone, or one of the labels."""
    for name, fact in found.items():
        score, each = telling(fact, labels, seed=SEED)
        best, share = int(each.argmax()), float(each.max())
        common = np.bincount(labels).max() / len(labels)
        if score >= LEAK:
            what = f"the label ({score:.0%} of the way from guessing to always right)"
        elif share >= LEAK > common:
            label = rows[LABEL][int(np.argmax(labels == best))]
            what = (
                f"the label {label!r} from the others (at least {share:.0%} precision and recall)"
            )
        else:
            continue
        yield Finding(
            "leakage",
            f"{name[0].upper()}{name[1:]} alone tells {what}. If it is not known when the model is "
            "asked, a score is too good to be true.",
            length(rows),
        )
    for name in (name for name, kind in columns.items() if isinstance(kind, Text)):
        own, other = named(rows[name], rows[LABEL], seed=SEED)
        if own >= NAMES_ITSELF and other < own / 2:
            yield Finding(
                "leakage",
                f"{own:.0%} of {name}s hold their own label as words (and {other:.0%} that of "
                "another row): a model reads it off.",
                int(own * length(rows)),
            )


def _outliers(view: View, rows: Batch) -> Iterator[Finding]:
    """Rows far from all others in one number."""
    columns = {name: kind for name, kind in view.columns.items() if name != LABEL}
    far = dict(reversed(list(outliers(columns, rows))))  # one reason a row: the first
    if far:
        yield Finding(
            "outliers",
            f"{len(far):,} rows are far from all others.",
            len(far),
            [_suspect(view, rows, row, why) for row, why in list(reversed(far.items()))[:MOST]],
        )


def _suspect(view: View, rows: Batch, row: int, why: str) -> Suspect:
    text = rows[view.named_by][row] if view.named_by in rows else ""
    excerpt = " ".join(text[: 2 * EXCERPT].split())[:EXCERPT] if isinstance(text, str) else ""
    return Suspect(tuple(str(rows[name][row]) for name in view.key), why, excerpt)


def _key(view: View, rows: Batch, row: int) -> str:
    return ",".join(str(rows[name][row]) for name in view.key)

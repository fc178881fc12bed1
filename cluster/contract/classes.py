"""Warn of label counts that make a score unreliable: imbalance, and parts that lack a label."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from cluster.contract.split import TEST, TRAIN, VALID

Counts = Mapping[tuple[str, str], int]
"""Rows by part and label; the part is empty where nothing has decided it yet."""
IMBALANCE = 100
"""From this ratio of the commonest label to the rarest on, accuracy says little."""
FEW = 20
"""Below so many rows of a label, a test part of 15% misses it with odds of 1 to 25 or more."""
TEST_SHARE = 0.15


def by_label(counts: Counts) -> Counter[str]:
    """Rows of each label over all parts."""
    return _summed((label, rows) for (_, label), rows in counts.items())


def by_part(counts: Counts) -> Counter[str]:
    """Rows of each part over all labels."""
    return _summed((part, rows) for (part, _), rows in counts.items())


def warnings(counts: Counts) -> Iterator[str]:
    """A sentence for each trouble with labels: imbalance, a part of one label, a label not tested.

    Args:
        counts: with parts where they are decided, whether by the source or by a split.
    """
    labels, parts = by_label(counts), by_part(counts)
    if len(labels) < 2:
        return
    yield from _imbalance(labels)
    yield from _alone(counts, parts)
    if parts[TRAIN]:
        yield from _absent(counts, labels, TRAIN, "nothing can be learnt of")
    if parts[TEST]:
        yield from _absent(counts, labels, TEST, "no score says how well a model knows")
    elif parts[""]:
        yield from _tiny(labels)


def listed(names: Collection[object], *, most: int = 5) -> str:
    """The first of some names in quotes, and how many more there are."""
    shown = ", ".join(repr(name) for name in list(names)[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _imbalance(labels: Counter[str]) -> Iterator[str]:
    (most, many), (least, few) = labels.most_common(1)[0], labels.most_common()[-1]
    if many >= IMBALANCE * few:
        yield (
            f"The label {most!r} has {many:,} rows and {least!r} has {few:,}, a ratio of "
            f"{many / few:,.0f}:1. Whoever always answers {most!r} has an accuracy of "
            f"{many / labels.total():.1%}: judge a model by macro_f1, and try the "
            "knob `balance` where a capability has it."
        )


def _alone(counts: Counts, parts: Counter[str]) -> Iterator[str]:
    """The parts in which one label stands alone."""
    for part in (TRAIN, VALID, TEST):
        inside = [label for (of, label), rows in counts.items() if of == part and rows]
        if len(inside) == 1:
            yield f"All {parts[part]:,} rows of the {part} part have the label {inside[0]!r}."


def _absent(counts: Counts, labels: Counter[str], part: str, trouble: str) -> Iterator[str]:
    missing = sorted(label for label in labels if not counts.get((part, label)))
    if missing:
        them, have = ("it", "has") if len(missing) == 1 else ("them", "have")
        yield (
            f"{len(missing):,} of {len(labels):,} labels {have} no row in the {part} part, so "
            f"{trouble} {them}: {listed(missing)}."
        )


def _tiny(labels: Counter[str]) -> Iterator[str]:
    few = sorted((rows, label) for label, rows in labels.items() if rows < FEW)
    if few:
        rows, label = few[0]
        others = len(few) - 1
        more = f" (under {FEW}, as {others:,} other{'s' * (others > 1)})" if others else ""
        yield (
            f"The label {label!r} has {rows:,} row{'s' * (rows > 1)}{more}: a test part of "
            f"{TEST_SHARE:.0%} holds none of them with odds of {(1 - TEST_SHARE) ** rows:.0%}, and "
            "then no score says how well a model knows it. Bring more rows of it, or name the "
            "parts in a column `split`."
        )


def _summed(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, rows in pairs:
        total[name] += rows
    return total

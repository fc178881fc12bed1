"""Rows in memory are learnt from in just the batches that a stream of them gives."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, objects
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.neural.encoding import trim
from cluster.neural.loop import Feed
from nlp.classify import Classify
from nlp.classify import Config as Reading
from tests.support import Stream
from tests.toy import Config, Side

Lists = list[list[float]]
lists = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0]), max_size=7), min_size=1, max_size=40
)


def padded(rows: NDArray[np.object_]) -> NDArray[np.float32]:
    """Lists of numbers with zeros after them, as long as the longest."""
    longest = max(1, *map(len, rows))
    return np.array([[*row, *[0.0] * (longest - len(row))] for row in rows], np.float32)


class Curves(Side):
    """Series of numbers, which may end in zeros, and a tag for each number."""

    varying: ClassVar[Mapping[str, tuple[int, ...]]] = {"past": (1,)}

    def encode(self, batch: Batch) -> Arrays:
        return {"past": padded(batch["past"])}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"tags": padded(batch["tags"]) > 1}


class Counted(Curves):
    """The same, which says how long rows are by a value that stands for the end."""

    def encode(self, batch: Batch) -> Arrays:
        return {"past": padded(objects([*(v + 9 for v in row), 5.0] for row in batch["past"]))}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"tags": padded(objects([*(v + 9 for v in row), 5.0] for row in batch["tags"]))}

    def lengths(self, arrays: Arrays) -> Arrays:
        return {name: (array == 5.0).argmax(1) + 1 for name, array in arrays.items()}


class Boxes(Side):
    """A picture of one size, and some boxes in it."""

    def encode(self, batch: Batch) -> Arrays:
        return {"image": np.stack([[len(row), sum(row)] for row in batch["past"]])}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"boxes": padded(batch["tags"])}


def shown(feed: Feed) -> list[dict[str, tuple[tuple[int, ...], list[float]]]]:
    """The shapes and the values of every batch of two passes."""
    return [
        {name: (array.shape, array.tolist()) for part in encoded for name, array in part.items()}
        for encoded in feed.batches(0, 2 * feed.steps_per_epoch)
    ]


@pytest.mark.parametrize("task", [Curves, Counted, Boxes])
@settings(max_examples=40, deadline=None)
@given(series=lists, size=st.integers(1, 8))
def test_resident_batches_are_those_of_a_stream_in_shape_and_value(
    task: Callable[[Config], Side], series: Lists, size: int
) -> None:
    rows = {"past": objects(series), "tags": objects([*row[::-1], 0.0] for row in series)}
    made = task(Config(batch_size=size))
    resident, streamed = (Feed(made, kind(rows), Run(seed=3)) for kind in (Resident, Stream))
    assert shown(resident) == shown(streamed)


def test_a_series_that_ends_in_zeros_keeps_them_and_its_tags() -> None:
    rows = {"past": objects([[1.0, 0.0, 0.0]] * 4), "tags": objects([[1.5, 1.5, 0.0]] * 4)}
    (batch,) = shown(Feed(Curves(Config(batch_size=4)), Resident(rows), Run()))[:1]
    assert batch["past"][0] == batch["tags"][0] == (4, 3)


@pytest.mark.parametrize("encoder", ["bag", "rnn"])
def test_texts_are_encoded_once_and_cut_to_the_longest_of_a_batch(encoder: str) -> None:
    rng = np.random.default_rng(0)
    words = objects(["good", "bad", "film", "plot", "word", "star"])
    texts = [" ".join(rng.choice(words, rng.integers(1, 30))) for _ in range(60)]
    rows = {"text": objects(texts), "label": objects("ab"[n % 2] for n in range(60))}
    task = Classify(Reading.parse([f"encoder={encoder}", "batch_size=8"]))
    task.state = task.study(Resident(rows), Run())
    resident, streamed = (Feed(task, kind(rows), Run(seed=3)) for kind in (Resident, Stream))
    assert shown(resident) == shown(streamed)
    assert len({batch["ids"][0] for batch in shown(resident)}) > 1


def test_lengths_may_be_along_several_axes() -> None:
    arrays = {"page": np.ones((2, 5, 6)), "other": np.ones((2, 5))}
    cut = trim(arrays, {"page": np.array([[1, 4], [3, 2]])})
    assert {name: array.shape for name, array in cut.items()} == {
        "page": (2, 3, 4),
        "other": (2, 5),
    }

"""Learn from the training pictures what must be known before a network is made."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cluster.contract import Rows, Run
from cluster.neural import State, backbone

if TYPE_CHECKING:
    from cluster.neural.foreign import ForeignGraph

ROWS = 4_096  # pictures that are looked at together


def look(train: Rows, run: Run, *, max_side: int) -> State:
    """The labels that are seen, the size and channels that pictures are brought to, the rows.

    Args:
        train: this worker's rows.
        run: the workers agree through it.
        max_side: the longest side that a picture may have.
    """
    sizes, labels, channels = [], set[str](), 1
    for batch in train.batches(ROWS):
        shapes = [picture.shape for picture in batch["image"]]
        sizes += [shape[:2] for shape in shapes]
        channels = max(channels, *(shape[2] for shape in shapes))
        labels.update(batch["label"])
    seen = run.all_gather((np.median(sizes, axis=0), channels, labels))
    height, width = np.median([size for size, _, _ in seen], axis=0)
    shrink = min(1.0, max_side / max(height, width))
    return {
        "labels": sorted(set().union(*(found for _, _, found in seen))),
        "height": max(8, round(height * shrink)),
        "width": max(8, round(width * shrink)),
        "channels": max(found for _, found, _ in seen),
        "rows": sum(run.all_gather(train.count)),
    }


def picture_state(graph: "ForeignGraph") -> State:
    """What `encode` needs of a graph that was made elsewhere."""
    channels, height, width = graph.picture()
    return {"channels": channels, "height": height, "width": width}


def warp_for(rows: int) -> float:
    """How much pictures are bent where the config does not say: less from 3,000 rows on."""
    most = 0.1 * (1 - np.log(max(1, rows) / 3_000) / np.log(20))
    return float(min(0.1, most)) if most > 0.01 else 0.0


def measure(images: Iterable[NDArray[Any]], channels: int, run: Run) -> State:
    """The mean and spread of each channel over encoded pictures `[n, channels, height, width]`."""
    sums = np.zeros((3, channels))
    for image in images:
        pixels = image.astype(np.float32)
        sums[0] += pixels.sum((0, 2, 3))
        sums[1] += (pixels**2).sum((0, 2, 3))
        sums[2] += pixels[:, 0].size
    total, squares, count = run.all_reduce(sums)
    mean = total / count
    return {"mean": mean, "std": np.sqrt(np.maximum(squares / count - mean**2, 1.0))}


def say_weights(network: str, run: Run) -> None:
    """Tell where a transformers network starts from; it is an error if there is none."""
    run.say(f"{network} starts from {backbone.weights_of(network)} weights.")

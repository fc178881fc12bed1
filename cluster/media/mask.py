"""Hold masks: a whole number for each pixel, which is a class or the number of an object."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cluster.base.errors import InvalidInput, UnsupportedMedia
from cluster.media.headers import measure, sniff
from cluster.media.media import Media, whole_array
from cluster.media.pixels import (
    MAX_PIXELS,
    decode_by,
    encode_grey,
    from_pillow,
    levels_of,
)

LOSSLESS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
STRETCHED = {2: 85, 4: 17}  # by what Pillow multiplies grey of 2 and of 4 bits


@dataclass(frozen=True)
class Mask(Media):
    """A label for each pixel. In memory uint16 `[height, width]`, of any size.

    Grey of 1 to 16 bits gives its numbers, a palette the numbers of its colours, as data sets of
    segmentation have them. Colours are no labels, and files that lose bits are refused.

    Args:
        max_pixels: the largest mask taken.
    """

    max_pixels: int = MAX_PIXELS
    noun = "mask"
    reads = "image/png"
    writes = "image/png"
    measure = "marked share"
    bits = 16

    @property
    def about(self) -> str:
        """The formats and the limit."""
        return (
            "A PNG file in base64 whose grey levels or palette numbers are labels, of at most "
            f"{self.max_pixels:,} pixels."
        )

    def decode(self, data: bytes) -> NDArray[np.uint16]:
        """The labels as they are stored."""
        if (kind := sniff(data)) not in LOSSLESS:
            raise UnsupportedMedia(
                f"The mask is a {kind} file, which may have changed its labels.",
                hint="Save it as PNG, grey or with a palette.",
            )
        labels: NDArray[np.uint16] = decode_by(_labels, data, max_pixels=self.max_pixels)
        if kind == "PNG" and data[25] == 0:
            labels //= STRETCHED.get(data[24], 1)
        return labels

    def encode(self, value: Any) -> bytes:
        """A PNG of 8 bits, or of 16 where a label needs them."""
        labels = np.asarray(value)
        return encode_grey(labels.astype(np.uint8 if labels.max() < 256 else np.uint16))

    def take(self, value: object) -> NDArray[np.uint16]:
        """An array `[height, width]` of whole numbers or truths, or a Pillow image."""
        if isinstance(value, Image.Image):
            return from_pillow(value, max_pixels=self.max_pixels, convert=_labels)
        labels = whole_array(value, self.noun)
        if labels.dtype.kind not in "iub" or labels.ndim != 2 or not labels.size:
            raise InvalidInput(
                f"An array of {labels.dtype} with shape {labels.shape} is not a mask.",
                hint="Send whole numbers of height x width.",
            )
        if labels.dtype != np.uint16 and not 0 <= labels.min() <= labels.max() <= 65_535:
            raise InvalidInput(
                f"The mask's labels are from {labels.min():,} to {labels.max():,}.",
                hint="Number them from 0 to 65,535.",
            )
        return labels.astype(np.uint16, copy=False)

    def decoded_bytes(self, data: bytes) -> int:
        """Two bytes a pixel."""
        _, width, height = measure(data)
        return 2 * width * height


def nearest_size(masks: Iterable[NDArray[Any]], height: int, width: int) -> NDArray[Any]:
    """Masks of any sizes as one array `[n, height, width]`, each label from the nearest pixel."""
    resized = []
    for mask in masks:
        rows = (np.arange(height) + 0.5) * mask.shape[0] // height
        columns = (np.arange(width) + 0.5) * mask.shape[1] // width
        resized.append(mask[rows.astype(int)[:, None], columns.astype(int)])
    return np.stack(resized)


def _labels(image: Image.Image) -> NDArray[np.uint16]:
    if image.mode in ("1", "P", "L", "F") or image.mode.startswith("I"):
        return levels_of(image)
    raise InvalidInput(
        f"The mask is of mode {image.mode}: its pixels have several numbers, and a mask has one.",
        hint="Save it as PNG, grey or with a palette.",
    )

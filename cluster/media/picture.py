"""Hold pictures of 8 bits, grey or in colour."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cluster.base.errors import InvalidInput
from cluster.media.headers import READ, measure
from cluster.media.media import Media, whole_array
from cluster.media.pixels import MAX_PIXELS, decode, encode, from_pillow

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture(Media):
    """A picture. In memory uint8 `[height, width, 1 or 3]`, of any size.

    Args:
        max_pixels: the largest picture taken.
    """

    max_pixels: int = MAX_PIXELS
    noun = "picture"
    reads = "image/*"
    writes = "image/png"
    measure = "brightness"

    @property
    def about(self) -> str:
        """The formats and the limit."""
        return f"A {READ} file in base64, of at most {self.max_pixels:,} pixels."

    def decode(self, data: bytes) -> Pixels:
        """The pixels upright, transparent ones on white, at 8 bits a channel."""
        return decode(data, max_pixels=self.max_pixels)

    def encode(self, value: Any) -> bytes:
        """A PNG."""
        return encode(value)

    def take(self, value: object) -> Pixels:
        """An array `[height, width]` or `[height, width, 1 or 3]`, or a Pillow image."""
        if isinstance(value, Image.Image):
            return from_pillow(value, max_pixels=self.max_pixels)
        pixels = whole_array(value, self.noun)
        cube = pixels[..., None] if pixels.ndim == 2 else pixels
        if cube.dtype != np.uint8 or cube.ndim != 3 or cube.shape[2] not in {1, 3} or not cube.size:
            raise InvalidInput(
                f"An array of {pixels.dtype} with shape {pixels.shape} is not a picture.",
                hint="Send uint8 of height x width, or height x width x 3.",
            )
        return cube

    def decoded_bytes(self, data: bytes) -> int:
        """Three bytes a pixel."""
        _, width, height = measure(data)
        return 3 * width * height

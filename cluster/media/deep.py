"""Hold grey pictures of up to 16 bits as they are: microscopes, scanners, depth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cluster.base.errors import InvalidInput
from cluster.media.headers import READ, measure
from cluster.media.media import Media, whole_array
from cluster.media.pixels import (
    MAX_PIXELS,
    decode_by,
    encode_grey,
    from_pillow,
    levels_of,
)


@dataclass(frozen=True)
class DeepPicture(Media):
    """A grey picture whose levels are kept. In memory uint16 `[height, width]`, of any size.

    A file of 8 bits has levels 0 to 255, one of 12 bits in 16 those that it has: what they mean is
    the capability's to say.

    Args:
        max_pixels: the largest picture taken.
    """

    max_pixels: int = MAX_PIXELS
    noun = "deep picture"
    reads = "image/*"
    writes = "image/png"
    measure = "brightness"
    bits = 16

    @property
    def about(self) -> str:
        """The formats and the limit."""
        return (
            f"A {READ} file in base64, grey of at most 16 bits, whose levels are kept, of at most "
            f"{self.max_pixels:,} pixels."
        )

    def decode(self, data: bytes) -> NDArray[np.uint16]:
        """The levels as they are stored, upright."""
        return decode_by(_grey, data, max_pixels=self.max_pixels)

    def encode(self, value: Any) -> bytes:
        """A PNG of 16 bits."""
        return encode_grey(np.asarray(value, np.uint16))

    def take(self, value: object) -> NDArray[np.uint16]:
        """An array `[height, width]` of uint8 or uint16, or a Pillow image."""
        if isinstance(value, Image.Image):
            return from_pillow(value, max_pixels=self.max_pixels, convert=_grey)
        levels = whole_array(value, self.noun)
        flat = levels[..., 0] if levels.ndim == 3 and levels.shape[2] == 1 else levels
        if flat.dtype not in (np.uint8, np.uint16) or flat.ndim != 2 or not flat.size:
            raise InvalidInput(
                f"An array of {levels.dtype} with shape {levels.shape} is not a deep picture.",
                hint="Send uint8 or uint16 of height x width.",
            )
        return flat.astype(np.uint16)

    def decoded_bytes(self, data: bytes) -> int:
        """Two bytes a pixel."""
        _, width, height = measure(data)
        return 2 * width * height


def _grey(image: Image.Image) -> NDArray[np.uint16]:
    """The levels of any mode that is grey, colour of equal channels included."""
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return levels_of(image)
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., :1] != pixels[..., 1:3]).any() or (pixels[..., 3] != 255).any():
        raise InvalidInput(
            f"The deep picture is of mode {image.mode}, in colour or transparent: there is no one "
            "level for a pixel.",
            hint="Save it as grey of 8 or 16 bits.",
        )
    return pixels[..., 0].astype(np.uint16)

"""Hold pictures: what they are in memory and at rest, and the views of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.image_files import read_images, read_item_images
from cluster.features.schema.column import Column, Faults, Text
from cluster.features.schema.view import View
from cluster.features.shop import shop
from cluster.media.headers import measure
from cluster.media.pixels import MAX_PIXELS, decode, encode


@dataclass(frozen=True)
class Image(Column):
    """A picture. In memory an object array of uint8 `[height, width, 1 or 3]`, of any sizes.

    At rest it is the bytes of its file as they were sent, so nothing is lost or made larger.

    Args:
        max_pixels: the largest picture taken.
    """

    max_pixels: int = MAX_PIXELS
    arrow = pa.binary()
    dtype = object
    compression = "none"  # the bytes of picture files do not get smaller

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Bytes of picture files, each decoded once to see that it can be, or arrays of pixels."""
        files, faults = [], {}
        for row, value in enumerate(values):
            try:
                files.append(self._file(value))
            except InvalidInput as error:
                faults[row] = f"is not usable: {error.message.rstrip('.')}"
                files.append(b"")
        return objects(files), faults

    def pack(self, values: NDArray[Any]) -> pa.Array:
        """Bytes as they are; arrays as PNG."""
        files = [value if isinstance(value, bytes) else encode(value) for value in values]
        return pa.array(files, type=self.arrow)

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Bytes of picture files to an object array of pixels."""
        return objects(decode(data, max_pixels=self.max_pixels) for data in values.to_pylist())

    def size_bytes(self, packed: pa.Array) -> int:
        """Three bytes a pixel, as the headers state them, and the arrays around them."""
        sizes = (measure(data)[1:] for data in packed.to_pylist())
        return sum(3 * width * height + 128 for width, height in sizes)

    def _file(self, value: object) -> bytes:
        if isinstance(value, np.ndarray):
            return encode(value)
        if not isinstance(value, bytes | bytearray | memoryview):
            raise InvalidInput(f"It is a {type(value).__name__}, neither bytes nor pixels.")
        decode(bytes(value), max_pixels=self.max_pixels)
        return bytes(value)


labelled_images = View(
    name="images",
    key=("image_id",),
    columns={"image": Image(), "label": Text()},
    sample=shop.sample_images,
    read=read_images,
    named_by="image",
    description="Pictures and what each of them shows.",
)
images = labelled_images.only("image")
item_images = View(
    name="item_images",
    key=("item_id",),
    columns={"image": Image()},
    sample=shop.sample_item_images,
    read=read_item_images,
    description="A picture of each item.",
)

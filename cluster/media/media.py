"""Hold files: one class says how a kind of file is read, written, stored, sent and measured."""

import base64
import binascii
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, TooLarge
from cluster.features.schema.column import Column, Faults

MAX_BYTES = 100_000_000


@dataclass(frozen=True)
class Media(Column):
    """A kind of file: the column of a view, and the type of a field of Input or Output.

    `{"image": Picture()}` declares a column, and `image: Annotated[Pixels, Picture()]` a field: the
    same limits, the same values in memory. At rest it is the bytes of the file as they were sent,
    so nothing is lost; in JSON it is those bytes in base64.

    Attributes:
        noun: what people call one.
        reads: the media type of files that are taken, `image/*` for all of a family.
        writes: the media type of files that `encode` makes.
        bits: of a pixel that are kept, so that a client knows which arrays it may send.

    Args:
        max_bytes: the largest file taken.
    """

    max_bytes: int = MAX_BYTES
    arrow = pa.binary()
    dtype = object
    compression = "none"  # files of pictures and sounds do not get smaller
    noun: ClassVar[str]
    reads: ClassVar[str]
    writes: ClassVar[str]
    bits: ClassVar[int] = 8

    @property
    @abstractmethod
    def about(self) -> str:
        """What may be sent, in a sentence."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """The value in a file; its limits are checked on its header, before it is decoded.

        Raises:
            InvalidInput: it is too large, broken, or of another kind.
        """

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """A value as a file; the same value gives the same bytes."""

    @abstractmethod
    def take(self, value: object) -> Any:
        """A value of Python that is no file, such as an array, as this kind holds it in memory.

        Raises:
            InvalidInput: it is no such value.
        """

    @abstractmethod
    def decoded_bytes(self, data: bytes) -> int:
        """How much memory a file takes once it is decoded, as its header says."""

    def read(self, value: object) -> Any:
        """A value in any form that people have: file bytes, base64, a data URI, or an array.

        Raises:
            InvalidInput: it is none of these, or broken, or too large.
        """
        if isinstance(value, str):
            value = from_base64(value, self.noun)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._checked(bytes(value))
        return self.take(value)

    def base64(self, value: Any) -> str:
        """A value of memory, or the bytes of a file, as base64."""
        file = value if isinstance(value, bytes) else self.encode(self.take(value))
        return base64.b64encode(file).decode("ascii")

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Bytes of files, each decoded once to see that it can be, or values of memory."""
        files, faults = [], {}
        for row, value in enumerate(values):
            try:
                files.append(self._file(value))
            except InvalidInput as error:
                faults[row] = f"is not usable: {error.message.rstrip('.')}"
                files.append(b"")
        return objects(files), faults

    def pack(self, values: NDArray[Any]) -> pa.Array:
        """Bytes as they are; values as files; nothing where nothing is known."""
        files = [
            value if value is None or isinstance(value, bytes) else self.encode(value)
            for value in values
        ]
        return pa.array(files, type=self.arrow)

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Bytes of files to an object array of what is in them."""
        files = values.to_pylist()
        return objects(None if file is None else self._checked(file) for file in files)

    def size_bytes(self, packed: pa.Array) -> int:
        """What the headers state, and the objects around it."""
        return sum(128 + self.decoded_bytes(data) for data in packed.to_pylist())

    def empty(self) -> Any:
        """None: there is no file that stands for nothing."""
        return None

    def to_json(self, values: NDArray[Any]) -> list[Any]:
        """Base64 of files; None where nothing is known."""
        return [None if value is None else self.base64(value) for value in values]

    def from_json(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Base64 to bytes of files."""
        files: list[Any] = []
        faults: Faults = {}
        for row, value in enumerate(values):
            try:
                files.append(None if value is None else base64.b64decode(value, validate=True))
            except (TypeError, ValueError, binascii.Error):
                faults[row] = "is no base64"
                files.append(None)
        return objects(files), faults

    def _checked(self, data: bytes) -> Any:
        if len(data) > self.max_bytes:
            raise TooLarge(
                f"The {self.noun} has {len(data):,} bytes; the limit is {self.max_bytes:,}.",
                hint="Make it smaller before sending it.",
                limit=self.max_bytes,
                actual=len(data),
            )
        return self.decode(data)

    def _file(self, value: object) -> bytes:
        if isinstance(value, bytes | bytearray | memoryview):
            self._checked(bytes(value))
            return bytes(value)
        return self.encode(self.take(value))

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.base64, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        written = handler.mode == "serialization"
        deep = {"x-bits": self.bits} if self.bits > 8 else {}
        return {
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": self.writes if written else self.reads,
            "description": f"A file of {self.writes} in base64." if written else self.about,
            **deep,
        }


def from_base64(text: str, noun: str) -> bytes:
    """The bytes of a file in base64, or in a data URI.

    Raises:
        InvalidInput: it is no base64.
    """
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(
            f"The {noun} is not base64.",
            hint="Send the bytes of its file in base64, without line breaks.",
        ) from None


def whole_array(value: object, noun: str) -> NDArray[Any]:
    """A value that is an array, or can be seen as one.

    Raises:
        InvalidInput: it is none.
    """
    if not hasattr(value, "__array__") and not hasattr(value, "__array_interface__"):
        raise InvalidInput(
            f"A value of type {type(value).__name__} is not a {noun}.",
            hint="Send the bytes of its file in base64.",
        )
    return np.asarray(value)

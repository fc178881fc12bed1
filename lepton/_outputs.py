"""Give outputs as objects: ``boxes[0].label``, and files with their bytes."""

import base64
import builtins
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue

from lepton._fields import Field
from lepton.errors import BadValue
from lepton.wire import Output


class File(str):
    """A file in an output: the base64 that crossed the network, and what is in it.

    Attributes:
        media: its type, such as ``image/png``.
    """

    __slots__ = ("media",)
    media: str

    def __new__(cls, text: str, media: str) -> Self:
        """From base64."""
        made = super().__new__(cls, text)
        made.media = media
        return made

    @property
    def bytes(self) -> builtins.bytes:
        """The bytes of the file."""
        return base64.b64decode(self)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file, and say where it is.

        Raises:
            BadValue: it cannot be written there.
        """
        place = Path(path)
        try:
            place.write_bytes(self.bytes)
        except OSError as error:
            raise BadValue(f"{str(place)!r} cannot be written: {error.strerror}.") from None
        return place

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override] # what copies need
        return str(self), self.media

    def __repr__(self) -> str:
        return f"<{self.media} of {len(self.bytes):,} bytes>"


class Part(dict[str, Any]):
    """An object inside an output: a dict, whose fields are attributes as well.

    Only ``part["items"]`` reads a field that is named like a method of dicts.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self:
            raise AttributeError(f"This part has no {name!r}. It has: {', '.join(self)}.")
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]


def as_objects(output: Output, fields: Mapping[str, Field]) -> Output:
    """An output whose objects are parts, and whose files are files.

    Args:
        output: as it came; it is changed.
        fields: what the task says of its outputs.
    """
    found = output.__pydantic_extra__ or {}
    for name, value in found.items():
        found[name] = _part(value, fields.get(name) or Field(name))
    return output


def _part(value: JsonValue, field: Field) -> Any:
    match value:
        case str() if field.is_binary:
            return File(value, field.media or "application/octet-stream")
        case dict():
            return Part({name: _part(one, field.member(name)) for name, one in value.items()})
        case list():
            element = field.element
            if not element.is_binary and not any(isinstance(one, dict | list) for one in value):
                return value  # vectors and scores are long, and have nothing in them
            return [_part(one, element) for one in value]
    return value

"""Read a task's input schema: which fields there are, and what kind of value each one takes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import JsonValue

from lepton.wire import Schema


@dataclass(frozen=True)
class Field:
    """One field of an input, or one part of it.

    Attributes:
        name: as the schema calls it.
        schema: what the schema says about it.
        root: the whole input schema, in which references are looked up.
        required: whether an input without it is refused, whichever form the input has.
    """

    name: str
    schema: Schema = field(default_factory=dict)
    root: Schema = field(default_factory=dict)
    required: bool = False

    @cached_property
    def forms(self) -> list[Schema]:
        """The schemas that a value may follow: more than one for a union."""
        return list(_forms(self.schema, self.root))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """JSON's words for what a value may be: ``string``, ``integer``, ``array``, ..."""
        kinds: set[str] = set()
        for form in self.forms:
            kind = form.get("type")
            kinds.update(str(one) for one in (kind if isinstance(kind, list) else [kind]) if one)
        return frozenset(kinds)

    @cached_property
    def is_binary(self) -> bool:
        """Whether values travel as base64."""
        return any(form.get("contentEncoding") == "base64" for form in (self.schema, *self.forms))

    @cached_property
    def media(self) -> str:
        """The media type of the files that it takes or is, such as ``image/*``; else empty."""
        kinds = (form.get("contentMediaType") for form in (self.schema, *self.forms))
        return next((str(kind) for kind in kinds if kind), "")

    @cached_property
    def is_deep(self) -> bool:
        """Whether pixels of 16 bits are kept."""
        return any(form.get("x-bits") == 16 for form in (self.schema, *self.forms))

    @cached_property
    def element(self) -> "Field":
        """What the elements of a list are."""
        items = [form["items"] for form in self.forms if "items" in form]
        return Field(self.name, {"anyOf": items} if items else {}, self.root)

    def member(self, name: str) -> "Field":
        """What a value's own field of that name is, where values are objects."""
        return self._members.get(name) or Field(name, self._others, self.root)

    @cached_property
    def _members(self) -> "dict[str, Field]":
        return _properties(self.forms, self.root)

    @cached_property
    def _others(self) -> Schema:
        """What the values of a mapping are."""
        others = (form.get("additionalProperties") for form in self.forms)
        return next((other for other in others if isinstance(other, dict)), {})

    def is_column(self, value: object) -> bool:
        """Whether a value is one value per input of a batch, rather than one value.

        It is when it is nested deeper in lists than the schema declares: a list for a number, or a
        list of lists for a list.
        """
        if not isinstance(value, list | tuple):
            return False
        if "array" not in self.kinds:
            return True
        element = self.element
        return bool(element.kinds) and any(element.is_column(one) for one in value)


def input_fields(schema: Schema) -> dict[str, Field]:
    """The fields of a task's inputs, or of its outputs, in the order of the schema.

    Where an input has several forms (values, or the keys of stored rows), the fields of all of them
    are given, and a field is required if every form requires it.
    """
    return _properties(list(_forms(schema, schema)), schema)


def _properties(forms: list[Schema], root: Schema) -> dict[str, Field]:
    objects = [form for form in forms if isinstance(form.get("properties"), dict)]
    required = [set(_strings(form.get("required"))) for form in objects]
    always = set.intersection(*required) if required else set()
    found: dict[str, Field] = {}
    for form in objects:
        for name, schema in _object(form["properties"]).items():
            found.setdefault(name, Field(name, _object(schema), root, name in always))
    return found


def _forms(schema: Schema, root: Schema) -> Iterator[Schema]:
    """Follow references and unions down to schemas that have neither."""
    if isinstance(reference := schema.get("$ref"), str):
        target: JsonValue = root
        for part in reference.removeprefix("#/").split("/"):
            target = _object(target).get(part, {})
        yield from _forms(_object(target), root)
        return
    parts = [schema.get(word) for word in ("anyOf", "oneOf", "allOf")]
    inner = [_object(one) for part in parts if isinstance(part, list) for one in part]
    if not inner:
        yield schema
    for one in inner:
        yield from _forms(one, root)


def _object(value: JsonValue) -> Schema:
    return value if isinstance(value, dict) else {}


def _strings(value: JsonValue) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

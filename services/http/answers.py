"""Write answers: as JSON, or as the file itself where a request accepts that."""

import asyncio
import base64
from collections.abc import Sequence

import orjson
from pydantic import BaseModel, JsonValue, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from cluster.base.errors import NotAcceptable
from cluster.contract.task import AnyTask
from cluster.serving.answering import Answered
from lepton.wire import REQUEST_ID_HEADER
from services.http.problems import json_response, request_id

JSON_RANGES = frozenset(("application/json", "application/*", "*/*"))
FAMILIES = frozenset(("image", "audio", "video"))
SAME = {"audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav"}
BASE64 = "Accept application/json: in it files are base64."


class Answers:
    """Writes the answers of a capability.

    Args:
        task: the capability.
    """

    def __init__(self, task: type[AnyTask]) -> None:
        self.name = task.name()
        self.files = files_of(task)
        # files are encoded in a thread: a large one takes longer than a small prediction
        self.slow = holds_files(task.Output)
        self.dump = TypeAdapter(list[task.Output]).dump_json  # type: ignore[name-defined]

    async def written(self, said: Answered, field: str, request: Request) -> Response:
        """An answer as JSON, or where a field is named the file in it."""
        if field:
            return await asyncio.to_thread(self._file, said, field, request)
        rows = list(said.outputs)
        outputs = await asyncio.to_thread(self.dump, rows) if self.slow else self.dump(rows)
        name, number = orjson.dumps(self.name), orjson.dumps(request_id(request.scope))
        body = b'{"model":%b,"version":"%d","outputs":%b%b,"request_id":%b}'
        written = body % (name, said.version, outputs, _more(said), number)
        return json_response(written, request)

    def file_wanted(self, accept: str, rows: int) -> str:
        """The field of Output whose file is the whole answer; empty where it is JSON.

        Args:
            accept: the header of the request.
            rows: how many inputs it has.

        Raises:
            NotAcceptable: a file is asked for and nothing else accepted, and there is no single
                one of that type.
        """
        wanted, json_too = _wanted(accept)
        if not wanted:
            return ""
        fields = [name for name, media in self.files.items() if _fits(media, wanted)]
        if len(fields) == rows == 1:
            return fields[0]
        if json_too:
            return ""
        if len(fields) == 1:
            said, hint = f"{rows} inputs have {rows} files for an answer.", "Send one. " + BASE64
        elif fields:
            said = f"An answer of {self.name} has {len(fields)} such files: {', '.join(fields)}."
            hint = BASE64
        else:
            have = [f"{name} ({media})" for name, media in self.files.items()]
            said = f"{self.name} answers {' and '.join(have) or 'no file'}."
            hint = BASE64 if have else "Accept application/json."
        raise NotAcceptable(f"The request accepts {', '.join(wanted)[:200]}. {said}", hint=hint)

    def _file(self, said: Answered, field: str, request: Request) -> Response:
        """The file of an answer that has one row."""
        dumped: JsonValue = said.outputs[0].model_dump(mode="json", include={field})[field]
        if not isinstance(dumped, str):
            raise NotAcceptable(f"This answer has no {field}.", hint="Accept application/json.")
        headers = {
            REQUEST_ID_HEADER: request_id(request.scope),
            "X-Lepton-Version": str(said.version),
        }
        if said.behind:
            headers["X-Lepton-Behind"] = ", ".join(said.behind)
        return Response(base64.b64decode(dumped), 200, headers, self.files[field])


def _more(said: Answered) -> bytes:
    """What came of the look-ups, where there were any."""
    looked = b',"features":%b' % orjson.dumps(said.features) if said.features else b""
    behind = b',"behind":%b' % orjson.dumps(list(said.behind)) if said.behind else b""
    return looked + b',"degraded":true' * said.degraded + behind


def files_of(task: type[AnyTask]) -> dict[str, str]:
    """The fields of an Output that are files, with their media types."""
    found = {}
    schema = task.Output.model_json_schema(mode="serialization")
    for name, declared in schema.get("properties", {}).items():
        for form in (declared, *declared.get("anyOf", ())):
            if form.get("contentEncoding") == "base64":
                found[name] = form["contentMediaType"]
    return found


def holds_files(shape: type[BaseModel]) -> bool:
    """Whether a file stands anywhere in a shape."""
    return "'contentEncoding'" in str(shape.model_json_schema(mode="serialization"))


def _wanted(accept: str) -> tuple[Sequence[str], bool]:
    """The types of files that are accepted before JSON, the best first; whether JSON is, too.

    What is neither is no reason to refuse: then JSON is answered, as without the header.
    """
    if accept in ("", "*/*", "application/json"):
        return (), True
    ranges = []
    for place, part in enumerate(accept.split(",")):
        kind, _, parameters = part.partition(";")
        ranges.append((-_quality(parameters), place, kind.strip().lower()))
    wanted: list[str] = []
    for quality, _, kind in sorted(ranges):
        if kind in JSON_RANGES and quality:
            return wanted, True
        if kind.partition("/")[0] in FAMILIES and quality:
            wanted.append(SAME.get(kind, kind))
    return wanted, False


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _fits(media: str, wanted: Sequence[str]) -> bool:
    return media in wanted or media.partition("/")[0] + "/*" in wanted

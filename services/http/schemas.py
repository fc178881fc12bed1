"""Describe capabilities to people and programs: discovery entries and OpenAPI."""

from typing import Any, get_args

import numpy as np
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from cluster.contract.keys import input_schema, keys_of, shapes_of
from cluster.contract.task import AnyTask
from cluster.registry.versions import Manifest
from lepton import __version__
from lepton.wire import (
    PROBLEM_MEDIA_TYPE,
    Forgotten,
    Health,
    Lookup,
    LookupRequest,
    Metric,
    NearestRequest,
    Neighbours,
    Problem,
    Pushed,
    PushRequest,
    Readiness,
    State,
    Status,
    TaskInfo,
    TaskList,
    ViewList,
)
from services.http.answers import files_of
from services.http.app import raw_input

REF = "#/components/schemas/{model}"
PROBLEM = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}
FAULTS = {
    "400": "The body cannot be read",
    "404": "There is nothing of that name",
    "405": "The method is not allowed here",
    "406": "The answer has no form that is accepted",
    "413": "The body or the batch is too large",
    "415": "The content type is not read here",
    "422": "An input is not valid",
    "500": "The server failed",
    "503": "Not served, still starting, or overloaded",
}

FEATURES: dict[str, tuple[str, type[BaseModel], type[BaseModel]]] = {
    "/v1/features/lookup": ("Look up what views hold of keys", LookupRequest, Lookup),
    "/v1/features/{view}/push": ("Write rows of a view", PushRequest, Pushed),
    "/v1/features/{view}/nearest": ("The keys of the nearest vectors", NearestRequest, Neighbours),
}
FEAST = {
    "/get-online-features": "Look up, as Feast's client asks",
    "/push": "Write rows of a view, as Feast pushes them",
    "/write-to-online-store": "Write rows of a view, as Feast's client writes them",
    "/search": "The rows with the nearest vectors, as Feast's client asks",
}


def path_of(name: str) -> str:
    """Where a capability is reached: `vision.classify` at `/v1/vision/classify`."""
    return "/v1/" + name.replace(".", "/")


def task_info(task: type[AnyTask], state: State, manifest: Manifest | None) -> TaskInfo:
    """A capability's entry in `/v1/tasks`; `manifest` is of the version that is served."""
    return TaskInfo(
        name=task.name(),
        summary=task.summary(),
        url=path_of(task.name()),
        version=str(manifest.version) if manifest else None,
        state=state,
        metric=_metric(manifest) if manifest else None,
        input=input_schema(task),
        output=task.Output.model_json_schema(mode="serialization"),
    )


def _metric(manifest: Manifest) -> Metric | None:
    score = manifest.score
    return None if score is None else Metric(name=manifest.objective, value=score)


def openapi(tasks: list[type[AnyTask]]) -> dict[str, Any]:
    """The OpenAPI document of all capabilities and of the door."""
    shapes: list[type[BaseModel]] = [Problem, TaskInfo, TaskList, Health, Readiness, ViewList]
    shapes += [Forgotten]
    shapes += [shape for _, *both in FEATURES.values() for shape in both]
    _, definitions = models_json_schema(
        [(shape, "serialization") for shape in shapes], ref_template=REF
    )
    schemas = dict(definitions["$defs"])
    paths: dict[str, Any] = {
        "/healthz": {"get": _get("Whether the process answers", Health)},
        "/readyz": {"get": _get("Whether every capability that should be up is up", Readiness)},
        "/v1/tasks": {"get": _get("Every capability, its schemas and its version", TaskList)},
        "/v1/tasks/{name}": {"get": _get("One capability", TaskInfo)},
    }
    paths |= _feature_paths()
    waiting = {"description": "Something is not up yet", "content": _json(Readiness)}
    paths["/readyz"]["get"]["responses"]["503"] = waiting
    one = paths["/v1/tasks/{name}"]["get"]
    one["parameters"] = [_parameter("path", "name", {"type": "string"}, required=True)]
    one["responses"]["404"] = {"description": "No capability of that name", "content": PROBLEM}
    for task in tasks:
        paths[path_of(task.name())] = {"post": _post(task, schemas)}
    info = {"title": "Lepton", "version": __version__, "license": {"name": "Apache-2.0"}}
    components = {"schemas": schemas}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def _feature_paths() -> dict[str, Any]:
    """The paths of the feature layer, in our own words and in Feast's."""
    paths: dict[str, Any] = {"/v1/features": {"get": _get("Every view", ViewList)}}
    refusals = _refusals("400", "404", "405", "413", "415", "422", "500", "503")
    for path, (summary, asked, answered) in FEATURES.items():
        done = {"description": "As asked", "content": _json(answered)}
        post: dict[str, Any] = {
            "summary": summary,
            "requestBody": {"required": True, "content": _json(asked)},
            "responses": {"200": done, **refusals},
        }
        if "{view}" in path:
            post["parameters"] = [_parameter("path", "view", {"type": "string"}, required=True)]
        paths[path] = {"post": post}
    key = {"type": "object", "additionalProperties": {"type": "string"}}  # ?user_id=7&item_id=42
    erase = _get("Erase the rows of a key, or of a part of one, wherever they are kept", Forgotten)
    erase["parameters"] = [
        _parameter("path", "view", {"type": "string"}, required=True),
        _parameter("query", "key", key, required=True),
    ]
    erase["responses"] |= refusals
    paths["/v1/features/{view}"] = {"delete": erase}
    for path, summary in FEAST.items():
        body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        done = {"description": "As Feast's feature server answers"}
        responses = {"200": done, **refusals}
        paths[path] = {"post": {"summary": summary, "requestBody": body, "responses": responses}}
    return paths


def example(task: type[AnyTask]) -> dict[str, Any]:
    """One input of a capability as JSON, made up by its view."""
    row, types = task.inputs.sample(1, np.random.default_rng(0)), task.inputs.schema
    sent = (name for name in row if name in task.Input.model_fields and name in types)
    return {name: types[name].example(row[name][0]) for name in sent}


def _json(shape: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=shape.__name__)}}}


def _get(summary: str, shape: type[BaseModel]) -> dict[str, Any]:
    responses = {"200": {"description": "As asked", "content": _json(shape)}}
    return {"summary": summary, "responses": responses | _refusals("405", "500")}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {status: {"description": FAULTS[status], "content": PROBLEM} for status in statuses}


def _parameter(
    place: str, name: str, schema: dict[str, Any], *, required: bool = False
) -> dict[str, Any]:
    return {"in": place, "name": name, "required": required, "schema": schema}


def _post(task: type[AnyTask], schemas: dict[str, Any]) -> dict[str, Any]:
    name = task.name()
    answer = {
        "type": "object",
        "properties": {
            "model": {"const": name},
            "version": {"type": "string"},
            "outputs": {"type": "array", "items": _placed(task, "Output", schemas, task.Output)},
            "features": _statuses(task),
            "degraded": {
                "const": True,
                "description": "A view could not be asked; its values count as missing.",
            },
            "behind": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Views of which stored rows were not online yet.",
            },
            "request_id": {"type": "string"},
        },
        "required": ["model", "version", "outputs", "request_id"],
    }
    done = {
        "description": "One output per input, in order",
        "content": {
            "application/json": {"schema": answer},
            **{media: {"schema": {"type": "string"}} for media in files_of(task).values()},
        },
    }
    return {
        "operationId": name,
        "summary": task.summary(),
        "parameters": _options(task),
        "requestBody": {"required": True, "content": _bodies(task, schemas)},
        "responses": {"200": done, **_refusals(*(status for status in FAULTS if status != "404"))},
    }


def _options(task: type[AnyTask]) -> list[dict[str, Any]]:
    """What the query may hold beside a raw body: every field but the one that the body fills."""
    field, media = raw_input(task)
    schema = task.Input.model_json_schema(ref_template=_template(task))
    return [
        _parameter("query", name, declared) | {"description": f"Beside a body of {media} only."}
        for name, declared in schema.get("properties", {}).items()
        if media and name != field
    ]


def _bodies(task: type[AnyTask], schemas: dict[str, Any]) -> dict[str, Any]:
    """Each form that a request may have, by its media type."""
    forms = [
        _placed(task, name, schemas, shape)
        for name, shape in zip(("Input", "Keys"), shapes_of(task), strict=False)
    ]
    item = forms[0] if len(forms) == 1 else {"oneOf": forms}
    most = task.serving.max_rows
    inputs = {"type": "array", "items": item, "minItems": 1, "maxItems": most}
    bodies: dict[str, Any] = {
        "application/json": {
            "schema": {"type": "object", "properties": {"inputs": inputs}, "required": ["inputs"]},
            "example": {"inputs": [example(task)]},
        }
    }
    if media := raw_input(task)[1]:
        bodies[media] = {"schema": {"type": "string"}}
    return bodies


def _template(task: type[AnyTask]) -> str:
    return f"#/components/schemas/{task.name()}.{{model}}"


def _statuses(task: type[AnyTask]) -> dict[str, Any]:
    """What came of the look-ups for each input; it stands where anything was looked up."""
    views = {view.name for view in (*task.features, *task.live)}
    views |= {task.inputs.name} if keys_of(task) else set()
    word = {"enum": list(get_args(Status))}
    one = {"type": "object", "properties": dict.fromkeys(sorted(views), word)}
    return {"type": "array", "items": {**one, "additionalProperties": False}}


def _placed(
    task: type[AnyTask], name: str, schemas: dict[str, Any], model: type[BaseModel]
) -> dict[str, str]:
    """Put the schema of a type, and of the types in it, among `schemas`; the reference to it."""
    template = _template(task)
    mode: JsonSchemaMode = "serialization" if model is task.Output else "validation"
    schema = model.model_json_schema(ref_template=template, mode=mode)
    for inner, definition in schema.pop("$defs", {}).items():
        schemas[f"{task.name()}.{inner}"] = definition
    schemas[f"{task.name()}.{name}"] = schema
    return {"$ref": template.format(model=name)}

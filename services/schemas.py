"""Describe capabilities to people and programs: discovery entries and OpenAPI."""

import base64
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cluster.features.pictures import encode
from cluster.model import AnyTask
from cluster.registry import Manifest
from lepton import __version__
from lepton.wire import PROBLEM_MEDIA_TYPE, Metric, Problem, State, TaskInfo
from services.app import raw_input

REF = "#/components/schemas/{model}"
FAULTS = {
    "400": "The body cannot be read",
    "413": "The body or the batch is too large",
    "415": "The content type is not read here",
    "422": "An input is not valid",
    "503": "Not served, still starting, or overloaded",
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
        metric=Metric(name=manifest.objective, value=manifest.score) if manifest else None,
        input=task.Input.model_json_schema(),
        output=task.Output.model_json_schema(),
    )


def openapi(tasks: list[type[AnyTask]]) -> dict[str, Any]:
    """The OpenAPI document of all capabilities and of the door."""
    models = [(Problem, "validation"), (TaskInfo, "validation")]
    refs, definitions = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    schemas = dict(definitions["$defs"])
    del refs
    paths: dict[str, Any] = {
        "/healthz": {"get": _get("Whether the process answers")},
        "/readyz": {"get": _get("Whether every capability that should be up is up")},
        "/v1/tasks": {"get": _get("Every capability, its schemas and its version")},
    }
    for task in tasks:
        paths[path_of(task.name())] = {"post": _post(task, schemas)}
    info = {"title": "Lepton", "version": __version__, "license": {"name": "Apache-2.0"}}
    components = {"schemas": schemas}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": components}


def example(task: type[AnyTask]) -> dict[str, Any]:
    """One input of a capability as JSON, made up by its view."""
    row = task.inputs.sample(1, np.random.default_rng(0))
    fields = task.Input.model_fields
    return {name: _plain(column[0]) for name, column in row.items() if name in fields}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return base64.b64encode(encode(value)).decode()
    return value.item() if isinstance(value, np.generic) else value


def _get(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "As asked"}}}


def _post(task: type[AnyTask], schemas: dict[str, Any]) -> dict[str, Any]:
    name = task.name()
    problem = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answer = {
        "type": "object",
        "properties": {
            "model": {"const": name},
            "version": {"type": "string"},
            "outputs": {"type": "array", "items": _placed(task, "Output", schemas)},
            "request_id": {"type": "string"},
        },
        "required": ["model", "version", "outputs", "request_id"],
    }
    responses: dict[str, Any] = {
        "200": {
            "description": "One output per input, in order",
            "content": {"application/json": {"schema": answer}},
        }
    }
    for status, description in FAULTS.items():
        responses[status] = {"description": description, "content": problem}
    return {
        "operationId": name,
        "summary": task.summary(),
        "requestBody": {"required": True, "content": _bodies(task, schemas)},
        "responses": responses,
    }


def _bodies(task: type[AnyTask], schemas: dict[str, Any]) -> dict[str, Any]:
    """Each form that a request may have, by its media type."""
    item = _placed(task, "Input", schemas)
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


def _placed(
    task: type[AnyTask], kind: Literal["Input", "Output"], schemas: dict[str, Any]
) -> dict[str, str]:
    """Put the schema of a type, and of the types in it, among `schemas`; the reference to it."""
    template = f"#/components/schemas/{task.name()}.{{model}}"
    model: type[BaseModel] = getattr(task, kind)
    schema = model.model_json_schema(ref_template=template)
    for inner, definition in schema.pop("$defs", {}).items():
        schemas[f"{task.name()}.{inner}"] = definition
    schemas[f"{task.name()}.{kind}"] = schema
    return {"$ref": template.format(model=kind)}

"""The door: what is served, how to ask it, and a sentence for all the rest."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cluster.media.pixels import decode
from cluster.registry.versions import Registry
from lepton.wire import Health, Readiness, State, TaskInfo, TaskList
from services.http.app import raw_input
from services.http.door import build
from services.http.schemas import openapi, path_of
from services.local import catalog
from tests.support import ask, filler, manifest, problem

NAMES = catalog.names()


class Cluster:
    """What Ray Serve would say runs; counts how often it is asked."""

    def __init__(self, **states: State) -> None:
        self.states: dict[str, State] = {name.replace("_", "."): s for name, s in states.items()}
        self.asked = 0

    def __call__(self) -> dict[str, State]:
        self.asked += 1
        return self.states


def serve(home: Path, name: str) -> Registry:
    """A home whose registry holds one version of the capability, served."""
    registry = Registry(home)
    registry.write(name, filler(manifest(name), {"weights": b"w"}))
    registry.point("serving", name, 1)
    return registry


def test_it_says_that_it_is_alive_and_where_to_go(tmp_path: Path) -> None:
    door = build(tmp_path, Cluster())
    assert Health.model_validate_json(ask(door, "GET", "/healthz").content).status == "ok"
    links = ask(door, "GET", "/").json()["links"]
    assert [ask(door, "GET", link).status_code for link in links.values()] == [200] * len(links)


@pytest.mark.parametrize(
    ("states", "status", "said"),
    [
        ({"vision_classify": "ready"}, 200, "ready"),
        ({"vision_classify": "ready", "nlp_classify": "starting"}, 503, "starting"),
        ({"vision_classify": "failed"}, 503, "starting"),
        ({"vision_classify": "stopped"}, 200, "ready"),
        ({}, 200, "ready"),
    ],
)
def test_it_is_ready_when_all_that_was_deployed_is(
    tmp_path: Path, states: dict[str, Any], status: int, said: str
) -> None:
    answer = ask(build(tmp_path, Cluster(**states)), "GET", "/readyz")
    found = Readiness.model_validate_json(answer.content)
    assert (answer.status_code, found.status) == (status, said)
    deployed = {name.replace("_", "."): state for name, state in states.items()}
    assert found.tasks == {name: state for name, state in deployed.items() if state != "stopped"}


def test_every_capability_is_listed_with_its_schemas_and_what_is_served(tmp_path: Path) -> None:
    serve(tmp_path, "vision.classify")
    door = build(tmp_path, Cluster(vision_classify="ready"))
    tasks = TaskList.model_validate_json(ask(door, "GET", "/v1/tasks").content).tasks
    assert [task.name for task in tasks] == NAMES
    for task in tasks:
        jsonschema.Draft202012Validator.check_schema(task.input)
        jsonschema.Draft202012Validator.check_schema(task.output)
        alone = ask(door, "GET", f"/v1/tasks/{task.name}")
        assert TaskInfo.model_validate_json(alone.content) == task
    seen = next(task for task in tasks if task.name == "vision.classify")
    assert (seen.state, seen.version, seen.url) == ("ready", "1", "/v1/vision/classify")
    assert seen.metric is not None
    assert (seen.metric.name, seen.metric.value) == ("accuracy", 0.875)
    assert {task.version for task in tasks if task is not seen} == {None}


def test_what_is_stopped_shows_no_version(tmp_path: Path) -> None:
    serve(tmp_path, "vision.classify")
    task = ask(build(tmp_path, Cluster()), "GET", "/v1/tasks/vision.classify").json()
    assert (task["state"], task["version"], task["metric"]) == ("stopped", None, None)


def test_a_damaged_version_does_not_silence_the_others(tmp_path: Path) -> None:
    registry = serve(tmp_path, "vision.classify")
    (registry.folder("vision.classify", 1) / "manifest.json").write_bytes(b"{}")
    answer = ask(build(tmp_path, Cluster(vision_classify="ready")), "GET", "/v1/tasks")
    assert len(TaskList.model_validate_json(answer.content).tasks) == len(NAMES)


def test_many_who_ask_at_once_are_one_question_to_the_cluster(tmp_path: Path) -> None:
    cluster = Cluster(vision_classify="ready")
    door = build(tmp_path, cluster)
    for _ in range(5):
        ask(door, "GET", "/readyz")
    assert cluster.asked == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_capability_that_is_not_served_is_unavailable_for_now(
    tmp_path: Path, method: str, slash: str
) -> None:
    answer = ask(build(tmp_path, Cluster()), method, f"/v1/vision/classify{slash}")
    assert int(answer.headers["Retry-After"]) >= 1
    assert problem(answer, 503).detail == (
        "vision.classify is not served at the moment. "
        "Serve it: python -m services deploy vision.classify"
    )


@pytest.mark.parametrize("path", ["/v1/vision%2Fclassify", "/v1%2fvision/classify"])
def test_a_path_with_a_quoted_slash_is_no_path_of_a_capability(tmp_path: Path, path: str) -> None:
    found = problem(ask(build(tmp_path, Cluster(vision_classify="ready")), "POST", path), 404)
    assert found.detail == f"There is nothing at {path!r}. Did you mean '/v1/vision/classify'?"


def test_options_at_the_door_says_which_methods_are_allowed(tmp_path: Path) -> None:
    door = build(tmp_path, Cluster(), origins=["*"])
    answer = ask(door, "OPTIONS", "/v1/tasks")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    origin = "https://shop.example"
    assert ask(door, "GET", "/healthz", origin=origin).headers["Access-Control-Allow-Origin"] == "*"


def test_an_unknown_path_offers_the_nearest(tmp_path: Path) -> None:
    door = build(tmp_path, Cluster())
    found = problem(ask(door, "POST", "/v1/vision/clasify"), 404)
    assert found.detail.endswith("Did you mean '/v1/vision/classify'?")
    unknown = problem(ask(door, "GET", "/v1/tasks/vision.clasify"), 404)
    assert unknown.detail.endswith("Did you mean 'vision.classify'?")
    assert len(problem(ask(door, "GET", "/" + "z" * 5_000), 404).detail) < 500


@pytest.mark.parametrize("path", ["/healthz", "/v1/tasks", "/openapi.json"])
def test_a_wrong_method_at_a_known_path_is_told_the_right_one(tmp_path: Path, path: str) -> None:
    answer = ask(build(tmp_path, Cluster()), "POST", path)
    assert "GET" in answer.headers["Allow"]
    assert problem(answer, 405).detail.startswith(f"POST {path} is not allowed. Use ")


def references(part: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(part, dict):
        if isinstance(found := part.get("$ref"), str):
            yield found
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_the_openapi_document_is_whole(tmp_path: Path) -> None:
    document = ask(build(tmp_path, Cluster()), "GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["info"].keys() >= {"title", "version"}
    assert {path_of(name) for name in NAMES} <= document["paths"].keys()
    for reference in references(document):
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    readiness, one = document["paths"]["/readyz"]["get"], document["paths"]["/v1/tasks/{name}"]
    assert readiness["responses"].keys() == {"200", "405", "500", "503"}
    assert one["get"]["responses"].keys() == {"200", "404", "405", "500"}
    assert [parameter["name"] for parameter in one["get"]["parameters"]] == ["name"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] and operation["responses"] for operation in operations)
    ids = [operation["operationId"] for operation in operations if "operationId" in operation]
    assert sorted(ids) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "media", "options"),
    [
        ("vision.classify", "image/*", ["top_k"]),
        ("nlp.classify", "text/plain", ["top_k"]),
        ("recsys.recommend", None, []),
    ],
)
def test_the_options_of_a_raw_body_stand_in_the_openapi_document(
    name: str, media: str | None, options: list[str]
) -> None:
    post = openapi([catalog.find(name)])["paths"][path_of(name)]["post"]
    assert [(each["in"], each["name"]) for each in post["parameters"]] == [
        ("query", option) for option in options
    ]
    assert post["requestBody"]["content"].keys() == {"application/json", media} - {None}
    assert {"400", "405", "413", "415", "422", "500", "503"} <= post["responses"].keys()


def test_an_input_is_columns_or_the_key_of_a_stored_row(tmp_path: Path) -> None:
    name = "vision.classify"
    document = openapi([catalog.find(name)])
    post = document["paths"][path_of(name)]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]
    checked = jsonschema.Draft202012Validator({**document, **body})
    for row, fits in [
        ({"image_id": "a"}, True),
        ({"image_id": "a", "top_k": 2}, True),
        ({"image": "aaaa", "top_k": 2}, True),
        ({"image_id": "a", "image": "aaaa"}, False),
        ({"image_id": ""}, False),
        ({"top_k": 2}, False),
    ]:
        assert checked.is_valid({"inputs": [row]}) is fits, row
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    word = answer["features"]["items"]["properties"]["images"]
    assert word == {"enum": ["present", "missing", "stale"]}
    answered = ask(build(tmp_path, Cluster()), "GET", f"/v1/tasks/{name}").json()["input"]
    assert [form["required"] for form in answered["oneOf"]] == [["image"], ["image_id"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_each_capability_is_a_body_that_it_takes(name: str) -> None:
    task = catalog.find(name)
    document = openapi([task])
    body = document["paths"][path_of(name)]["post"]["requestBody"]["content"]["application/json"]
    example = json.loads(json.dumps(body["example"]))
    jsonschema.Draft202012Validator({**document, **body["schema"]}).validate(example)
    (read,) = [task.Input.model_validate(row) for row in example["inputs"]]
    field, media = raw_input(task)
    if media == "image/*":
        sent = decode(base64.b64decode(example["inputs"][0][field]))
        assert getattr(read, field).tolist() == sent.tolist()

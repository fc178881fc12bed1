"""Three capabilities live: from made-up rows to the same answer on every way there is."""

import asyncio
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import BaseModel

import lepton
import services
from cluster.base.settings import settings
from cluster.contract.keys import input_schema
from cluster.engine.engine import Engine
from cluster.media.pixels import encode
from cluster.registry.tracking import Tracker
from cluster.registry.versions import Manifest, Registry
from cluster.serving.live import Live
from lepton.wire import Readiness, TaskList
from services.cli import operate
from services.http.schemas import path_of
from services.local import catalog
from tests.contract.test_contract import alike
from tests.e2e.steps import LEPTON, MARKS, NLP, RECSYS, ROWS, VISION, folder, replicas, run
from tests.support import problem, questions

pytestmark = MARKS

NAMES = list(ROWS)
COUNT = 3


@pytest.fixture(scope="module")
def http(engine: Engine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine.url, timeout=30) as client:
        yield client


def rows(name: str) -> list[dict[str, Any]]:
    """Questions as a program has them: pictures are arrays."""
    asked = questions(catalog.find(name), COUNT)
    kept = {VISION: ("image", "top_k"), NLP: ("text", "top_k"), RECSYS: ("user_id", "k")}[name]
    return [{field: plain(asked[field][row]) for field in kept} for row in range(COUNT)]


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def on_wire(row: dict[str, Any]) -> dict[str, Any]:
    """The row as JSON carries it: pictures are base64."""
    return {
        field: base64.b64encode(encode(value)).decode() if isinstance(value, np.ndarray) else value
        for field, value in row.items()
    }


def answers(name: str) -> list[dict[str, Any]]:
    """What the version in production says in this process, with what is known live beside it."""
    model = services.load(name)
    live = Live(model.task, lambda: catalog.layer(settings()), model.manifest)
    joined = live.join([model.task.Input.model_validate(row) for row in rows(name)])
    return dumped(model.task.predict(joined.batch))


def dumped(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    return [output.model_dump(mode="json") for output in outputs]


@pytest.mark.parametrize("name", NAMES)
def test_training_registers_a_candidate_with_all_that_a_version_holds(
    name: str, served: dict[str, Manifest]
) -> None:
    made, task = served[name], catalog.find(name)
    registry = Registry(settings().home)
    assert registry.aliases(name)["candidate"] >= made.version
    assert made.metrics[task.objective.metric] > 0
    assert made.rows["train"] > made.rows["test"] > 0
    files = set(made.files)
    assert {"config.json", "card.md", "weights.safetensors"} <= files
    assert (folder(made) / "card.md").read_text().startswith(f"# {name}\n\n{task.summary()}")
    if name != RECSYS:
        assert {"model.onnx", "curves.png", "curves.json", "labels.json"} <= files
        assert (folder(made) / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_a_finished_run_of_mlflow(name: str, served: dict[str, Manifest]) -> None:
    made, here = served[name], settings()
    client = Tracker(here.tracking, here.home).client()
    experiment = client.get_experiment_by_name(name)
    assert experiment
    runs = client.search_runs([experiment.experiment_id], f"run_name = '{made.run}'")
    assert [found.info.status for found in runs] == ["FINISHED"]
    data = runs[0].data
    assert data.tags["lepton.version"] == str(made.version)
    assert data.params.keys() == made.config.keys()
    metric = catalog.find(name).objective.metric
    assert data.metrics[f"test_{metric}"] == pytest.approx(made.metrics[metric])
    if name != RECSYS:
        assert len(client.get_metric_history(runs[0].info.run_id, "loss")) == 2


@pytest.mark.parametrize("name", NAMES)
def test_json_over_http_answers_as_the_model_does_in_process(
    name: str, served: dict[str, Manifest], http: httpx.Client
) -> None:
    answer = http.post(path_of(name), json={"inputs": [on_wire(row) for row in rows(name)]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"] == name
    assert body["version"] == str(served[name].version)
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert alike(body["outputs"], answers(name))


def test_the_caller_s_own_request_id_comes_back_once(
    served: dict[str, Manifest], http: httpx.Client
) -> None:
    own = {"X-Request-ID": "mine-1"}
    answer = http.post(path_of(NLP), json={"inputs": [{"text": "fine"}]}, headers=own)
    assert answer.headers.get_list("X-Request-ID") == ["mine-1"]
    assert answer.json()["request_id"] == "mine-1"


def test_a_picture_or_a_text_may_be_the_whole_body(
    served: dict[str, Manifest], http: httpx.Client
) -> None:
    picture, text = rows(VISION)[0], rows(NLP)[0]
    for name, media, body in (
        (VISION, "image/png", encode(picture["image"])),
        (NLP, "text/plain", text["text"].encode()),
    ):
        answer = http.post(path_of(name), content=body, headers={"Content-Type": media})
        assert answer.status_code == 200, answer.text
        assert alike(answer.json()["outputs"], answers(name)[:1])


@pytest.mark.parametrize("name", NAMES)
def test_both_clients_answer_as_the_model_does_in_process(
    name: str, served: dict[str, Manifest], engine: Engine
) -> None:
    asked, expected = rows(name), answers(name)
    domain, task = name.split(".")
    several = {field: [row[field] for row in asked] for field in asked[0]}

    async def wait() -> list[Any]:
        async with lepton.AsyncClient(engine.url) as client:
            found: list[Any] = await getattr(getattr(client, domain), task)(**several)
            return found

    with lepton.Client(engine.url) as client:
        call = getattr(getattr(client, domain), task)
        one = call(**asked[0])
        assert isinstance(one, BaseModel)
        assert alike(dumped([one]), expected[:1])
        assert alike(dumped(call(**several)), expected)
        assert client.predict(name, asked).version == str(served[name].version)
    assert alike(dumped(asyncio.run(wait())), expected)


def test_a_client_takes_a_picture_as_a_path_bytes_or_an_image(
    served: dict[str, Manifest], engine: Engine, tmp_path: Path
) -> None:
    from PIL import Image

    array = rows(VISION)[0]["image"]
    (tmp_path / "one.png").write_bytes(encode(array))
    forms = [tmp_path / "one.png", encode(array), Image.fromarray(array.squeeze())]
    with lepton.Client(engine.url) as client:
        found = [client.vision.classify(image=form) for form in forms]
    assert alike(dumped(found), answers(VISION)[:1] * 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_answers_as_the_model_does_in_process(
    name: str, served: dict[str, Manifest], engine: Engine, tmp_path: Path
) -> None:
    row = rows(name)[0]
    if name == VISION:
        (tmp_path / "one.png").write_bytes(encode(row["image"]))
        words = [str(tmp_path / "one.png")]
    elif name == NLP:
        words = [row["text"]]
    else:
        words = ["--user-id", row["user_id"]]
    done = run([*LEPTON, "predict", name, *words, "--url", engine.url])
    assert done.returncode == 0, done.stderr
    assert alike([json.loads(line) for line in done.stdout.splitlines()], answers(name)[:1])


def test_the_door_says_what_is_served_and_how_to_ask(
    served: dict[str, Manifest], http: httpx.Client
) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert Readiness.model_validate_json(ready.content).tasks == dict.fromkeys(NAMES, "ready")
    found = {
        task.name: task
        for task in TaskList.model_validate_json(http.get("/v1/tasks").content).tasks
    }
    assert found.keys() == set(catalog.names())
    for name, made in served.items():
        task = catalog.find(name)
        assert found[name].version == str(made.version)
        metric = found[name].metric
        assert metric
        assert metric.value == pytest.approx(made.score)
        assert found[name].input == input_schema(task)
        assert http.get(f"/v1/tasks/{name}").json() == found[name].model_dump(mode="json")
    document = http.get("/openapi.json").json()
    assert {path_of(name) for name in NAMES} <= document["paths"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_the_openapi_document_is_answered(
    name: str, served: dict[str, Manifest], http: httpx.Client
) -> None:
    post = http.get("/openapi.json").json()["paths"][path_of(name)]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    answer = http.post(path_of(name), json=example)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["outputs"]) == len(example["inputs"])


def test_every_refusal_is_a_problem_that_says_what_to_do(
    served: dict[str, Manifest], http: httpx.Client
) -> None:
    vision, nlp = path_of(VISION), path_of(NLP)
    missing = problem(http.post("/v1/vision/clasify", json={"inputs": [{}]}), 404)
    assert f"Did you mean '{vision}'?" in missing.detail
    unknown = problem(http.get("/v1/tasks/nlp.clasify"), 404)
    assert "Did you mean 'nlp.classify'?" in unknown.detail
    problem(http.put(vision), 405)
    problem(http.post(nlp, content=b"{"), 400)
    crowd = problem(http.post(nlp, json={"inputs": [{"text": "so so"}] * 1_001}), 413)
    assert (crowd.errors[0].limit, crowd.errors[0].actual) == (1_000, 1_001)
    media = {"Content-Type": "video/mp4"}
    assert "image/*" in problem(http.post(vision, content=b"x", headers=media), 415).detail
    wrong = problem(http.post(nlp, json={"inputs": [{"text": "fine"}, {"text": ""}]}), 422)
    assert wrong.errors[0].pointer == "/inputs/1/text"


def test_a_body_over_the_limit_is_a_problem_and_an_error_of_the_client(
    served: dict[str, Manifest], engine: Engine, http: httpx.Client
) -> None:
    huge = "so " * 6_000_000
    answer = http.post(path_of(NLP), content=huge, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "too-large"
    with lepton.Client(engine.url) as client, pytest.raises(lepton.TooLarge):
        client.predict(NLP, [{"text": huge}])


def test_a_capability_that_is_not_deployed_is_a_503_that_says_how_to_serve_it(
    served: dict[str, Manifest], http: httpx.Client, engine: Engine
) -> None:
    operate.undeploy(RECSYS)
    try:
        absent = problem(http.post(path_of(RECSYS), json={"inputs": [{}]}), 503)
        assert f"python -m services deploy {RECSYS}" in absent.detail
    finally:
        operate.deploy(RECSYS, "production")
    # on a connection of its own: one that was open before goes by the old routes once more
    again = httpx.post(f"{engine.url}{path_of(RECSYS)}", json={"inputs": [{}]})
    assert again.status_code == 200, again.text


def test_status_and_logs_say_what_runs(served: dict[str, Manifest]) -> None:
    status = run([sys.executable, "-m", "services", "status"], COLUMNS="200")
    assert status.returncode == 0, status.stderr
    for name in (*NAMES, "door"):
        (line,) = [line for line in status.stdout.splitlines() if f" {name} " in line]
        assert " ready " in line
        assert "1 running" in line
    assert f" {VISION}_replica " in operate.logs(VISION, 50)[-1]
    assert len(operate.logs("", 3)) == 3


def test_status_of_a_cluster_that_ray_address_names_says_what_runs_there(
    served: dict[str, Manifest], engine: Engine, tmp_path: Path
) -> None:
    told = run(
        [sys.executable, "-m", "services", "status"],
        LEPTON_HOME=str(tmp_path),
        RAY_ADDRESS=engine.address,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(engine.token_file),
    )
    assert told.stdout.startswith(f"Ray runs at {engine.address}, which RAY_ADDRESS names: ")
    assert "of 2 CPUs taken" in told.stdout
    for name in (*NAMES, "door"):
        (line,) = [line for line in told.stdout.splitlines() if f" {name} " in line]
        assert " ready " in line


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_maps_no_torch(name: str, served: dict[str, Manifest], engine: Engine) -> None:
    (replica,) = replicas(engine, name)
    mapped = {
        line.split()[-1] for line in Path(f"/proc/{replica.pid}/maps").read_text().splitlines()
    }
    assert any("onnxruntime" in path for path in mapped) == (name != RECSYS)
    assert not [path for path in mapped if "/torch/" in path or "libtorch" in path]

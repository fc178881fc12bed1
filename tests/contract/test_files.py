"""Files go in and come out: over HTTP, by the Python client and by the command line."""

import base64
import io
import json
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
from pydantic import BaseModel
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from cluster.media import DeepPicture, Mask, Picture, Sound, Waveform
from cluster.serving.answering import Answered
from lepton import BadType, BadValue, Client, File, InvalidInput, Part
from lepton.cli import Shell, main
from services.http.app import build
from services.http.schemas import openapi, task_info
from tests.contract.clean import Clean
from tests.contract.depth import Depth
from tests.contract.segment import Segment
from tests.support import ask, manifest, plan_in, problem, stored, trained

KINDS: dict[str, Any] = {"clean": Clean, "segment": Segment, "depth": Depth}
TONE = Sound().encode(Waveform((np.sin(np.arange(400) / 5) / 2).astype(np.float32), 16_000))
BOX = np.zeros((9, 7, 1), np.uint8)
BOX[2:5, 3:6] = 210


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Starlette:
    """The three capabilities, trained a little, and what says of each what it takes."""
    home = tmp_path_factory.mktemp("files")

    def answering(name: str) -> Starlette:
        kind = KINDS[name]
        plan = plan_in(kind, stored(kind, home / name, rows=64), rows=64)
        task = trained(kind, plan, home / f"{name}-1")

        async def answer(inputs: Sequence[BaseModel]) -> Answered:
            return Answered(1, task.predict(task.complete(kind.batch(inputs))))

        return build(kind, answer)

    async def about(request: Request) -> JSONResponse:
        name = request.path_params["name"].removeprefix("contract.")
        info = task_info(KINDS[name], "ready", manifest(f"contract.{name}"))
        return JSONResponse(info.model_dump(mode="json"))

    mounts = [Mount(f"/v1/contract/{name}", answering(name)) for name in KINDS]
    return Starlette(routes=[Route("/v1/tasks/{name}", about), *mounts])


@pytest.fixture
def client(app: Starlette) -> Client:
    return connected(app)


def connected(app: Starlette) -> Client:
    """A client that asks the application in this process."""

    def send(request: httpx.Request) -> httpx.Response:
        path = request.url.path + "/" * (request.method == "POST")  # which Ray Serve does not need
        answer = ask(app, request.method, path, request.read(), **request.headers)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return Client("http://lepton", transport=httpx.MockTransport(send))


def posted(app: Starlette, name: str, *rows: object, **headers: str) -> httpx.Response:
    body = json.dumps({"inputs": rows}).encode()
    return ask(app, "POST", f"/v1/contract/{name}/", body, **headers)


def sent(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_sound_goes_in_raw_and_comes_out_as_a_file(app: Starlette) -> None:
    said = ask(
        app, "POST", "/v1/contract/clean/?gain=0.5", TONE,
        content_type="audio/wav", accept="audio/wav",
    )  # fmt: skip
    assert said.headers["content-type"] == "audio/wav"
    assert said.headers["X-Lepton-Version"] == "1"
    with wave.open(io.BytesIO(said.content)) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (8_000, 200, 1)


def test_a_mask_comes_out_as_json_and_as_a_file(app: Starlette) -> None:
    row = {"image": sent(Picture().encode(BOX))}
    output = posted(app, "segment", row, row).json()["outputs"][1]
    mask = Mask().read(output["mask"])
    assert mask.shape == (9, 7)
    assert set(np.unique(mask).tolist()) <= {0, 300}
    for accept in ("image/png", "image/*;q=0.9, */*;q=0.1", "text/html, IMAGE/PNG"):
        said = posted(app, "segment", row, accept=accept)
        assert said.headers["content-type"] == "image/png"
        assert (Mask().decode(said.content) == mask).all()


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json, image/png;q=0.5"])
def test_who_does_not_ask_for_a_file_alone_gets_json(app: Starlette, accept: str) -> None:
    said = posted(app, "segment", {"image": sent(Picture().encode(BOX))}, accept=accept)
    assert said.headers["content-type"] == "application/json"


def test_what_is_no_single_file_is_not_acceptable(app: Starlette) -> None:
    row = {"image": sent(Picture().encode(BOX))}
    plate = {"plate": sent(Picture().encode(BOX))}
    for said, words in (
        (posted(app, "segment", row, row, accept="image/png"), "2 inputs have 2 files for an ans"),
        (posted(app, "segment", row, accept="audio/wav"), "answers mask (image/png)"),
        (posted(app, "depth", plate, accept="image/png"), "answers no file. Accept application/js"),
    ):
        assert words in problem(said, 406).detail
    both = posted(app, "segment", row, row, accept="image/png, */*;q=0.1")
    assert len(both.json()["outputs"]) == 2


def test_the_openapi_document_says_what_is_a_file() -> None:
    document = openapi([*KINDS.values()])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for kind in KINDS.values():
        post = document["paths"]["/v1/" + kind.name().replace(".", "/")]["post"]
        body = post["requestBody"]["content"]["application/json"]
        example = json.loads(json.dumps(body["example"]))
        jsonschema.Draft202012Validator({**document, **body["schema"]}).validate(example)
        assert kind.Input.model_validate(example["inputs"][0])
        assert "406" in post["responses"]
    assert "audio/wav" in str(document["paths"]["/v1/tests/contract/clean"]["post"]["responses"])
    fields = document["components"]["schemas"]["tests.contract.clean.Output"]["properties"]
    assert fields["clean"]["contentMediaType"] == "audio/wav"


def test_a_client_gives_files_and_nested_objects(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "box.png"
    path.write_bytes(Picture().encode(BOX))
    output = client.contract.segment(path)
    assert isinstance(output.mask, File)
    assert output.mask.media == "image/png"
    assert output.mask.save(tmp_path / "mask.png").read_bytes() == output.mask.bytes
    assert Mask().decode(output.mask.bytes).shape == (9, 7)
    assert repr(output.mask) == f"<image/png of {len(output.mask.bytes):,} bytes>"
    for thing in output.things:
        assert isinstance(thing, Part)
        assert thing.label == thing["label"] == 300
        assert isinstance(thing.mask, File)
        with pytest.raises(AttributeError, match=r"no 'name'. It has: label, share, mask\."):
            _ = thing.name
    plain = json.loads(json.dumps(output.model_dump(mode="json")))
    assert plain == output.model_dump() == dict(output)
    assert output.model_copy(deep=True) == output
    with pytest.raises(BadValue, match="cannot be written: No such file or directory"):
        output.mask.save(tmp_path / "nowhere" / "mask.png")


def test_a_client_sends_sounds_and_deep_arrays(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(TONE)
    for sound in (path, str(path), TONE):
        output = client.contract.clean(noisy=sound)
        assert Sound().decode(output.clean.bytes).seconds == output.seconds == 0.025
    assert len(client.contract.clean([path, path])) == 2
    plate = np.full((4, 5), 1_037, np.uint16)
    assert client.contract.depth(plate).level == 1_037
    assert client.contract.depth(DeepPicture().encode(plate)).label == "bright"


def test_a_file_of_another_kind_is_refused_before_it_is_sent(
    client: Client, tmp_path: Path
) -> None:
    picture, text = tmp_path / "box.wav", tmp_path / "notes.txt"
    picture.write_bytes(Picture().encode(BOX))
    text.write_text("words")
    with pytest.raises(BadValue, match=r"noisy is '.*box.wav', which is a picture, but the field"):
        client.contract.clean(picture)
    with pytest.raises(BadValue, match=r"which is a text, but the field takes a picture \(image/"):
        client.contract.segment(str(text))
    with pytest.raises(
        BadValue, match=r"plate is 844 bytes, which is a sound, but the field takes"
    ):
        client.contract.depth(TONE)
    with pytest.raises(BadType, match="noisy is an array, which does not say its rate"):
        client.contract.clean(np.zeros((2, 8), np.float32))
    with pytest.raises(InvalidInput, match="The sound begins with 6e 6f 20 73"):
        client.contract.clean(b"no sound at all")


def test_the_command_line_writes_files(
    app: Starlette, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "tone.wav", tmp_path / "made.wav"
    path.write_bytes(TONE)
    screen = io.StringIO()
    shell = Shell(lambda url=None, timeout_s=30.0: connected(app), Console(file=screen))
    ask_for = ["predict", "contract.clean", str(path), "--gain", "0.5", "--out"]
    assert main([*ask_for, str(out)], shell) == 0
    assert json.loads(screen.getvalue()) == {"clean": str(out), "seconds": 0.025}
    assert Sound().decode(out.read_bytes()).rate_hz == 8_000
    assert f"Wrote {out} (audio/wav, 444 bytes)." in capsys.readouterr().err
    rows = json.dumps([{"noisy": str(path)}, {"noisy": str(path)}])
    named = ["predict", "contract.clean", "--json", rows, "--out", str(tmp_path / "two")]
    assert main(named, shell) == 0
    assert (tmp_path / "two-1.wav").exists()
    assert (tmp_path / "two-2.wav").exists()
    assert main([*ask_for, "made.png"], shell) == 1
    assert "ends in .png, but clean is audio/wav. Write made.wav." in capsys.readouterr().err
    plate = ["predict", "contract.depth", "--out", "x.png"]
    assert main(plate, shell) == 1
    assert "contract.depth answers no file. Leave out --out." in capsys.readouterr().err


def test_a_terminal_shows_what_a_file_is(app: Starlette, tmp_path: Path) -> None:
    path, screen = tmp_path / "tone.wav", io.StringIO()
    path.write_bytes(TONE)
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    shell = Shell(lambda url=None, timeout_s=30.0: connected(app), console)
    assert main(["predict", "contract.clean", str(path)], shell) == 0
    assert "<audio/wav of 444 bytes>" in screen.getvalue()

"""The engine starts once, says what is in its way, listens on loopback, and leaves nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.base import durable
from cluster.base.errors import Conflict, Unavailable
from cluster.base.settings import Settings
from cluster.engine import engine, host, profile, starting
from tests.support import here

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
ROOT = Path(__file__).parents[3]


def record_of_a_dead_engine(home: Path) -> engine.Engine:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    return engine.Engine.model_validate(
        {
            "pid": dead.pid,
            "born": 1,
            "boot": host.boot(),
            "mark": "none",
            "folder": home / "run",
            "token_file": home / "token",
            "address": "127.0.0.1:1",
            "url": "http://127.0.0.1:1",
            "dashboard_url": "http://127.0.0.1:1",
            "proxy": "ray",
            "started_at": "2026-01-01T00:00:00Z",
        }
    )


# records and processes


def test_connecting_to_nothing_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"No Ray runs here\. Start it with `python -m services"):
        engine.connect(here(tmp_path))
    with pytest.raises(Unavailable, match=r"No Ray answers at 127\.0\.0\.1:1"):
        engine.connect(here(tmp_path, ray_address="127.0.0.1:1"))


def test_a_dead_engine_is_not_running_and_down_forgets_it(tmp_path: Path) -> None:
    chosen = here(tmp_path)
    durable.write(tmp_path / "engine.json", record_of_a_dead_engine(tmp_path).model_dump_json())
    assert engine.status(chosen).engine is None
    assert engine.down(chosen)
    assert not engine.down(chosen)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_a_dead_engine_may_belong_to_somebody_else(tmp_path: Path) -> None:
    chosen, bystander = here(tmp_path), subprocess.Popen(SLEEP, start_new_session=True)
    try:
        stale = record_of_a_dead_engine(tmp_path).model_copy(update={"pid": bystander.pid})
        durable.write(tmp_path / "engine.json", stale.model_dump_json())
        engine.down(chosen)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_ray_whose_home_was_removed_is_found_by_its_processes(tmp_path: Path) -> None:
    home, bystanders = tmp_path / "home", {"LEPTON_ENGINE": "1", "LEPTON_HOME": str(tmp_path)}
    theirs = subprocess.Popen(SLEEP, env=bystanders)
    ours = subprocess.Popen(SLEEP, env=bystanders | {"LEPTON_HOME": str(home)})
    steps: list[str] = []
    try:
        assert engine.down(here(home), say=steps.append)
        assert steps == ["Ended 1 processes of a Ray of this home that had no record any more."]
        assert ours.wait(5) == -signal.SIGTERM
        assert theirs.poll() is None
        assert not engine.down(here(home))
    finally:
        theirs.kill()
        theirs.wait()


def test_a_family_is_found_when_its_head_is_gone() -> None:
    program = "import subprocess as s; s.Popen(['sleep', '60'], start_new_session={}); s.sys"
    for own_session in (False, True):
        head = subprocess.Popen(
            [sys.executable, "-c", program.format(own_session) + ".stdin.read()"],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env={"LEPTON_ENGINE": f"mark-{own_session}", "PATH": "/usr/bin:/bin"},
        )
        born = host.born(head.pid)
        assert born
        deadline = time.monotonic() + 10
        names: list[str] = []
        while "sleep" not in names:  # until then the child is a copy of its parent
            assert time.monotonic() < deadline
            names = [p.name() for p in host.family(head.pid, born, f"mark-{own_session}")]
        head.kill()
        head.communicate()
        left = host.family(head.pid, born, f"mark-{own_session}")
        assert [process.name() for process in left] == ["sleep"]
        assert host.end(left, grace_s=2) == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says how a child ended")
def test_a_child_that_ended_is_told_with_its_signal() -> None:
    for how, told in (("kill -XFSZ $$", "sh ended by SIGXFSZ"), ("exit 3", "sh ended with 3")):
        program = (
            f"import subprocess as s, sys; child = s.Popen(['sh', '-c', '{how}']); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as parent:
            deadline = time.monotonic() + 60
            while not (found := host.ended_child(parent.pid, ["sh"])):
                assert time.monotonic() < deadline
            assert found == told
            assert host.ended_child(parent.pid, ["raylet"]) == ""
            parent.kill()


def test_a_lock_that_its_holder_removed_still_excludes(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    with durable.lock(path):
        path.unlink()
    with durable.lock(path):
        assert path.exists()


def test_a_file_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "engine.lock"
    with pytest.raises(Conflict, match=rf"{path} cannot be used: .* Point LEPTON_HOME"):
        durable.write(path, "")
    with pytest.raises(Conflict, match=rf"{path} cannot be used: "), durable.lock(path):
        pass


def test_replacing_a_file_leaves_no_draft(tmp_path: Path) -> None:
    durable.write(tmp_path / "a", "old")
    durable.write(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not profile.has_haproxy(), reason="HAProxy's wheel is for Linux")
def test_haproxy_gets_no_public_port_and_a_limit_for_bodies(tmp_path: Path) -> None:
    named = profile.variables(here(tmp_path, body_limit_mb=2), tmp_path)
    wrapper = Path(named["RAY_SERVE_HAPROXY_BINARY_PATH"])
    (tmp_path / "cfg").write_text(
        "global\n    log 127.0.0.1:514 local0 info\ndefaults\n    mode http\n"
        "    option httplog\n    errorfile 503 /ray/500.http\n"
        "frontend prometheus\n    bind :9101\n    mode http\n    no log\n"
        "frontend http_frontend\n    bind 127.0.0.1:8000\n    default_backend none\n"
        "backend none\n    http-request return status 404\n"
        "listen stats\n  bind *:8404\n  stats enable\n"
    )
    checked = subprocess.run(
        [wrapper, "-c", "-f", tmp_path / "cfg"], capture_output=True, check=False
    )
    made = (tmp_path / "cfg").read_text()
    assert checked.returncode == 0, checked.stderr
    assert [line.split()[1] for line in made.splitlines() if "bind" in line] == ["127.0.0.1:8000"]
    assert f"req.body_size gt {2 * 2**20}" in made
    assert "514" not in made
    assert "/ray/500.http" not in made
    assert f"lf-file {tmp_path}/503.json" in made


# with Ray

# Every port that may listen, by the process that opens it, and why it must.
PORTS = {
    "haproxy": "the services",
    "gcs_server": "Ray's head: the cluster's state",
    "raylet": "the node: tasks and objects",
    "python": "the dashboard (console, jobs, Serve's REST) and the autoscaler's metrics",
    "ray-dashboard": "the parts of the dashboard",
    "ray::Dashboard": "the agent of the node: jobs, metrics",
    "ray::RuntimeEnv": "the agent of the node: packages of jobs",
    "ray::ServeContr": "a worker's RPC",
    "ray::ProxyActor": "a worker's RPC; HTTP, to wake what sleeps",
    "ray::HAProxyMan": "a worker's RPC",
    "ray::ServeRepli": "a worker's RPC; HTTP, from HAProxy; gRPC, from other replicas",
}
DEPLOY = """
import sys
from pathlib import Path
from cluster.engine import engine, profile
from cluster.base.settings import Settings
engine.connect(Settings(home=Path(sys.argv[1])))
import ray
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Echo:
    def __init__(self):
        profile.keep_replica_private()

    async def __call__(self, request):
        return len(await request.body())

serve.run(Echo.bind(), name="echo", route_prefix="/echo")
print(ray.get_runtime_context().namespace, ray.cluster_resources()["CPU"])
"""


def listening(running: engine.Engine) -> list[tuple[str, str]]:
    """The name and the address of every listening socket of an engine."""
    return [
        (process.name(), connection.laddr.ip.removeprefix("::ffff:"))
        for process in host.family(running.pid, running.born, running.mark)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    chosen = here(tmp_path_factory.mktemp("home"), num_cpus=2, object_store_mb=80, body_limit_mb=1)
    yield chosen
    engine.down(chosen)


@pytest.fixture(scope="module")
def running(chosen: Settings) -> engine.Engine:
    steps: list[str] = []
    running = starting.up(chosen, say=steps.append)
    assert steps[0] == "Starting Ray."
    return running


@pytest.mark.ray
def test_a_second_up_finds_the_first(chosen: Settings, running: engine.Engine) -> None:
    steps: list[str] = []
    assert starting.up(chosen, say=steps.append) == running
    assert steps == ["Ray runs already."]


@pytest.mark.ray
def test_a_driver_joins_and_serves(chosen: Settings, running: engine.Engine) -> None:
    joined = subprocess.run(
        [sys.executable, "-c", DEPLOY, chosen.home],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert joined.stdout.split()[-2:] == ["lepton", "2.0"], joined.stderr
    assert httpx.post(f"{running.url}/echo", content=b"12345").text == "5"


@pytest.mark.ray
@pytest.mark.skipif(not profile.has_haproxy(), reason="the limit is HAProxy's")
def test_a_body_over_the_limit_is_refused_as_a_problem(running: engine.Engine) -> None:
    refused = httpx.post(f"{running.url}/echo", content=bytes(2**20 + 1))
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "too-large"


@pytest.mark.ray
def test_every_port_has_its_reason_and_listens_on_loopback(running: engine.Engine) -> None:
    found = listening(running)
    assert {ip for _, ip in found} == {"127.0.0.1"}, found
    unknown = [name for name, _ in found if not name.startswith(tuple(PORTS))]
    assert not unknown


@pytest.mark.ray
def test_ray_answers_only_who_has_the_token(running: engine.Engine) -> None:
    assert httpx.get(f"{running.dashboard_url}/api/jobs/").status_code == 401
    assert running.token_file.stat().st_mode & 0o777 == 0o600
    token = {"Authorization": f"Bearer {running.token_file.read_text()}"}
    assert httpx.get(f"{running.dashboard_url}/api/jobs/", headers=token).status_code == 200


@pytest.mark.ray
def test_a_token_that_was_changed_is_told_and_no_reason_to_end_ray(
    chosen: Settings, running: engine.Engine
) -> None:
    token = running.token_file.read_text()
    running.token_file.write_text("0" * 64)
    try:
        for ask in (starting.up, engine.status):
            with pytest.raises(Conflict, match=rf"refuses the token in {running.token_file}\. One"):
                ask(chosen)
    finally:
        running.token_file.write_text(token)
    assert host.born(running.pid) == running.born


@pytest.mark.ray
def test_status_tells_what_runs_and_what_room_is_left(
    chosen: Settings, running: engine.Engine
) -> None:
    seen = engine.status(chosen)
    assert seen.engine == running
    assert seen.ready
    assert seen.cpus == 2
    assert seen.memory_bytes > 0
    assert seen.disk_free_bytes > 0


@pytest.mark.ray
def test_a_killed_ray_is_cleaned_up_by_the_next_up_and_down_leaves_nothing(
    chosen: Settings, running: engine.Engine
) -> None:
    os.kill(running.pid, signal.SIGKILL)
    while host.born(running.pid):
        time.sleep(0.01)
    steps: list[str] = []
    again = starting.up(chosen, say=steps.append)
    assert steps[0] == "Ray died here. Cleaning up and starting anew."
    assert host.family(running.pid, running.born, running.mark) == []
    assert engine.down(chosen)
    assert host.family(again.pid, again.born, again.mark) == []
    assert not again.folder.exists()
    assert {path.name for path in chosen.home.iterdir()} == {"logs", "token"}
    assert (chosen.home / "logs").stat().st_mode & 0o777 == 0o700

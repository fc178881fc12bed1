"""What people are shown is what was said: no emoji, no markup out of somebody else's words."""

import pytest

from cluster.engine import Status
from services import show
from services.verbs import Overview


class Application:
    """What Ray Serve says of one that fails."""

    name, state, version = "door", "failed", 0
    replicas = {"starting": 1}  # noqa: RUF012 - never changed
    message = "ray::ServeReplica:door:door ended [/red] [36m"


def test_a_message_of_ray_serve_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    far = Status(engine=None, address="10.0.0.1:6379", memory_free_bytes=0, disk_free_bytes=0)
    seen = far.model_copy(update={"cpus": 8.0, "cpus_used": 2.0, "accelerators": ["H100"]})
    show.status(Overview(seen, [Application()], {}))  # type: ignore[list-item]
    said = capsys.readouterr().out
    assert said.startswith(
        "Ray runs at 10.0.0.1:6379, which RAY_ADDRESS names: 2 of 8 CPUs taken, H100.\n"
    )
    assert Application.message in said

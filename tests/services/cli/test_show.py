"""What people are shown is what was said: no emoji, no markup out of somebody else's words."""

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.engine.engine import Status
from cluster.features.monitoring.check import Difference, Report
from services.cli import show, show_features
from services.cli.operate import Overview


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


def test_what_is_not_known_is_shown_as_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    times = np.array(["2026-05-01", "1970-01-01", "2024-05-01"], "M8[us]")
    show.rows(
        {
            "item_id": objects(["1", "2", "3"]),
            "price": np.array([2.5, 7.25, 7.25]),
            "items_missing": np.array([False, True, True]),
            "items_status": objects(["present", "missing", "stale"]),
            "items_time": times,
        }
    )
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert [row for row in cells if row and row[0]] == [
        ["1", "2.5", "False", "present", "2026-05-01T00:00:00Z"],
        ["2", "", "True", "missing", ""],
        ["3", "", "True", "stale", "2024-05-01T00:00:00Z"],
    ]


def test_event_times_that_differ_are_shown_as_moments(capsys: pytest.CaptureFixture[str]) -> None:
    key, at = {"item_id": "1"}, 1_767_225_600_000_000
    odd = Difference("items", key, at, "event_time", 4_070_908_800_000_000, 0)
    count = Difference("items", key, at, "stock", 4_070_908_800_000_000, 3)
    show_features.skew({"nlp.classify": Report(compared=2, differences=[odd, count])})
    first, second = [line for line in capsys.readouterr().out.splitlines() if "item_id=1" in line]
    assert "2099-01-01T00:00:00.000000Z" in first
    assert "always" in first
    assert "4070908800000000" in second

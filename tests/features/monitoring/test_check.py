"""What replicas looked up is what an offline join says of the same moment; else it is told."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.features.monitoring.check import Report, check
from cluster.features.monitoring.requests import read
from tests.cluster.serving.test_live import Keys, push_point
from tests.knows import Input, Knows, Service, lately, owners

VIEWS = [Knows.inputs, *Knows.features, *Knows.live]
SECOND = 1_000_000


def ago(days: float) -> Any:
    return objects([datetime.now(UTC) - timedelta(days=days)])


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = Service(tmp_path)
    push_point(made.layer, "p1", 3.0)
    for days, rank in ((50, 2.0), (9, 5.0)):
        row = {"owner_id": objects(["o1"]), "rank": np.array([rank]), "event_time": ago(days)}
        made.layer.push("owners", row)
    for days, place in ((8, "shop"), (3, "home"), (0, "park")):
        row = {"owner_id": objects(["o1"]), "place": objects([place]), "event_time": ago(days)}
        made.layer.push("visits", row)
    old = {"owner_id": objects(["o2"]), "rank": np.array([7.0]), "event_time": ago(40)}
    made.layer.push("owners", old)
    return made


def lines(service: Service, *, later_s: int = 0) -> Iterator[dict[str, Any]]:
    """What was logged, as if it had been asked some seconds later."""
    service.requests.close()
    for line in read(service.requests.folder):
        yield {**line, "at": line["at"] + later_s * SECOND}


def ask_all(service: Service) -> None:
    for key in ("o1", "o2", "o3", ""):
        service.together([Input(x=1.0, y=2.0, owner_id=key)], [Keys(point_id="p1", owner_id=key)])
    service.together([Keys(point_id="p9")])


def checked(service: Service, **more: int) -> Report:
    return check(service.layer, VIEWS, lines(service, **more))


def test_values_windows_statuses_and_times_agree_to_the_last_bit(service: Service) -> None:
    ask_all(service)
    report = checked(service, later_s=2)
    assert report.differences == []
    assert (report.compared, report.in_flight, report.rewritten) == (17, 0, 0)
    assert report.left_out == {}


def test_a_few_at_a_time_come_to_the_same(service: Service) -> None:
    ask_all(service)
    found = list(lines(service, later_s=2))
    found[0]["views"]["owners"]["values"]["rank"] = 5.5
    whole = check(service.layer, VIEWS, found)
    parts = check(service.layer, VIEWS, found, at_once=2)
    assert (whole.compared, len(whole.differences)) == (17, 1)
    assert parts == whole


def test_rows_that_came_in_later_are_not_seen_offline_either(service: Service) -> None:
    ask_all(service)
    found = list(lines(service, later_s=0))
    row = {"owner_id": objects(["o1"]), "place": objects(["late"]), "event_time": ago(1)}
    service.layer.push("visits", row)
    report = check(service.layer, VIEWS, found)
    assert report.differences == []


def test_a_value_that_differs_is_reported_with_its_view_key_moment_and_column(
    service: Service,
) -> None:
    ask_all(service)
    found = list(lines(service, later_s=2))
    for line in found:
        if "owners" in line.get("views", {}) and line["keys"]["owner_id"] == "o1":
            line["views"]["owners"]["values"]["rank"] = 5.5
    report = check(service.layer, VIEWS, found)
    assert {
        (d.view, d.key["owner_id"], d.column, d.online, d.offline) for d in report.differences
    } == {("owners", "o1", "rank", 5.5, 5.0)}
    assert {d.at for d in report.differences} <= {line["at"] for line in found}


def test_rows_that_never_came_online_are_reported(service: Service) -> None:
    stored = {
        "owner_id": objects(["o1"]), "rank": np.array([9.0]),
        "event_time": np.array([datetime.now(UTC).replace(tzinfo=None)], "datetime64[us]"),
    }  # fmt: skip
    service.layer.store.append(owners, stored)
    service.together([Input(x=1.0, y=2.0, owner_id="o1")])
    report = checked(service, later_s=2)
    assert [(d.column, d.online, d.offline) for d in report.differences][:1] == [("rank", 5.0, 9.0)]


def test_rows_that_were_stored_just_before_and_never_brought_are_no_excuse(
    service: Service,
) -> None:
    at_once = {
        "owner_id": objects(["o1"]), "rank": np.array([9.0]),
        "event_time": np.array([datetime.now(UTC).replace(tzinfo=None)], "datetime64[us]"),
    }  # fmt: skip
    service.layer.store.write(owners, at_once)
    service.together([Input(x=1.0, y=2.0, owner_id="o1")])
    report = checked(service)
    assert (report.in_flight, report.differences[0].column) == (0, "rank")
    assert report.lags["owners"].told == (
        "1 row of owners is stored and not online yet. "
        "Bring it: python -m services materialize owners"
    )


def test_rows_that_were_stored_well_before_are_no_excuse_once_they_are_online_either(
    service: Service,
) -> None:
    row = {"owner_id": objects(["o1"]), "rank": np.array([9.0]), "event_time": ago(0.1)}
    times = np.array([row["event_time"][0].replace(tzinfo=None)], "datetime64[us]")
    service.layer.store.write(owners, {**row, "event_time": times})
    found = [{**line, "at": line["at"] + 700_000} for line in logged_once(service)]
    service.layer.materialize(["owners"])
    report = check(service.layer, VIEWS, found)
    assert (report.in_flight, [d.column for d in report.differences]) == (0, ["rank", "event_time"])
    assert report.lags == {}


@pytest.mark.slow
def test_rows_that_an_ingest_was_still_reading_are_not_missed(service: Service) -> None:
    row = {"owner_id": objects(["o1"]), "rank": np.array([9.0])}
    moment = np.array([datetime.now(UTC).replace(tzinfo=None)], "datetime64[us]")
    with service.layer.store.stage(owners) as stage:  # created from here on
        stage.add({**row, "event_time": moment})
        time.sleep(0.6)
        found = logged_once(service)
        time.sleep(0.6)
        service.layer.store.commit(stage)
    report = check(service.layer, VIEWS, found)
    assert (report.differences, report.in_flight) == ([], 0)


def logged_once(service: Service) -> list[dict[str, Any]]:
    """One look-up, as it was logged."""
    service.together([Input(x=1.0, y=2.0, owner_id="o1")])
    return list(lines(service))


def test_a_status_that_differs_is_reported_as_such(service: Service) -> None:
    ask_all(service)
    found = [line for line in lines(service, later_s=2) if "views" in line]
    found[0]["views"]["lately"]["status"] = "missing"
    report = check(service.layer, VIEWS, found)
    assert [(d.view, d.column, d.online, d.offline) for d in report.differences] == [
        ("lately", "(status)", "missing", "present")
    ]


def test_a_row_on_its_way_while_it_was_looked_up_proves_nothing(service: Service) -> None:
    service.together([Input(x=1.0, y=2.0, owner_id="o1")])
    row = {"owner_id": objects(["o1"]), "place": objects(["cafe"]), "event_time": ago(1)}
    service.layer.push("visits", row)
    found = [{**line, "at": line["at"]} for line in lines(service)]
    service.together([Input(x=1.0, y=2.0, owner_id="o1")])
    later = list(lines(service))
    swapped = {**found[0], "views": later[-1]["views"]}
    report = check(service.layer, VIEWS, [swapped])
    assert (report.differences, report.in_flight) == ([], 1)


def test_a_view_that_is_declared_otherwise_now_is_left_out(service: Service) -> None:
    ask_all(service)
    found = list(lines(service))
    for line in found:
        line.get("views", {}).get("lately", {})["version"] = "another"
    report = check(service.layer, VIEWS, found)
    assert report.left_out == {"the view is declared otherwise now": 6}
    assert check(service.layer, [owners], found).left_out["the view is no longer looked up"] == 11
    assert lately.name in found[0]["views"]

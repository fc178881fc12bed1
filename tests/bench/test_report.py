"""The bench's own helpers: what counts as met, the table, the JSON, the load generator."""

import asyncio
import json
from pathlib import Path

import pytest

from services.cli import show
from tests.bench import load, report
from tests.bench.__main__ import main
from tests.bench.data import Absent, folder
from tests.bench.rows import ROWS


def test_a_larger_figure_meets_the_better_of_must_and_aim() -> None:
    assert [report.at_least("row", value, "%", 93, 94).met for value in (92.9, 93, 93.9, 94)] == [
        "missed", "must", "must", "aim",
    ]  # fmt: skip


def test_a_smaller_figure_meets_the_better_of_must_and_aim() -> None:
    assert [report.at_most("row", value, "s", 30, 10).met for value in (31, 30, 10)] == [
        "missed", "must", "aim",
    ]  # fmt: skip


def test_without_an_aim_the_must_is_all_that_can_be_met() -> None:
    assert report.at_most("row", 0.0, "s", 30).met == "must"
    assert report.told("row", 1.0, "s").met == ""


def test_what_never_came_misses_everything() -> None:
    assert report.at_most("row", float("inf"), "s", 30, 10).met == "missed"


def test_figures_show_four_digits() -> None:
    shown = [report.figure(number) for number in (0.40123, 93.215, 3158.2, 300.0, 8, 3e-12, 0)]
    assert shown == ["0.4012", "93.22", "3,158", "300", "8", "3e-12", "0"]
    assert report.figure(None) == ""


def test_a_spread_tells_every_value_and_the_noise() -> None:
    assert report.spread([3.0, 1.0, 2.0]) == "median 2 of [3, 1, 2], sd 1"
    assert report.spread([3.0]) == "median 3 of [3]"


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [report.percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 3, 5, 5]


def test_json_holds_every_field_of_every_result(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    report.write([report.at_least("fashion.accuracy", 94.1, "%", 93, 94)], path)
    (read,) = json.loads(path.read_text())
    assert list(read) == ["name", "value", "unit", "must", "aim", "met", "versions"]
    assert (read["value"], read["must"], read["aim"], read["met"]) == (94.1, 93, 94, "aim")
    assert {
        "python",
        "torch",
        "ray",
        "numpy",
        "polars",
        "onnxruntime",
        "faiss-cpu",
        "cpu",
        "cores",
    } == set(read["versions"])


def test_the_table_has_a_line_for_each_result() -> None:
    with show.out.capture() as printed:
        show.out.print(report.table([report.at_most("movielens.seconds", 6.3, "s", 30, 10)]))
    line = next(line for line in printed.get().splitlines() if "movielens" in line)
    assert line.strip("│ ").replace(" ", "").split("│") == [
        "movielens.seconds", "6.3", "s", "30", "10", "aim",
    ]  # fmt: skip


def test_every_row_has_its_file() -> None:
    here = Path(report.__file__).parent / "figures"
    assert [row for row in ROWS if not (here / f"{row.replace('-', '_')}.py").exists()] == []


def test_an_unknown_row_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["movielense"]) == 1
    assert "Did you mean 'movielens'?" in capsys.readouterr().err


def test_absent_data_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEPTON_TEST_DATA", str(tmp_path))
    with pytest.raises(Absent, match=r"There is no .*fashion-mnist; LEPTON_TEST_DATA names"):
        folder("fashion-mnist")


@pytest.mark.slow
def test_a_row_without_its_data_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEPTON_TEST_DATA", str(tmp_path / "nowhere"))
    output = tmp_path / "bench.json"
    assert main(["movielens"], output=output) == 0
    assert "movielens is left out. There is no" in capsys.readouterr().out
    assert json.loads(output.read_text()) == []


@pytest.mark.parametrize(("status", "share_failed"), [("200 OK", 0), ("503 Busy", 1)])
def test_the_asyncio_load_counts_answers_that_are_not_200(status: str, share_failed: int) -> None:
    answered = asyncio.run(_asked(status))
    assert answered.asked >= load.CONNECTIONS
    assert answered.failed == share_failed * answered.asked
    assert answered.p50 <= answered.p99
    assert answered.rate * answered.seconds == pytest.approx(answered.asked - answered.failed)


async def _asked(status: str) -> load.Load:
    """A bout of load on a server that always says the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1_000):
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await load.put_asyncio(f"http://127.0.0.1:{port}/x", b"png", seconds=0.1)

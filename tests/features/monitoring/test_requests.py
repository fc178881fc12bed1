"""The log of requests is bounded, torn lines are left out, and it never stands in the way."""

import time
from pathlib import Path

import pytest

from cluster.features.monitoring import requests
from cluster.features.monitoring.requests import RequestLog, files, read


def log(folder: Path, *, share: float = 1.0, rows_per_s: float = 1e9) -> RequestLog:
    return RequestLog(folder, share=share, limit_bytes=2**24, rows_per_s=rows_per_s)


def test_what_is_kept_is_read_in_its_order(tmp_path: Path) -> None:
    kept = log(tmp_path)
    for number in range(5):
        kept.keep(lambda number=number: [{"n": number}, {"n": number + 0.5}], 2)  # type: ignore[misc]
        while kept._queue.qsize():
            time.sleep(0.001)
    kept.close()
    assert [line["n"] for line in read(tmp_path)] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]


def test_a_line_that_a_killed_replica_tore_is_left_out(tmp_path: Path) -> None:
    kept = log(tmp_path)
    kept.keep(lambda: [{"n": 1}], 1)
    kept.close()
    with files(tmp_path)[0].open("ab") as file:
        file.write(b'{"n": 2, "views": {"a')
    assert [line["n"] for line in read(tmp_path)] == [1]


def test_a_share_of_none_keeps_and_makes_nothing(tmp_path: Path) -> None:
    kept = log(tmp_path / "none", share=0.0)
    kept.keep(lambda: [{"n": 1}], 1)
    kept.close()
    assert not (tmp_path / "none").exists()


def test_more_rows_than_a_second_may_have_are_left_out(tmp_path: Path) -> None:
    kept = log(tmp_path, rows_per_s=10)
    for _ in range(40):
        kept.keep(lambda: [{"n": 1}] * 5, 5)
    kept.close()
    assert 10 <= len(list(read(tmp_path))) <= 20


def test_the_oldest_files_go_when_all_are_too_large(tmp_path: Path) -> None:
    limit = 3 * requests.FILE_BYTES
    kept = RequestLog(tmp_path, share=1.0, limit_bytes=limit, rows_per_s=1e9)
    line = {"text": "x" * 2**19}
    for number in range(48):
        kept.keep(lambda number=number: [{"n": number, **line}], 1)  # type: ignore[misc]
        while kept._queue.qsize():
            time.sleep(0.001)
    kept.close()
    assert sum(path.stat().st_size for path in files(tmp_path)) <= limit + 2**19
    numbers = [found["n"] for found in read(tmp_path)]
    assert numbers[-1] == 47
    assert numbers[0] > 0


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_costs_lines_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = log(tmp_path / "file" / "requests")
    kept.keep(lambda: [{"n": 1}], 1)
    kept.close()


@pytest.mark.slow
def test_after_an_error_of_the_disk_the_log_goes_on(tmp_path: Path) -> None:
    folder, away = tmp_path / "requests", tmp_path / "away"
    kept = log(folder)

    def keep(number: int, text: str = "") -> None:
        kept.keep(lambda: [{"n": number, "text": text}], 1)
        while kept._queue.qsize():
            time.sleep(0.001)

    keep(1, "x" * requests.FILE_BYTES)  # the next needs a new file
    while not (files(folder) and files(folder)[0].stat().st_size):
        time.sleep(0.001)
    folder.rename(away)
    folder.write_text("in the way")
    keep(2)
    time.sleep(0.2)
    folder.unlink()
    keep(3)
    kept.close()
    assert [line["n"] for line in read(away)] == [1]
    assert [line["n"] for line in read(folder)] == [3]


def test_what_is_no_json_is_left_out(tmp_path: Path) -> None:
    kept = log(tmp_path)
    kept.keep(lambda: [{"n": object()}], 1)
    kept.keep(lambda: [{"n": 1}], 1)
    kept.close()
    assert [line["n"] for line in read(tmp_path)] == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_log_whose_thread_is_gone_is_closed_all_the_same(tmp_path: Path) -> None:
    kept = log(tmp_path)
    for _ in range(2 * requests.WAITING):
        kept.keep(lambda: [{"n": 1 // 0}], 1)
    assert kept._thread is not None
    kept._thread.join()
    for _ in range(requests.WAITING):
        kept.keep(lambda: [{"n": 1}], 1)
    kept.close()

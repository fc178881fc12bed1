import json
from pathlib import Path

import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.json_lines import MOST_FIELDS
from cluster.features.intake.files.table import ROWS
from cluster.features.views.interactions import interactions
from tests.features.intake.reading import read


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_field_that_comes_late_is_a_column_of_all_lines(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"user_id": f"u{row}", "item_id": "i"} for row in range(ROWS)]
    late = {"user_id": "late", "item_id": "i", "value": 5.0, "split": "test"}
    path = write(tmp_path / "a.jsonl", [*rows, late])
    found, bad = read(interactions, path)
    assert len(bad) == ROWS
    assert bad[0].reason == "value is missing"
    assert (found["value"].tolist(), found["split"].tolist()) == ([5.0], ["test"])
    path = write(path, [*rows, {"user_id": "late", "item_id": "i", "bought_at": "2024-05-01"}])
    with pytest.raises(InvalidInput, match="'bought_at' looks like one"):
        read(interactions, path)


def test_ids_keep_all_their_digits(tmp_path: Path) -> None:
    big = 12345678901234567890120
    path = write(tmp_path / "a.jsonl", [{"user_id": big + n, "item_id": n} for n in range(10)])
    found, bad = read(interactions, path)
    assert not bad
    assert found["user_id"].tolist() == [str(big + n) for n in range(10)]
    path.write_text('{"user_id": 12345678901234567890120.0, "item_id": 1}\n')
    assert "too large to hold every digit" in read(interactions, path)[1][0].reason


def test_nan_is_a_fault_of_its_value_and_not_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"user_id": 1.0, "item_id": NaN, "value": 1}\n{"user_id": 1, "item_id": 2, "value": NaN}\n'
        '{"user_id": 1.5, "item_id": 2, "value": 1}\n{"user_id": 17850.0, "item_id": 2}\n'
    )
    found, bad = read(interactions, tmp_path / "a.jsonl")
    assert [reject.reason for reject in bad] == [
        "item_id is empty",
        "value is nan, not a finite number",
        "user_id is 1.5, which is no id",
        "value is missing",
    ]
    assert not len(found["user_id"])


def test_lines_that_are_no_objects_are_rejected(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / "a.jsonl").write_text(
        f'{deep}\n{"1" * 5000}\n7\nnull\n{{"user_id": 1, "item_id": 2}}\n'
    )
    found, bad = read(interactions, tmp_path / "a.jsonl")
    assert len(found["user_id"]) == 1
    assert {reject.reason for reject in bad} == {"the line is no JSON object"}
    assert len(bad) == 4
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(InvalidInput, match=r"a\.jsonl is empty"):
        read(interactions, tmp_path / "a.jsonl")


def test_a_field_given_twice_is_rejected_in_wide_lines_too(tmp_path: Path) -> None:
    wide = ", ".join(f'"f{number}": 1' for number in range(200))
    row = '"user_id": "u", "item_id": "i"'
    (tmp_path / "a.jsonl").write_text(
        f'{{{row}, {wide}, "note": "9:00"}}\n{{{row}, {wide}, "f7": 2}}\n'
    )
    found, bad = read(interactions, tmp_path / "a.jsonl")
    assert found["user_id"].tolist() == ["u"]
    assert [one.reason for one in bad] == ["the line gives 'f7' more than once"]


def test_ids_as_names_of_fields_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{f"u{row}": 1} for row in range(MOST_FIELDS + 1)])
    with pytest.raises(InvalidInput, match=r"a\.jsonl has more than 10,000 different fields"):
        read(interactions, path)

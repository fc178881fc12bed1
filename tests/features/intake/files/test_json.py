import json
from pathlib import Path

import numpy as np
import pytest

from cluster.base.errors import InvalidInput, TooLarge
from cluster.features.intake.files.tree import MAX_FILE_BYTES
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from cluster.media.pixels import encode
from tests.features.intake.reading import read

ROWS = [{"text": "good", "label": "pos"}, {"text": "[bad], {bad}", "label": "neg"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        b"\n" + LINES.encode(),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode("utf-8-sig"),
        json.dumps(ROWS).encode("utf-16"),
    ],
)
def test_lines_and_arrays_of_objects_are_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    for path in (tmp_path, tmp_path / "a.json"):
        rows, bad = read(labelled_texts, path)
        assert not bad
        assert rows["text"].tolist() == [row["text"] for row in ROWS]
        assert rows["label"].tolist() == ["pos", "neg"]


def test_an_array_keeps_all_digits_and_counts_its_objects(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '[{"user_id": 12345678901234567890120, "item_id": 1},\n 3, {"user_id": 1, "user_id": 2}]'
    )
    rows, bad = read(interactions, tmp_path / "a.json")
    assert rows["user_id"].tolist() == ["12345678901234567890120"]
    assert [(reject.where, reject.reason) for reject in bad] == [
        ("a.json object 2", "the line is no JSON object"),
        ("a.json object 3", "the line gives 'user_id' more than once"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{\n "data": []\n}', "is no table: its first line is no JSON object"),
        ("hello", "is no table: its first line is no JSON object"),
        ('[{"text": "a"} {"text": "b"}]', "is no JSON array: Expecting ',' or ']': line 1"),
        ('[{"text": "a"},', "is no JSON array: Expecting value"),
        ("[] []", "is no JSON array: Extra data"),
    ],
)
def test_other_json_is_refused_with_what_to_write(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidInput) as refused:
        read(labelled_texts, tmp_path / "a.json")
    assert refused.value.message.startswith(f"a.json {said}")
    assert refused.value.hint == "Write one object a line (JSON lines)."


@pytest.mark.parametrize("content", ["", "[]", " [ ] "])
def test_empty_json_is_said_to_be_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"a\.json is empty"):
        read(labelled_texts, tmp_path / "a.json")


def test_an_array_that_is_too_large_is_asked_for_as_lines(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.write(b"[")
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(TooLarge) as refused:
        read(labelled_texts, tmp_path / "a.json")
    assert refused.value.hint == "Write one object a line (JSON lines)."


def test_json_beside_other_files_is_a_note_about_them(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(encode(np.full((2, 3), len(name), np.uint8)))
    (tmp_path / "info.json").write_text(LINES)
    rows, bad = read(labelled_images, tmp_path)
    assert not bad
    assert sorted(rows["label"]) == ["blue", "red"]


def test_an_array_in_another_encoding_is_refused_as_other_texts_are(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps(ROWS).encode("utf-16") + b"]")
    with pytest.raises(InvalidInput, match=r"a\.json is not valid UTF-16"):
        read(labelled_texts, tmp_path / "a.json")

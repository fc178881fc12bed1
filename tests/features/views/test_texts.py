import gzip
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.base.batch import Arrays, concat
from cluster.base.errors import InvalidInput
from cluster.features.intake.ingest import admit
from cluster.features.schema.view import Reject, Skipped
from cluster.features.views.texts import labelled_texts, read_texts


def read(path: Path, **columns: str) -> tuple[Arrays, list[Reject]]:
    good, bad = [], []
    for piece in read_texts(path, columns):
        if isinstance(piece, Reject):
            bad.append(piece)
        elif not isinstance(piece, Skipped):
            rows, rejects = admit(labelled_texts, piece)
            good.append(rows)
            bad += rejects
    return concat(good), bad


def said(rows: Arrays) -> list[tuple[str, str, str]]:
    return list(zip(rows["text"], rows["label"], rows["split"], strict=True))


def test_csv_with_quotes_line_ends_and_other_separators_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        '\ufefftext,category\r\n"one, ""two""\nthree\u2028four",x\r\n\r\nfünf 漢,y\r\n'.encode()
    )
    rows, bad = read(tmp_path / "a.csv")
    assert not bad
    assert said(rows) == [('one, "two"\nthree\u2028four', "x", ""), ("fünf 漢", "y", "")]


def test_semicolons_may_part_a_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label;text\nx;one, two\n")
    assert said(read(tmp_path / "a.csv")[0]) == [("one, two", "x", "")]


def test_the_names_of_files_and_folders_say_the_part(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "a.jsonl").write_text('{"id":"j","text":"b","label":"x"}\n')
    for part in ("train", "test"):
        with gzip.open(tmp_path / f"{part}.csv.gz", "wt") as file:
            file.write(f"text,label\nin {part},x\n")
    rows, _ = read(tmp_path)
    assert set(said(rows)) == {
        ("b", "x", "valid"),
        ("in test", "x", "test"),
        ("in train", "x", "train"),
    }
    assert "j" in rows["text_id"]


def test_parquet_gives_texts_by_the_mapping(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": ["a", None], "intent": [1, 2]}), tmp_path / "t.parquet")
    rows, bad = read(tmp_path / "t.parquet", text="q")
    assert said(rows) == [("a", "1", "")]
    assert bad == [Reject("t.parquet row 2", "text is empty")]


def test_a_table_without_a_header_is_mapped_by_position_and_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text('ham\t"quoted, so\nspam\tit said "buy"\n')
    rows, bad = read(tmp_path / "s.tsv", text="1", label="0")
    assert not bad
    assert said(rows) == [('"quoted, so', "ham", ""), ('it said "buy"', "spam", "")]


def test_broken_lines_are_rejected_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\na,b,c\n\xff,l\n ,l\nok,l\n")
    rows, bad = read(tmp_path / "a.csv")
    assert said(rows) == [("ok", "l", "")]
    assert {reject.where: reject.reason.split(":")[0] for reject in bad} == {
        "a.csv line 2": "the line has 3 values, the table 2 columns",
        "a.csv line 3": "text is not valid UTF-8",
        "a.csv line 4": "text is empty",
    }
    (tmp_path / "b.jsonl").write_text('{"text":"a","label":"x"}\n[1]\n{"text":"b"}\n')
    _, bad = read(tmp_path / "b.jsonl")
    assert [(r.where, r.reason) for r in bad] == [
        ("b.jsonl line 2", "the line is no JSON object"),
        ("b.jsonl line 3", "label is empty"),
    ]


def test_a_file_per_class_is_named_by_its_end_or_its_stem(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("r/README.txt", "about")
        archive.writestr("r/r.pos", "good one\n\nfine\u0085one\n")
        archive.writestr("r/r.neg", "bad one\n")
    rows, _ = read(tmp_path)
    assert sorted(said(rows)) == [
        ("bad one", "neg", ""),
        ("fine\u0085one", "pos", ""),
        ("good one", "pos", ""),
    ]
    (tmp_path / "train-pos.txt").write_text("yes\n")
    (tmp_path / "train-neg.txt").write_text("no\n")
    assert sorted(said(read(tmp_path)[0])) == [("no", "neg", ""), ("yes", "pos", "")]
    (tmp_path / "test-pos.txt").write_text("well\n")
    assert sorted(said(read(tmp_path)[0])) == [
        ("no", "neg", "train"),
        ("well", "pos", "test"),
        ("yes", "pos", "train"),
    ]


def test_a_folder_per_class_holds_a_text_a_file(tmp_path: Path) -> None:
    for name in ("train/pos/1.txt", "train/neg/1.txt", "test/pos/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"two\nlines of {name}\n")
    rows, bad = read(tmp_path)
    assert not bad
    assert set(said(rows)) == {
        ("two\nlines of train/pos/1.txt", "pos", "train"),
        ("two\nlines of train/neg/1.txt", "neg", "train"),
        ("two\nlines of test/pos/1.txt", "pos", "test"),
    }


def test_unmapped_columns_are_named_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("words,topic\na,b\n")
    with pytest.raises(
        InvalidInput, match=r"known as text; it has 'words', 'topic'\. .*--map text="
    ):
        read(tmp_path / "a.csv")
    with pytest.raises(InvalidInput, match=r"no column 'word'; .* Did you mean 'words'"):
        read(tmp_path / "a.csv", text="word", label="topic")
    with pytest.raises(InvalidInput, match=r"no column 'txt' to map to\. Did you mean 'text'"):
        read(tmp_path / "a.csv", txt="words", text="words", label="topic")
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / "a.csv", text="zzz", label="topic")
    assert str(caught.value) == "a.csv has no column 'zzz'; it has 'words', 'topic'."
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(InvalidInput, match=r"b\.csv is empty"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("rows", "line", "why"),
    [
        ('"open,x\na,x\nb,x\n"c",x\nd,x\n', 2, "',' expected after '\"'"),
        ('a,x\n"x"y,z\nb,x\n', 3, "',' expected after '\"'"),
        ('a,x\n"He said "hi" to me, and\nleft",x\n', 3, "',' expected after '\"'"),
        ('a,x\n"never closed,x\nb,x\n', 3, "a quote opens there that never closes"),
    ],
)
def test_a_csv_whose_quotes_do_not_fit_is_refused_whole(
    tmp_path: Path, rows: str, line: int, why: str
) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / "a.csv")
    assert f"a.csv cannot be read from line {line} on: {why}. Where the rows" in str(caught.value)
    assert "--map quotes=no" in caught.value.hint


def test_a_csv_may_be_read_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"open,x\na "b" c,y\n')
    rows, bad = read(tmp_path / "a.csv", quotes="no")
    assert not bad
    assert said(rows) == [('"open', "x", ""), ('a "b" c', "y", "")]
    with pytest.raises(InvalidInput, match=r"quotes=maybe says nothing\. Say quotes=yes or"):
        read(tmp_path / "a.csv", quotes="maybe")


def test_a_table_that_ends_early_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"text,label\n" + b"abc,d\n" * 1000)
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="cannot be read to its end"):
        read(tmp_path / "a.csv.gz")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(InvalidInput, match=r"cannot be read as Parquet: .* Save it again"):
        read(tmp_path / "a.parquet")


def test_rt_polarity_is_two_halves_of_one_zip(data: Path) -> None:
    rows, bad = read(data / "rt-polarity")
    assert not bad
    assert Counter(rows["label"]) == {"pos": 5331, "neg": 5331}
    assert len(set(rows["text_id"])) == 10_662


def test_sms_spam_and_banking77_have_the_published_counts(data: Path) -> None:
    rows, bad = read(data / "sms-spam", text="1", label="0")
    assert not bad
    assert Counter(rows["label"]) == {"ham": 4827, "spam": 747}
    rows, bad = read(data / "banking77")
    assert not bad
    assert Counter(rows["split"]) == {"train": 10_003, "test": 3_080}
    assert len(set(rows["label"])) == 77


def test_sentiment_lines_end_at_newlines_alone(data: Path) -> None:
    rows, bad = read(data / "sentiment-labelled" / "imdb_labelled.txt", text="0", label="1")
    assert not bad
    assert Counter(rows["label"]) == {"0": 500, "1": 500}

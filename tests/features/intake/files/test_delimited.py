import json
from pathlib import Path

import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.delimited import open_delimited
from cluster.features.intake.files.table import ROWS
from cluster.features.views.interactions import interactions
from cluster.features.views.texts import labelled_texts
from tests.features.intake.reading import read


def pairs(path: Path, **columns: str) -> list[tuple[str, str]]:
    """Text and label of each row, where none is bad."""
    rows, bad = read(labelled_texts, path, **columns)
    assert not bad
    return list(zip(rows["text"], rows["label"], strict=True))


def test_a_text_of_a_million_characters_on_many_lines_is_one_row(tmp_path: Path) -> None:
    long = ("x" * 199 + "\n") * 5_000
    quoted = long.replace("x\n", '""\r\n')
    (tmp_path / "a.csv").write_bytes(f'text,label\na,pos\n"{quoted}",neg\nb,pos\n'.encode())
    spoken = quoted.replace('""', '"')
    lines = [{"text": text, "label": "neg"} for text in ("a", spoken, "b")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "a.tsv").write_bytes(f'text\tlabel\na\tpos\n"{quoted}"\tneg\nb\tpos\n'.encode())
    assert pairs(tmp_path / "a.csv") == [("a", "pos"), (spoken, "neg"), ("b", "pos")]
    assert pairs(tmp_path / "a.tsv") == pairs(tmp_path / "a.csv")
    assert pairs(tmp_path / "a.jsonl")[1][0] == spoken


@pytest.mark.parametrize(
    "written",
    [
        "text,label\rgreat film,pos\rdull film,neg\r",
        "text,label\rgreat film,pos\rdull film,neg",
        "sep=;\ntext;label\ngreat film;pos\ndull film;neg\n",
        '"sep=|"\r\ntext|label\r\ngreat film|pos\r\ndull film|neg\r\n',
        "text, label\ngreat film, pos\ndull film, neg\n",
        'text,label\ngreat film, "pos"\ndull film, "neg"\n',
        "# exported, 2024-01-01\n# by hand\n\ntext,label\ngreat film,pos\ndull film,neg\n",
        "\n\ntext,label\ngreat film,pos\ndull film,neg\n",
        "#text,label\ngreat film,pos\ndull film,neg\n",
        "text\tlabel\ngreat film\tpos\ndull film\tneg\n",
        "text::label\ngreat film::pos\ndull film::neg\n",
    ],
)
def test_one_table_reads_the_same_however_its_csv_is_written(tmp_path: Path, written: str) -> None:
    (tmp_path / "a.csv").write_bytes(written.encode())
    assert pairs(tmp_path / "a.csv") == [("great film", "pos"), ("dull film", "neg")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_one_table_reads_the_same_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    for name, between in (("a.csv", ","), ("a.tsv", "\t")):
        table = f"text{between}label\ncafé{between}pos\nthé{between}neg\n"
        (tmp_path / name).write_bytes(table.encode(encoding))
        said = {"encoding": encoding} if encoding == "cp1252" else {}
        assert pairs(tmp_path / name, **said) == [("café", "pos"), ("thé", "neg")]


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\na,b\n".encode("utf-16-le"))
    with pytest.raises(InvalidInput, match=r"a\.csv is full of NUL bytes.* encoding=utf-16-le"):
        pairs(tmp_path / "a.csv")
    assert pairs(tmp_path / "a.csv", encoding="utf-16-le") == [("a", "b")]
    with pytest.raises(InvalidInput, match=r"There is no encoding 'latin-9x'"):
        pairs(tmp_path / "a.csv", encoding="latin-9x")
    (tmp_path / "a.csv").write_bytes("text,label\na,b\n".encode("utf-16")[:-1])
    with pytest.raises(InvalidInput, match=r"a\.csv is not valid UTF-16-LE: truncated data"):
        pairs(tmp_path / "a.csv")


@pytest.mark.parametrize("encoding", ["undefined", "idna", "rot13", "a\0b", "utf-16"])
def test_an_encoding_that_cannot_be_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\na,pos\n")
    with pytest.raises(InvalidInput, match=r"no encoding|not valid"):
        read(labelled_texts, tmp_path / "a.csv", encoding=encoding)


def test_a_lone_column_without_a_name_is_refused_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('""\n')
    with pytest.raises(InvalidInput, match="no column that is known as text; it has ''"):
        read(labelled_texts, tmp_path / "a.csv")


@pytest.mark.timeout(10)
def test_many_spaces_before_a_quote_that_never_closes_take_no_time(tmp_path: Path) -> None:
    label = f'{" " * 500_000}"pos'
    (tmp_path / "a.csv").write_text(f"text,label\na,{label}\n")
    assert pairs(tmp_path / "a.csv") == [("a", label)]


def test_spaces_that_follow_only_some_commas_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n a, pos\n b,neg\n")
    assert pairs(tmp_path / "a.csv") == [(" a", " pos"), (" b", "neg")]


def test_a_space_before_a_quote_is_no_part_of_a_value_anywhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\na,pos\n"b, c", "neg"\n" d","neg"\n')
    assert pairs(tmp_path / "a.csv") == [("a", "pos"), ("b, c", "neg"), (" d", "neg")]


def test_a_row_that_breaks_off_after_spaced_quotes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'text, label\n"\t#\nb", "x\r,"\na, "","\n"""\r\r#\n|;", ","\n'
    )
    with pytest.raises(InvalidInput, match=r"a\.csv cannot be read from line \d on"):
        pairs(tmp_path / "a.csv")


def test_hashtags_are_rows_and_not_remarks(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("#good day\tpos\n#bad day\tneg\nso so\tpos\n")
    assert len(pairs(tmp_path / "a.tsv", text="0", label="1")) == 3
    (tmp_path / "b.csv").write_text("text,label\n#good,pos\n# bad,neg\n")
    assert pairs(tmp_path / "b.csv") == [("#good", "pos"), ("# bad", "neg")]


def test_two_columns_of_one_name_are_refused_unless_one_is_picked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,Label\ngreat,pos,2\ndull,neg,1\n")
    assert pairs(path) == [("great", "pos"), ("dull", "neg")]  # ours, to the letter
    for header in ("text,label,label", "text,Class,class"):
        path.write_text(f"{header}\ngreat,pos,2\ndull,neg,1\n")
        with pytest.raises(InvalidInput, match=r"has 2 columns that could be label: '.*' at posi"):
            pairs(path)
        assert pairs(path, text="text", label="2") == [("great", "2"), ("dull", "1")]
        assert pairs(path, text="0", label="1") == [("great", "pos"), ("dull", "neg")]
    path.write_text("a,a\ngreat,pos\n")
    with pytest.raises(InvalidInput, match=r"could be text: 'a' at position 0 and 'a' at posi"):
        pairs(path, text="a", label="1")
    (tmp_path / "a.jsonl").write_text(
        '{"text":"a","label":"b","label":"c"}\n{"text":"\\"label\\": \\"label\\"","label":"b"}\n'
    )
    rows, bad = read(labelled_texts, tmp_path / "a.jsonl")
    assert [reject.reason for reject in bad] == ["the line gives 'label' more than once"]
    assert rows["text"].tolist() == ['"label": "label"']


def test_a_tab_file_has_quotes_where_all_of_them_enclose_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"He said ""hi""\tto\nme"\tpos\nplain\tneg\n')
    assert pairs(path) == [('He said "hi"\tto\nme', "pos"), ("plain", "neg")]
    path.write_text('text\tlabel\n"quoted, so\tpos\nit said "buy"\tneg\n"all of it"\tpos\n')
    literal = [('"quoted, so', "pos"), ('it said "buy"', "neg"), ('"all of it"', "pos")]
    assert pairs(path) == literal
    path.write_text('text\tlabel\n5" disk\tpos\n')
    assert pairs(path) == [('5" disk', "pos")]


@pytest.mark.parametrize(
    "rows",
    [
        'a\tpos\n"never closed\tneg\nb\tpos\n',  # cut off, or a quote that is part of the text
        '"a\tpos\nb"\tneg\n',  # one row, or two
        '5" disk\tpos\n"two\nlines"\tneg\n',  # both kinds
    ],
)
def test_a_tab_file_whose_quotes_can_be_read_two_ways_is_refused(tmp_path: Path, rows: str) -> None:
    (tmp_path / "a.tsv").write_text(f"text\tlabel\n{rows}")
    with pytest.raises(InvalidInput, match=r"quotes in line \d of a\.tsv enclose a field.*quotes="):
        pairs(tmp_path / "a.tsv")


def test_whole_numbers_that_were_floats_are_one_id_with_their_digits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "user_id,item_id,value\n17850.0,1.0,2.0\n,2,1\n17851,3.5,1\n12345678901234567890.0,1,1\n"
        "1.23457E+11,4,1\n007,5,1\n"
    )
    rows, bad = read(interactions, tmp_path / "a.csv")
    assert rows["user_id"].tolist() == ["17850", "17851", "007"]
    assert rows["item_id"].tolist() == ["1", "3.5", "5"]
    assert [reject.reason.split(":")[0] for reject in bad] == [
        "user_id is empty",
        "user_id is about 1.2345678901234567e+19, a number too large to hold every digit",
        "user_id is 1.23457E+11, a rounded number",
    ]
    (tmp_path / "b.csv").write_text("text,label\na,1.0\nb,1.0.3\n")  # versions are no numbers
    assert pairs(tmp_path / "b.csv") == [("a", "1.0"), ("b", "1.0.3")]


def test_a_column_is_numbers_by_the_first_rows_that_have_any() -> None:
    head = "a,b,c\n" + ",,1.0\n" * ROWS
    lines = [*head.splitlines(keepends=True), "2.0,2.0,x\n", "x,3.0,2.0\n"]
    table = open_delimited(lambda: iter(lines), "f.csv", ".csv")
    *_, last = table.chunks
    assert [column.tolist() for column in last.columns] == [["2.0", "x"], ["2", "3"], ["x", "2"]]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"text,label\r\na b,pos\nc d,neg\re f,pos\r\n", 3),
        (b'text,label\ra b,pos\r""\n\n\r,"\re f,pos\r', 3),  # the reader takes both for one end
    ],
)
def test_mixed_line_ends_are_told_as_such(tmp_path: Path, data: bytes, line: int) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(
        InvalidInput, match=rf"a\.csv cannot be read from line {line} on: its line ends are newl"
    ):
        read(labelled_texts, tmp_path / "a.csv")

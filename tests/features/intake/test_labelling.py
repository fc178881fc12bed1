import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from cluster.base.batch import Arrays, concat
from cluster.base.errors import InvalidInput
from cluster.features.intake.ingest import admit
from cluster.features.schema.view import Reject, Skipped, View
from cluster.features.views.images import labelled_images
from cluster.features.views.texts import labelled_texts
from cluster.media.pixels import decode, encode

Read = tuple[Arrays, list[Reject], list[Skipped]]


def read(path: Path, view: View = labelled_images, **columns: str) -> Read:
    assert view.read is not None
    good: list[Arrays] = []
    bad: list[Reject] = []
    skipped: list[Skipped] = []
    for piece in view.read(path, columns):
        if isinstance(piece, Skipped):
            skipped.append(piece)
        elif isinstance(piece, Reject):
            bad.append(piece)
        else:
            rows, rejects = admit(view, piece)
            names = (*view.columns, "split", *(name for name in view.key if name in rows))
            good.append({name: rows[name] for name in names})
            bad += rejects
    return concat(good), bad, skipped


def lay(folder: Path, files: Mapping[str, str]) -> Path:
    """Write pictures, each of the shade of its number, and texts as they are given."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.isdigit():
            path.write_bytes(encode(np.full((2, 3), int(content), np.uint8)))
        else:
            path.write_text(content)
    return folder


def labels(rows: Arrays) -> dict[int, tuple[str, str]]:
    """Of each picture, by its shade, the class and the part."""
    shades = [int(decode(data)[0, 0, 0]) for data in rows["image"]]
    assert len(set(shades)) == len(shades)
    return dict(zip(shades, zip(rows["label"], rows["split"], strict=True), strict=True))


RED_BLUE = {1: ("red", ""), 2: ("blue", "")}
PARTS = {1: ("red", "train"), 2: ("blue", "test")}
LAYOUTS: dict[str, tuple[Mapping[str, str], Mapping[int, tuple[str, str]]]] = {
    "paths from above": (
        {"train/a.png": "1", "train/b.png": "2", "test/c.png": "3",
         "train.csv": "image,label\ntrain/a.png,red\ntrain/b.png,blue\n"}, RED_BLUE),
    "ids without an end": (
        {"train/a.png": "1", "train/b.png": "2", "test/c.png": "3",
         "train.csv": "id,label\na,red\nb,blue\n", "test.csv": "id\nc\n",
         "sample_submission.csv": "id,label\nc,red\n"}, RED_BLUE),
    "one id in each part": (
        {"train/1.png": "1", "train/2.png": "2", "test/1.png": "3",
         "train.csv": "id,label\n1,red\n2,blue\n"}, RED_BLUE),
    "names of files": (
        {"train_images/a.jpg": "1", "train_images/b.jpg": "2", "test_images/c.jpg": "3",
         "labels.csv": "image_id,label\na.jpg,red\nb.jpg,blue\n"}, RED_BLUE),
    "images and labels": (
        {"images/a.png": "1", "images/b.PNG": "2", "README.md": "what it is",
         "labels.csv": "file_name,class\na.png,red\nb.PNG,blue\n"}, RED_BLUE),
    "names in other letters": (
        {"img/A.JPG": "1", "img/b.jpg": "2", "t.csv": "image,label\na.jpg,red\nb.jpg,blue\n"},
        RED_BLUE),
    "paths of another machine": (
        {"img/a.png": "1", "img/b.png": "2", "t.csv": "image,label\n/data/x/img/a.png,red\n"
         "..\\img\\b.png,blue\n"}, RED_BLUE),
    "a table per part": (
        {"train/a.png": "1", "test/b.png": "2",
         "train/metadata.csv": "file_name,label\na.png,red\n",
         "test/metadata.csv": "file_name,label\nb.png,blue\n"}, PARTS),
    "json lines per part": (
        {"data/train/a.png": "1", "data/test/b.png": "2",
         "data/train/metadata.jsonl": '{"file_name": "a.png", "label": "red"}\n',
         "data/test/metadata.jsonl": '{"file_name": "b.png", "label": "blue"}\n'}, PARTS),
    "a table of all parts": (
        {"train/a.png": "1", "test/b.png": "2",
         "metadata.csv": "file_name,label\ntrain/a.png,red\ntest/b.png,blue\n"}, PARTS),
    "tables beside the parts": (
        {"img/a.png": "1", "img/b.png": "2", "train.csv": "id,label\na,red\n",
         "test.csv": "id,label\nb,blue\n"}, PARTS),
    "tables in a folder of their own": (
        {"images/train/1.png": "1", "images/test/1.png": "2",
         "labels/train.csv": "id,label\n1,red\n", "labels/test.csv": "id,label\n1,blue\n"}, PARTS),
    "shelves that are no classes": (
        {"fold1/a.png": "1", "fold2/b.png": "2", "all.csv": "id,label\na,red\nb,blue\n"}, RED_BLUE),
    "folders called as the labels": (
        {"red/a.png": "1", "blue/b.png": "2", "some.csv": "image,label\na.png,red\n"}, RED_BLUE),
    "folders and a table of something else": (
        {"red/a.png": "1", "blue/b.png": "2", "sizes.csv": "class,width\nred,3\n"}, RED_BLUE),
    "parts with classes, a test set without": (
        {"train/red/a.png": "1", "train/blue/b.png": "2", "test/c.png": "3", "test/d.png": "4",
         "test/e.png": "5"}, RED_BLUE),
    "parts with other words": (
        {"stage1_train/red/a.png": "1", "stage1_test/blue/b.png": "2"}, PARTS),
    "parts beside a folder of figures": (
        {"train/red/a.png": "1", "test/blue/b.png": "2", "docs/c.png": "3"}, PARTS),
    "parts that hold all in one folder": (
        {"train/red/images/a.png": "1", "train/blue/images/b.png": "2", "val/images/c.png": "3",
         "test/images/d.png": "4"}, RED_BLUE),
    "classes called as files are": (
        {"train/text/a.png": "1", "train/image/b.png": "2", "test/text/c.png": "3",
         "test/image/d.png": "4"},
        {1: ("text", "train"), 2: ("image", "train"), 3: ("text", "test"), 4: ("image", "test")}),
    "an unlabelled folder": (
        {"train/red/a.png": "1", "train/unsup/c.png": "3", "test/blue/b.png": "2"}, PARTS),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_come_from_the_table_or_the_folders_that_say_them(
    tmp_path: Path, layout: str, *, packed: bool
) -> None:
    files, expected = LAYOUTS[layout]
    source = lay(tmp_path / "in", files)
    if packed:
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in files:
                archive.write(tmp_path / "in" / name, f"top/{name}")
    rows, bad, skipped = read(source)
    assert not bad
    assert labels(rows) == expected
    unread = {skip.where.removeprefix("in.zip/top/") for skip in skipped}
    pictures = {name for name, content in files.items() if content.isdigit()}
    assert len(unread & pictures) == len(pictures) - len(expected)


def test_ids_are_keys_unless_each_part_counts_anew(tmp_path: Path) -> None:
    source = lay(tmp_path, {"train/1.png": "1", "test/2.png": "2", "train.csv": "id,label\n1,a\n"})
    assert read(source)[0]["image_id"].tolist() == ["1"]
    lay(source, {"test/1.png": "3", "test.csv": "id,label\n1,b\n"})
    assert not {"1"} & {*read(source)[0]["image_id"]}


def test_folders_of_parts_are_never_classes(tmp_path: Path) -> None:
    source = lay(tmp_path, {"train/a.png": "1", "train/b.png": "2", "test/c.png": "3"})
    with pytest.raises(
        InvalidInput, match=r"3 files in .* show: test, train are no folders of classes, and"
    ):
        read(source)
    lay(source, {"train.csv": "id,target_value\na,red\n", "val/d.png": "4"})
    with pytest.raises(
        InvalidInput, match=r"test, train, val are no .* train\.csv has no column that is"
    ):
        read(source)
    (tmp_path / "train.csv").write_text("id,label\nx,red\n")
    with pytest.raises(
        InvalidInput, match=r"train\.csv names no file that is here.* Put them into"
    ):
        read(source)


@pytest.mark.parametrize("part", ["test", "valid", "test_images"])
def test_a_folder_of_a_part_beside_classes_is_skipped_and_named(tmp_path: Path, part: str) -> None:
    lay(tmp_path, {"cats/a.png": "1", "dogs/b.png": "2", f"{part}/c.png": "3"})
    rows, bad, skipped = read(tmp_path)
    assert labels(rows) == {1: ("cats", ""), 2: ("dogs", "")}
    assert not bad
    assert skipped == [
        Skipped(f"{part}/c.png", "it has no label: it lies in no folder of a class"),
    ]


def test_folders_below_those_of_parts_must_say_more_than_images(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="show: test, train are no folders of classes"):
        read(lay(tmp_path, {"train/images/a.png": "1", "test/images/b.png": "2"}))


def test_a_table_against_folders_of_its_own_labels_is_a_bad_row(tmp_path: Path) -> None:
    table = "image,label\nred/a.png,blue\nblue/b.png,blue\n"
    source = lay(tmp_path, {"red/a.png": "1", "blue/b.png": "2", "t.csv": table})
    rows, bad, _ = read(source)
    assert labels(rows) == {2: ("blue", "")}
    assert bad == [
        Reject("t.csv line 2", "label is 'blue', but 'red/a.png' lies in the folder 'red'")
    ]
    rows, bad, _ = read(source, label="label")
    assert not bad
    assert labels(rows) == {1: ("blue", ""), 2: ("blue", "")}


def test_a_picture_that_is_named_twice_is_one_row_or_none(tmp_path: Path) -> None:
    table = "image,label\na.png,red\na.png,red\nb.png,red\nb.png,blue\n"
    rows, bad, skipped = read(lay(tmp_path, {"a.png": "1", "b.png": "2", "t.csv": table}))
    assert labels(rows) == {1: ("red", "")}
    assert skipped == [Skipped("t.csv line 3", "'a.png' is named before, with the same label")]
    assert {reject.where for reject in bad} == {"t.csv line 4", "t.csv line 5"}
    assert bad[0].reason == "label of 'b.png' is 'red' and 'blue' in different rows"


def test_a_name_that_may_be_one_of_several_files_is_a_bad_row(tmp_path: Path) -> None:
    files = {"x/a.png": "1", "y/a.png": "2", "b.png": "3", "t.csv": "id,label\na,red\nb,red\nc,x\n"}
    rows, bad, _ = read(lay(tmp_path, files))
    assert labels(rows) == {3: ("red", "")}
    assert [reject.reason for reject in bad] == [
        "image 'a' may be 'x/a.png' or 'y/a.png': give the path",
        "image 'c' is no file of the source",
    ]


def test_a_table_finds_a_file_whose_name_has_another_unicode_form(tmp_path: Path) -> None:
    table = "file,label\ncafe\u0301/e\u0301.png,red\nb.png,blue\n"
    rows, bad, _ = read(lay(tmp_path, {"caf\u00e9/\u00e9.png": "1", "b.png": "2", "t.csv": table}))
    assert (labels(rows), bad) == ({1: ("red", ""), 2: ("blue", "")}, [])


def test_hugging_face_tables_say_what_their_classes_are_called(tmp_path: Path) -> None:
    info = {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}
    said = {"huggingface": json.dumps({"info": info})}
    for part, numbers in (("train", [0, 1]), ("test", [1, -1])):
        shades = [int(part == "test") * 2 + row for row in range(2)]
        image = [{"bytes": encode(np.full((2, 2), s, np.uint8)), "path": "x.png"} for s in shades]
        table = pa.table({"image": image, "label": numbers}).replace_schema_metadata(said)
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"{part}-00000-of-00001.parquet")
    rows, bad, skipped = read(tmp_path)
    assert not bad
    assert labels(rows) == {0: ("cat", "train"), 1: ("dog", "train"), 2: ("dog", "test")}
    assert [skip.reason for skip in skipped] == ["it has no label (-1)"]
    texts = pa.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(said)
    pq.write_table(texts, tmp_path / "texts.parquet")
    assert read(tmp_path / "texts.parquet", labelled_texts)[0]["label"].tolist() == ["dog", "cat"]
    feather.write_feather(texts, tmp_path / "texts.feather")
    assert read(tmp_path / "texts.feather", labelled_texts)[0]["label"].tolist() == ["dog", "cat"]


def test_pictures_are_known_by_their_bytes_whatever_their_name(tmp_path: Path) -> None:
    lay(tmp_path, {"red/a": "1", "blue/b.dat": "2", "blue/c.JFIF": "3", "blue/note.txt": "BMW is"})
    (tmp_path / "red" / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    rows, bad, skipped = read(tmp_path)
    assert not bad
    assert Counter(rows["label"]) == {"blue": 2, "red": 1}
    assert {skip.where: skip.reason for skip in skipped} == {
        "blue/note.txt": "it is of no kind that is read here",
        "red/d.heic": "it is HEIC, which is not read here: save it as JPEG or PNG",
    }


def test_classes_with_spaces_and_any_letters_keep_their_names(tmp_path: Path) -> None:
    rows, _, _ = read(lay(tmp_path, {"red shoe/a.png": "1", "grün/b.PnG": "2", "漢/c.png": "3"}))
    assert sorted(rows["label"]) == sorted(("red shoe", "grün", "漢"))


def test_texts_are_labelled_by_a_table_as_pictures_are(tmp_path: Path) -> None:
    docs = {
        f"{part}/{n:03}.txt": f"{part} text {n}" for part in ("train", "test") for n in range(15)
    }
    source = lay(tmp_path, docs)
    with pytest.raises(InvalidInput, match=r"what the 30 texts in .* are: test/000\.txt and the"):
        read(source, labelled_texts)
    lines = [f"{n:03},{'ab'[n % 2]}" for n in range(15)]
    lay(source, {"train.csv": "\n".join(["id,label", *lines]), "test.csv": "id\n000\n"})
    rows, bad, skipped = read(source, labelled_texts)
    assert not bad
    assert Counter(rows["label"]) == {"a": 8, "b": 7}
    assert all(text.startswith("train") for text in rows["text"])
    assert len(skipped) == 16
    assert set(rows["split"]) == {""}


def test_a_table_of_texts_without_labels_is_skipped_beside_one_with(tmp_path: Path) -> None:
    source = lay(tmp_path, {
        "train.csv": "id,text,label\n1,one,x\n2,two,y\n", "test.csv": "id,text\n3,three\n",
        "sample_submission.csv": "id,text,label\n3,three,x\n",
    })  # fmt: skip
    rows, bad, skipped = read(source, labelled_texts)
    assert not bad
    assert rows["text"].tolist() == ["one", "two"]
    assert set(rows["split"]) == {""}
    assert {skip.where for skip in skipped} == {"test.csv", "sample_submission.csv"}


def test_a_table_without_a_column_of_labels_says_how_to_name_it(tmp_path: Path) -> None:
    source = lay(tmp_path, {"train/a.png": "1", "test/b.png": "2", "t.csv": "id,breed\na,x\n"})
    with pytest.raises(
        InvalidInput, match=r"known as label; it has 'id', 'breed'\. .*--map label="
    ):
        read(source)
    assert labels(read(source, label="breed")[0]) == {1: ("x", "")}


def test_folders_of_texts_are_read_beside_files_of_other_kinds(tmp_path: Path) -> None:
    names = [
        f"{part}/{label}/{n}.txt"
        for part in ("train", "test")
        for label in ("pos", "neg")
        for n in "12"
    ]
    source = lay(tmp_path, {name: f"in {name}" for name in names})
    lay(source, {"words.voc": "the\nof\n", "train/urls.txt": "http:", "train/unsup/1.txt": "what"})
    rows, bad, skipped = read(source, labelled_texts)
    assert not bad
    assert Counter(zip(rows["label"], rows["split"], strict=True)) == {
        (label, part): 2 for label in ("pos", "neg") for part in ("train", "test")
    }
    assert {skip.where for skip in skipped} == {"words.voc", "train/urls.txt", "train/unsup/1.txt"}


@pytest.mark.parametrize("folders", [("images",), ("part_1", "part_2")])
def test_shelves_beside_a_table_without_labels_are_no_classes(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    files = {f"{folder}/{folder}.png": str(shade) for shade, folder in enumerate(folders)}
    table = "\n".join(["image_id,dx", *(f"{folder},x" for folder in folders)])
    source = lay(tmp_path, {**files, "meta.csv": table})
    with pytest.raises(InvalidInput, match=r"no folders of classes, .* known as label; it has 'im"):
        read(source)
    assert set(read(source, label="dx")[0]["label"]) == {"x"}
    (source / "meta.csv").unlink()
    assert set(read(source)[0]["label"]) == {*folders}


def test_pictures_in_a_zip_beside_the_table_are_asked_for_unpacked(tmp_path: Path) -> None:
    lay(tmp_path, {"labels.csv": "id,breed\na,x\n"})
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("a.png", encode(np.zeros((2, 2), np.uint8)))
    with pytest.raises(InvalidInput, match=r"labels\.csv names pictures, and train\.zip beside it"):
        read(tmp_path)


def test_a_table_alone_believes_paths_and_says_which_is_missing(tmp_path: Path) -> None:
    lay(tmp_path, {"in/a.png": "1", "t.csv": "image,label\nin/a.png,x\nb.png,y\n"})
    rows, bad, _ = read(tmp_path / "t.csv")
    assert labels(rows) == {1: ("x", "")}
    assert bad == [Reject("t.csv line 3", "No such file: b.png.")]


def test_pictures_behind_urls_are_not_fetched(tmp_path: Path) -> None:
    url = "https://example.com/a.png"
    lay(tmp_path, {"in/a.png": "1", "t.csv": f"image,label\nin/a.png,x\n{url},y\n"})
    _, (bad,), _ = read(tmp_path / "t.csv")
    assert bad.reason.startswith(f"image {url!r} is a URL, and files behind URLs are not fetched")

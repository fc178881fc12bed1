import gzip
import struct
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.base.batch import Arrays, concat, objects
from cluster.base.errors import InvalidInput, NotFound
from cluster.features.intake.image_files import read_images
from cluster.features.intake.ingest import admit, ingest
from cluster.features.offline.store import Store
from cluster.features.schema.view import Reject, Skipped
from cluster.features.views.images import item_images, labelled_images
from cluster.media.pixels import decode, encode

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
EMPTY = {name: objects([]) for name in ("image", "label", "split")}


def read(path: Path, **columns: str) -> tuple[Arrays, list[Reject]]:
    good, bad = [admit(labelled_images, EMPTY)[0]], []
    for piece in read_images(path, columns):
        if isinstance(piece, Reject):
            bad.append(piece)
        elif not isinstance(piece, Skipped):
            rows, rejects = admit(labelled_images, piece)
            good.append(rows)
            bad += rejects
    return concat(good), bad


def lay(folder: Path, *names: str) -> None:
    for shade, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(GREY + np.uint8(shade)))


def labels(rows: Arrays) -> list[tuple[int, str, str]]:
    """Of each row by how much `lay` brightened the picture, its class and its part."""
    shades = (decode(data)[0, 0, 0] for data in rows["image"])
    return sorted(zip(map(int, shades), rows["label"], rows["split"], strict=True))


def test_a_folder_names_the_class_of_its_pictures(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/1.png")
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "README.md").write_text("about")
    rows, bad = read(tmp_path)
    assert not bad
    assert labels(rows) == [(0, "cat", ""), (1, "cat", ""), (2, "dog", "")]


def test_folders_above_the_classes_name_the_part(tmp_path: Path) -> None:
    lay(tmp_path, "pets/train/cat/1.png", "pets/val/cat/1.png", "pets/test/dog/1.png")
    rows, _ = read(tmp_path)
    assert labels(rows) == [(0, "cat", "train"), (1, "cat", "valid"), (2, "dog", "test")]


def test_a_class_called_train_is_a_class_beside_others(tmp_path: Path) -> None:
    lay(tmp_path, "train/1.png", "car/1.png", "bus/1.png")
    rows, _ = read(tmp_path)
    assert set(rows["label"]) == {"train", "car", "bus"}
    assert set(rows["split"]) == {""}


def test_a_zip_reads_as_its_folders_would(tmp_path: Path) -> None:
    lay(tmp_path / "raw", "cat/1.png", "dog/1.png")
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for file in sorted((tmp_path / "raw").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "raw"))
        archive.writestr("__MACOSX/cat/._1.png", b"x")
    rows, bad = read(tmp_path / "pets.zip")
    assert not bad
    assert labels(rows) == labels(read(tmp_path / "raw")[0])


def test_pictures_that_cannot_be_used_are_rejected_with_place_and_reason(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "stray.png")
    (tmp_path / "cat" / "2.png").write_bytes(encode(GREY)[:-30])
    rows, bad = read(tmp_path)
    assert labels(rows) == [(0, "cat", ""), (2, "dog", "")]
    reasons = {reject.where: reject.reason for reject in bad}
    assert reasons["stray.png"] == "the file lies in no folder of a class"
    assert "truncated or broken" in reasons["cat/2.png"]


def test_a_table_gives_paths_within_its_folder_or_the_bytes(tmp_path: Path) -> None:
    lay(tmp_path, "pix/a.png", "pix/b.png")
    (tmp_path / "labels.csv").write_text("file,label,split\npix/a.png,x,train\npix/b.png,y,dev\n")
    rows, bad = read(tmp_path / "labels.csv")
    assert not bad
    assert labels(rows) == [(0, "x", "train"), (1, "y", "valid")]
    table = pa.table({"id": ["7"], "png": [{"bytes": encode(GREY), "path": None}], "label": [3]})
    pq.write_table(table, tmp_path / "hub.parquet")
    rows, _ = read(tmp_path / "hub.parquet", image="png")
    assert rows["image_id"].tolist() == ["7"]
    assert labels(rows) == [(0, "3", "")]
    assert rows["image"][0] == encode(GREY)


def test_a_table_of_pictures_that_lie_in_no_folder_is_read_in_their_place(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\nb.png,y\n")
    rows, bad = read(tmp_path)
    assert not bad
    assert labels(rows) == [(0, "x", ""), (1, "y", "")]


def test_large_pictures_are_held_a_few_at_a_time(tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / "cat" / f"{number}.bmp"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"BM" + bytes(30_000_000))
    batches = [
        piece for piece in read_images(tmp_path, {}) if not isinstance(piece, Reject | Skipped)
    ]
    assert [len(batch["image"]) for batch in batches] == [3, 2]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_a_table_cannot_reach_files_outside_its_folder(tmp_path: Path, path: str) -> None:
    lay(tmp_path, "secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(f"file,label\n{path},x\n")
    rows, bad = read(tmp_path / "in" / "t.csv")
    assert not len(rows["image"])
    assert "lies outside the table's folder" in bad[0].reason


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def test_idx_pairs_give_pixels_labels_and_parts(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    for part in ("train", "t10k"):
        with gzip.open(tmp_path / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(idx(pixels))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    rows, bad = read(tmp_path)
    assert not bad
    assert len(set(rows["image_id"])) == 5  # both parts hold the same pictures
    assert Counter(rows["split"]) == {"train": 5, "test": 5}
    assert rows["label"][:5].tolist() == ["0", "1", "2", "3", "4"]
    stored = labelled_images.columns["image"]
    assert (stored.unpack(stored.pack(rows["image"]))[1][..., 0] == pixels[1]).all()


def test_a_broken_idx_pair_is_refused_with_what_it_states(tmp_path: Path) -> None:
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(idx(np.zeros((5, 4, 3), np.uint8))[:-1])
    with pytest.raises(InvalidInput, match="stands alone"):
        read(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(InvalidInput, match="states 60 values and holds 59"):
        read(tmp_path)
    images.write_bytes(idx(np.zeros((5, 4, 3), np.uint8)))
    with pytest.raises(InvalidInput, match="these are no pair"):
        read(tmp_path)


def test_paths_without_pictures_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file or folder"):
        read(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="it is empty"):
        read(tmp_path)
    (tmp_path / "song.wav").write_bytes(b"x")
    with pytest.raises(InvalidInput, match=r"it holds song\.wav"):
        read(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InvalidInput, match="is not a sound zip"):
        read(tmp_path / "a.zip")


def test_sign_digits_are_a_thousand_colour_pictures_of_ten_classes(data: Path) -> None:
    rows, bad = read(data / "sign-digits")
    assert not bad
    assert Counter(Counter(rows["label"]).values()) == {100: 10}
    assert rows["image"][0][:2] == b"\xff\xd8"


def test_a_picture_of_each_item_is_named_by_its_file_or_stands_in_a_table(tmp_path: Path) -> None:
    drawn = item_images.sample(3, np.random.default_rng(0))
    files, table = tmp_path / "files", tmp_path / "table"
    for folder in (files / "shop", table):
        folder.mkdir(parents=True)
    for name, pixels in zip(drawn["item_id"], drawn["image"], strict=True):
        (files / "shop" / f"{name}.png").write_bytes(encode(pixels))
        (table / f"{name}-front.png").write_bytes(encode(pixels))
    lines = [f"{name},{name}-front.png" for name in drawn["item_id"]]
    (table / "pictures.csv").write_text("\n".join(["sku,image", *lines]))
    for folder in (files, table):
        store = Store(tmp_path / f"store-{folder.name}")
        assert ingest(item_images, [folder], store).new == 3
        rows = store.snapshot("item_images").read(item_images)
        found = dict(zip(rows["item_id"], rows["image"], strict=True))
        for name, pixels in zip(drawn["item_id"], drawn["image"], strict=True):
            assert np.array_equal(found[name], pixels)

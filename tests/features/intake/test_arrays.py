import io
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.image_files import read_images
from cluster.features.schema.view import Reject, Skipped
from cluster.media.pixels import encode

GREY = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def read(path: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    rows = []
    for piece in read_images(path, {}):
        assert not isinstance(piece, Reject | Skipped)
        shapes = [image.shape for image in piece["image"]]
        rows += list(zip(piece["label"], piece["split"], shapes, strict=True))
    return rows


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3)])
@pytest.mark.parametrize("names", ["{}_images {}_labels", "x_{} y_{}"])
def test_arrays_of_pictures_and_labels_are_pairs(
    tmp_path: Path, shape: tuple[int, ...], names: str
) -> None:
    arrays = {}
    for part in ("train", "val", "test"):
        images, labels = names.format(part, part).split()
        arrays[images] = np.zeros((2, *shape), np.uint8)
        arrays[labels] = np.array([[7], [1]])
    np.savez_compressed(tmp_path / "a.npz", allow_pickle=False, **arrays)
    assert read(tmp_path / "a.npz") == [
        (label, part, shape) for part in ("train", "valid", "test") for label in ("7", "1")
    ]


def test_one_pair_of_arrays_says_no_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array(["x", "y"]))
    assert read(tmp_path) == [("x", "", (4, 4)), ("y", "", (4, 4))]


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 3), int), "has 3 labels for each picture"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(3, int), r"with 3 labels: .* no pictures of one"),
        (np.zeros((2, 4, 4)), np.zeros(2, int), r"float64 and shape \(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), np.zeros(2, int), r"shape \(2, 4, 4, 4\)"),
        (np.zeros((2, 4, 4), np.uint8), np.array([0.5, 1]), "labels of float64"),
        (np.zeros((2, 4, 4), np.uint8), np.array([None, {}]), "allow_pickle=False"),
    ],
)
def test_arrays_that_are_no_pictures_of_one_label_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, sentence: str
) -> None:
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels)
    with pytest.raises(InvalidInput, match=sentence):
        read(tmp_path)


def test_an_array_that_states_more_than_it_holds_is_refused_at_once(tmp_path: Path) -> None:
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
    np.lib.format.write_array_header_1_0(header, about)
    np.savez(tmp_path / "labels.npz", labels=np.zeros(2, int))
    with (
        zipfile.ZipFile(tmp_path / "labels.npz") as labels,
        zipfile.ZipFile(tmp_path / "a.npz", "w") as archive,
    ):
        archive.writestr("labels.npy", labels.read("labels.npy"))
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(InvalidInput, match=r"it states 784,000,000,000 bytes and holds 128"):
        read(tmp_path / "a.npz")


def test_an_npz_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), person=np.zeros(2))
    with pytest.raises(InvalidInput, match=r"no pair of arrays .*, but images, person\. Call them"):
        read(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"PK not")
    with pytest.raises(InvalidInput, match=r"a\.npz is no sound npz"):
        read(tmp_path)


def test_an_npz_beside_pictures_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.zeros(2))
    for label in ("x", "y"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(encode(GREY))
    pieces = list(read_images(tmp_path, {}))
    assert [skip.where for skip in pieces if isinstance(skip, Skipped)] == ["weights.npz"]


def test_pneumonia_mnist_has_the_published_counts(data: Path) -> None:
    rows = read(data / "pneumonia-mnist" / "pneumoniamnist.npz")
    assert Counter((part, label) for label, part, _ in rows) == {
        ("train", "0"): 1214, ("train", "1"): 3494, ("valid", "0"): 135, ("valid", "1"): 389,
        ("test", "0"): 234, ("test", "1"): 390,
    }  # fmt: skip


def test_an_encrypted_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((2, 4, 4), np.uint8), labels=np.arange(2))
    data = bytearray(path.read_bytes())
    for at in (found.start() + 8 for found in re.finditer(rb"PK\x01\x02", data)):
        data[at] |= 1  # as zip marks what is encrypted
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"cannot be read: .*encrypted"):
        read(path)

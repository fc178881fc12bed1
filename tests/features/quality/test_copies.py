"""Which stored rows hold the same: equal texts and pictures, and near-copies of them."""

import io
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from cluster.base.batch import objects
from cluster.features.offline.store import Store
from cluster.features.quality.copies import KEPT_ROWS, Copies, across, content_of, copies_of, plain
from cluster.features.quality.likeness import SKETCH, cluster, sketch
from cluster.features.schema.view import View
from cluster.features.views.images import images, labelled_images
from cluster.features.views.interactions import interactions, users
from cluster.features.views.texts import labelled_texts, texts

Pixels = NDArray[np.uint8]
SMALL, LARGE = (28, 28), (96, 120)


def groups(found: NDArray[np.int64]) -> list[set[int]]:
    """The groups of more than one row."""
    sets = ({*np.flatnonzero(found == first).tolist()} for first in np.unique(found))
    return [rows for rows in sets if len(rows) > 1]


def stored(root: Path, view: View, name: str, values: list[object]) -> Copies:
    store = Store(root)
    keys = objects(f"k{number:04}" for number in range(len(values)))
    labels = objects("ab"[number % 2] for number in range(len(values)))
    store.write(view, {view.key[0]: keys, name: objects(values), "label": labels})
    return copies_of(store.head(view), view)


def picture(seed: int, size: tuple[int, int] = LARGE, channels: int = 3) -> Pixels:
    """A smooth picture: blobs of some colours on a gradient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    drawn = np.zeros((*size, channels))
    for _ in range(6):
        cx, cy, wide = rng.uniform((0, 0, 0.05), (1, 1, 0.3))
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / wide**2)
        drawn += blob[..., None] * rng.uniform(0, 160, channels)
    return drawn.clip(0, 255).astype(np.uint8)


def written(pixels: Pixels, kind: str, *, scale: float = 1.0, **how: int) -> bytes:
    image = Pillow.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    if scale != 1.0:
        image = image.resize((round(image.width * scale), round(image.height * scale)))
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def test_texts_that_differ_by_case_spaces_or_unicode_form_are_near_copies(tmp_path: Path) -> None:
    rows = [
        "Good film.", "good  film.", " GOOD\tfilm. ", "Good film", "Caf\u00e9", "Cafe\u0301",
        "STRASSE", "Stra\u00dfe", "\uff27\uff4f\uff4f\uff44 film.", "Good film.",
    ]  # fmt: skip
    found = stored(tmp_path, labelled_texts, "text", [*rows])
    assert groups(found.same) == [{0, 9}]
    assert groups(found.alike) == [{0, 1, 2, 8, 9}, {4, 5}, {6, 7}]
    assert found.alike[[1, 2, 8, 9]].tolist() == [0, 0, 0, 0]


def test_what_is_no_letter_still_tells_texts_apart() -> None:
    assert len({plain(text) for text in ("a b", "ab", "a-b", "a b!", "1", "2")}) == 6
    assert plain("a\u200bb\ufeff") == "ab"


@pytest.mark.parametrize("side", [0, 1])
def test_a_picture_of_a_million_pixels_in_one_line_is_sketched_in_little_memory(side: int) -> None:
    short = np.random.default_rng(0).integers(0, 256, (1_001, 1, 1)).astype(np.uint8)
    long = np.repeat(short, 1_000, axis=0)
    tracemalloc.start()
    light = sketch(long if side == 0 else long.swapaxes(0, 1))[2]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
    assert light.tolist() == sketch(short if side == 0 else short.swapaxes(0, 1))[2].tolist()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_encoded_again_or_made_a_little_smaller_is_a_near_copy(
    tmp_path: Path, size: tuple[int, int], channels: int
) -> None:
    one, other = (picture(seed, size, channels) for seed in (1, 2))
    files = [
        written(one, "PNG"), written(one, "BMP"), written(one, "JPEG", quality=80),
        written(one, "WEBP", quality=80), written(one, "PNG", scale=1.5), written(other, "PNG"),
        written(other, "JPEG", quality=90),
    ]  # fmt: skip
    found = stored(tmp_path, labelled_images, "image", [*files])
    assert groups(found.same) == [{0, 1}]
    assert groups(found.alike) == [{0, 1, 2, 3, 4}, {5, 6}]


@pytest.mark.parametrize("contrast", [30, 50, 65])
def test_small_pictures_that_share_all_but_noise_are_no_copies(contrast: int) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:1:32j, 0:1:32j]
    scene = 128 + 2 * contrast * np.sin(6 * x) * np.cos(4 * y)
    drawn = [
        (scene + rng.normal(0, 10, scene.shape)).clip(0, 255).astype(np.uint8)[..., None]
        for _ in range(40)
    ]
    sketches = np.array([sketch(pixels) for pixels in drawn], SKETCH)
    assert cluster(sketches, np.arange(40), np.arange(40)).tolist() == [*range(40)]
    for pixels, quality in product(drawn[:8], (60, 75, 85, 95)):
        again = Pillow.open(io.BytesIO(written(pixels, "JPEG", quality=quality)))
        pair = [sketch(pixels), sketch(np.asarray(again)[..., None])]
        assert cluster(np.array(pair, SKETCH), np.arange(2), np.arange(2)).tolist() == [0, 0]


def test_grey_kept_as_rgb_is_the_same_picture(tmp_path: Path) -> None:
    grey = picture(1, channels=1)
    found = stored(tmp_path, labelled_images, "image", [grey, grey.repeat(3, axis=2)])
    assert groups(found.same) == [{0, 1}]


def test_other_pictures_of_one_kind_are_no_copies(tmp_path: Path) -> None:
    mirrored, red = picture(1)[:, ::-1].copy(), picture(1)
    red[..., 1:] //= 2
    drawn = [picture(seed) for seed in range(40)]
    found = stored(tmp_path, labelled_images, "image", [*drawn, mirrored, red])
    assert groups(found.alike) == []


def test_flat_pictures_are_copies_only_where_they_are_equal(tmp_path: Path) -> None:
    flat = [np.full((32, 32, 1), level, np.uint8) for level in (0, 0, 1, 2)]
    noise = np.random.default_rng(0).integers(120, 136, (2, 64, 64, 1)).astype(np.uint8)
    found = stored(tmp_path, labelled_images, "image", [*flat, *noise])
    assert groups(found.alike) == [{0, 1}]


def test_the_frames_of_a_film_are_not_all_one_picture() -> None:
    begin, end = picture(1).astype(float), picture(2).astype(float)
    film = [(begin + (end - begin) * step / 200).astype(np.uint8) for step in range(201)]
    sketches = np.array([sketch(frame) for frame in film], SKETCH)
    found = cluster(sketches, np.arange(201), np.arange(201))
    sizes = np.bincount(found)
    assert found[0] == found[1] == 0
    assert sizes.max() < 30
    assert (sizes > 0).sum() > 10


def test_pictures_are_decoded_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    drawn = {f"p{seed}": picture(seed) for seed in range(6)}
    twice = {**drawn, "q0": picture(0), "a1": picture(1)}
    for rows in (drawn, twice):
        labels = objects("a" for _ in rows)
        store.write(
            labelled_images,
            {"image_id": objects(rows), "image": objects(rows.values()), "label": labels},
        )
        found = copies_of(store.head(labelled_images), labelled_images)
        assert len(list((tmp_path / "images" / "sketches").iterdir())) == 1
        again = copies_of(store.head(labelled_images), labelled_images)
        assert again.alike.tolist() == found.alike.tolist()
    keys = store.head(labelled_images).read(labelled_images, ["image_id"])["image_id"]
    named = {frozenset(keys[[*rows]]) for rows in groups(found.alike)}
    assert named == {frozenset({"p0", "q0"}), frozenset({"p1", "a1"})}
    assert keys[found.alike[keys == "p1"]].tolist() == ["a1"]
    kept = next((tmp_path / "images" / "sketches").iterdir())
    kept.write_bytes(b"half of it")
    assert (
        copies_of(store.head(labelled_images), labelled_images).alike.tolist()
        == found.alike.tolist()
    )


def test_copies_across_parts_are_told_by_row() -> None:
    alike = np.array([0, 0, 2, 2, 4])
    parts = np.array(["train", "test", "test", "test", "train"])
    assert across(alike, parts, "test", "train").tolist() == [1]


def test_the_content_of_a_capability_follows_from_its_views() -> None:
    assert content_of(texts, labelled_texts) == ("text",)
    assert content_of(images, labelled_images) == ("image",)
    assert content_of(users, interactions) == ()


def test_no_rows_have_no_copies(tmp_path: Path) -> None:
    assert copies_of(Store(tmp_path).head(labelled_texts), labelled_texts).alike.tolist() == []


def test_many_texts_are_looked_at_once(tmp_path: Path) -> None:
    texts = [f"text {number // 2}" for number in range(KEPT_ROWS)]
    found = stored(tmp_path, labelled_texts, "text", [*texts])
    assert len(list((tmp_path / "texts" / "sketches").iterdir())) == 1
    again = copies_of(Store(tmp_path).head(labelled_texts), labelled_texts)
    assert again.same.tolist() == found.same.tolist()
    assert again.alike.tolist() == found.alike.tolist()
    assert len(set(again.alike)) == KEPT_ROWS // 2

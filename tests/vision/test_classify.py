"""vision.classify: pictures of any size and colour, every network, augmentation that is fast."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.media.picture import Picture
from cluster.media.pixels import encode
from vision._images import erase, fit, mirror, same_size, shift, warp
from vision._study import warp_for
from vision.classify import Classify, Config

SMALL = ["epochs=10", "batch_size=16", "precision=fp32", "max_side=16", "flip=false"]


def stripes(count: int, rng: np.random.Generator) -> Batch:
    """Pictures of odd sizes, grey and colour, striped across or along."""
    pictures, labels = [], []
    for number in range(count):
        height, width = rng.integers(12, 30, 2)
        picture = rng.integers(0, 60, (height, width, 3 if number % 3 else 1)).astype(np.uint8)
        across = bool(number % 2)
        if across:
            picture[::4] += 150
        else:
            picture[:, ::4] += 150
        pictures.append(picture)
        labels.append("across" if across else "along")
    return {"image": objects(pictures), "label": objects(labels)}


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "lenet"])
def test_a_network_learns_from_pictures_of_odd_sizes(tmp_path: Path, network: str) -> None:
    shown = stripes(120, np.random.default_rng(0))
    task = Classify(Config.parse([*SMALL, f"network={network}"]))
    task.fit(Resident(shown), Resident(shown), Run())
    task.save(tmp_path)
    unseen = stripes(40, np.random.default_rng(1))
    assert Classify.load(tmp_path).evaluate(unseen).metrics["accuracy"] > 0.85


def test_a_linear_model_of_raw_pixels_is_there_to_compare_with() -> None:
    shown, unseen = (stripes(90, np.random.default_rng(seed)) for seed in (0, 1))
    reference = Classify().reference(shown, unseen)
    assert reference is not None
    assert reference.model == "a linear SVM on 16 x 16 raw pixels"
    assert set(reference.metrics) == {"accuracy", "macro_f1"}
    assert reference.metrics["accuracy"] > 0.6


def arrows(count: int, rng: np.random.Generator) -> Batch:
    """Small arrows to the left and to the right, anywhere: they differ by a mirror alone."""
    pictures, labels = [], []
    for number in range(count):
        picture = rng.integers(0, 60, (20, 20, 1)).astype(np.uint8)
        top, left = rng.integers(1, 9, 2)
        head = np.add.outer(abs(np.arange(9) - 4), np.zeros(9)) <= np.arange(9)
        picture[top : top + 9, left : left + 9, 0] += (
            120 * head[:, :: 1 - 2 * (number % 2)]
        ).astype(np.uint8)
        pictures.append(picture)
        labels.append("right" if number % 2 else "left")
    return {"image": objects(pictures), "label": objects(labels)}


@pytest.mark.slow
def test_by_default_a_class_is_not_taken_for_its_mirror_image() -> None:
    task = Classify(Config.parse(["min_steps=150", "precision=fp32"]))
    task.fit(Resident(arrows(100, np.random.default_rng(0))), Resident({}), Run())
    assert task.curves[-1]["loss"] < 0.35  # 0.2 is what label smoothing leaves of two classes


@pytest.mark.slow
def test_a_transformers_network_is_had_by_name_and_its_weights_are_said() -> None:
    said: list[str] = []

    class Heard(Run):
        def say(self, sentence: str) -> None:
            said.append(sentence)

    shown = Resident(stripes(8, np.random.default_rng(0)))
    task = Classify(Config(network="resnet-18"))
    state = task.study(shown, Heard())
    assert said == ["resnet-18 starts from random weights."]
    pixels = torch.from_numpy(task.encode(shown.whole())["image"])
    assert task.network(state)(image=pixels).shape == (8, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_picture_is_brought_to_the_size_and_channels_asked_for(channels: int) -> None:
    for picture in stripes(6, np.random.default_rng(2))["image"]:
        assert fit(picture, 9, 7, channels).shape == (9, 7, channels)
    assert same_size(stripes(6, np.random.default_rng(2))["image"], 9, 7, channels).shape == (
        6, channels, 9, 7,
    )  # fmt: skip


PLAIN = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@pytest.mark.parametrize(
    "value",
    [
        encode(PLAIN),
        base64.b64encode(encode(PLAIN)).decode(),
        f"data:image/png;base64,{base64.b64encode(encode(PLAIN)).decode()}",
        PLAIN,
        Image.fromarray(PLAIN),
        Image.fromarray(PLAIN).convert("RGBA"),
        Image.fromarray(PLAIN).quantize(256),
    ],
)
def test_a_picture_is_read_in_any_form_that_people_have(value: object) -> None:
    assert Picture().read(value).tolist() == PLAIN.tolist()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (1, "A value of type int is not a picture. Send the bytes of its file in base64."),
        (None, "A value of type NoneType is not a picture. Send the bytes"),
        ([[1, 2], [3]], "A value of type list is not a picture. Send the bytes"),
        ("shoe.png", "The picture is not base64. Send the bytes of its file in base64, without"),
        ("data:image/png;base64,!", "The picture is not base64."),
        ("data:", "bytes"),
        (PLAIN.astype(float), "An array of float64 with shape (4, 4, 3) is not a picture."),
    ],
)
def test_what_is_no_picture_is_told_what_one_is(value: object, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Picture().read(value)


def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 255, (64, 3, 20, 24)).astype(np.uint8)


def test_augmentation_keeps_shape_and_leaves_the_resident_pictures_alone() -> None:
    shown, kept = pixels(), pixels()
    for varied in (
        shift(shown, 2, np.random.default_rng(1)),
        mirror(shown, np.random.default_rng(1)),
        erase(shown, 0.5, np.random.default_rng(1)),
        warp(shown, 0.1, np.random.default_rng(1)),
    ):
        assert varied.shape == shown.shape
        assert not np.array_equal(varied, shown)
    assert np.array_equal(shown, kept)


def test_a_warp_moves_an_edge_by_no_more_than_is_asked_for() -> None:
    plain = np.zeros((8, 1, 32, 32), np.uint8)
    plain[:, :, :, 16:] = 200
    assert np.array_equal(warp(plain, 0.0, np.random.default_rng(1)), plain)
    bent = warp(plain, 0.1, np.random.default_rng(1))
    assert (bent[:, :, :, 11:21] != plain[:, :, :, 11:21]).any(axis=(1, 2, 3)).all()
    assert np.array_equal(bent[:, :, :, :11], plain[:, :, :, :11])
    assert np.array_equal(bent[:, :, :, 21:], plain[:, :, :, 21:])


@pytest.mark.parametrize(("rows", "share"), [(20, 0.1), (3_000, 0.1), (60_000, 0.0), (10**7, 0.0)])
def test_few_pictures_are_bent_more_than_many(rows: int, share: float) -> None:
    assert warp_for(rows) == pytest.approx(share)
    assert warp_for(rows) >= warp_for(rows * 2)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (60, 64), (64, 12)])
def test_pictures_of_any_size_come_to_maps_of_a_few_pixels(size: tuple[int, int]) -> None:
    state = {"mean": np.ones(1), "std": np.ones(1), "channels": 1, "labels": ["a", "b"]}
    network = Classify().network({**state, "height": size[0], "width": size[1]})
    maps = network.body(torch.zeros(2, 1, *size))  # type: ignore[operator]
    assert max(maps.shape[2:]) in {2, 4}
    assert network(image=torch.zeros(2, 1, *size)).shape == (2, 2)


def test_a_mirrored_picture_mirrored_again_is_itself() -> None:
    once = mirror(pixels(), np.random.default_rng(3))
    assert np.array_equal(mirror(once, np.random.default_rng(3)), pixels())


def test_an_erased_box_is_black_and_the_rest_is_as_it_was() -> None:
    erased = erase(pixels(), 1.0, np.random.default_rng(4))
    changed = erased != pixels()
    assert changed.any(axis=(1, 2, 3)).all()
    assert (erased[changed] == 0).all()


class Indifferent(torch.nn.Module):
    """Answers that all labels are equally likely."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(image), 2)


def test_balance_makes_a_mistake_of_a_rare_label_the_dearer_one_and_of_equal_ones_none() -> None:
    rows = stripes(40, np.random.default_rng(0))
    rare = {name: np.concatenate([column, column[::2]]) for name, column in rows.items()}
    losses = {}
    for name, shown in (("equal", rows), ("one to two", rare)):
        task = Classify(Config.parse([*SMALL, "balance=1", "label_smoothing=0"]))
        task.state = task.study(Resident(shown), Run())
        image = {"image": torch.zeros(1, 3, 16, 16)}
        losses[name] = [
            task.loss(Indifferent(), image, {"label": torch.tensor([label])}).item()
            for label in range(2)
        ]
    assert losses["equal"] == pytest.approx([np.log(2), np.log(2)])
    assert losses["one to two"] == pytest.approx([np.log(3), np.log(3 / 2)])

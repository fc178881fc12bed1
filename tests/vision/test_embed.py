"""vision.embed: with labels and without, every network, views that vary."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cluster.batch import Batch, objects
from cluster.rows import Resident
from cluster.run import Run
from vision._images import tone, zoom
from vision.embed import Config, Embed

SMALL = ["epochs=6", "batch_size=32", "precision=fp32", "max_side=16", "flip=false", "dim=16"]
KINDS = ("across", "along", "both")


def stripes(count: int, rng: np.random.Generator) -> Batch:
    """Pictures of odd sizes, striped across, along, or both, on noise."""
    pictures, labels = [], []
    for number in range(count):
        kind = KINDS[number % 3]
        picture = rng.integers(0, 60, (*rng.integers(12, 30, 2), 3)).astype(np.uint8)
        if kind != "along":
            picture[::4] += 90
        if kind != "across":
            picture[:, ::4] += 90
        pictures.append(picture)
        labels.append(kind)
    return {"image": objects(pictures), "label": objects(labels)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "selfsupervised"])
@pytest.mark.parametrize("network", ["resnet", "lenet"])
def test_pictures_that_show_the_same_become_neighbours(
    tmp_path: Path, network: str, method: str
) -> None:
    shown = Resident(stripes(240, np.random.default_rng(0)))
    task = Embed(Config.parse([*SMALL, f"network={network}", f"method={method}"]))
    task.fit(shown, shown, Run())
    task.save(tmp_path)
    unseen = stripes(60, np.random.default_rng(1))
    measured = Embed.load(tmp_path).evaluate(unseen).metrics
    assert measured["recall_at_1"] > (0.9 if method == "supervised" else 0.6)


@pytest.mark.slow
def test_a_transformers_network_is_had_by_name() -> None:
    shown = Resident(stripes(8, np.random.default_rng(0)))
    task = Embed(Config(network="resnet-18", dim=24))
    state = task.study(shown, Run())
    vectors = task.network(state)(image=torch.from_numpy(task.encode(shown.whole())["image"]))
    assert vectors.shape == (8, 24)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(8), atol=1e-5)


def test_the_cosine_of_raw_pixels_is_there_to_compare_with() -> None:
    shown, unseen = (stripes(60, np.random.default_rng(seed)) for seed in (0, 1))
    reference = Embed().reference(shown, unseen)
    assert reference is not None
    assert reference.model == "the cosine of 16 x 16 raw pixels"
    assert 0 < reference.metrics["recall_at_1"] <= 1


def test_a_batch_is_learnt_from_in_two_views_that_belong_together() -> None:
    image = pixels(6)
    truth = {"label": np.array([0, 1, 0, 1, 2, 2])}
    views, groups = Embed().augment({"image": image}, truth, np.random.default_rng(0))
    assert views["image"].shape == (12, 3, 20, 24)
    assert not np.array_equal(views["image"][:6], views["image"][6:])
    assert groups["label"].tolist() == [0, 1, 0, 1, 2, 2] * 2
    alone = Embed(Config(method="selfsupervised"))
    _, groups = alone.augment({"image": image}, truth, np.random.default_rng(0))
    assert groups["label"].tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_a_knob_that_is_given_wins_over_the_methods_own() -> None:
    assert Config.parse().zoom == 1
    assert Config.parse(["method=selfsupervised"]).zoom < 1
    assert Config.parse(["method=selfsupervised", "zoom=0.9"]).zoom == 0.9


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 255, (count, 3, 20, 24)).astype(np.uint8)


def test_views_keep_the_shape_and_leave_the_resident_pictures_alone() -> None:
    shown, kept = pixels(16), pixels(16)
    for varied in (
        zoom(shown, 0.3, np.random.default_rng(1)),
        tone(shown, 0.4, np.random.default_rng(1)),
    ):
        assert varied.shape == shown.shape
        assert varied.dtype == np.uint8
        assert not np.array_equal(varied, shown)
    assert np.array_equal(shown, kept)


def test_a_zoom_into_the_whole_picture_is_nearly_the_picture() -> None:
    smooth = np.zeros((4, 1, 20, 20), np.uint8) + np.arange(20, dtype=np.uint8) * 5
    varied = zoom(smooth, 1.0, np.random.default_rng(2)).astype(int)
    assert abs(varied - smooth).max() < 20
    assert (np.diff(varied, axis=3) >= 0).all()


def test_tone_changes_no_flat_picture_but_in_how_light_it_is() -> None:
    flat = np.full((5, 3, 8, 8), 100, np.uint8)
    varied = tone(flat, 0.4, np.random.default_rng(3))
    assert (varied == varied[:, :1, :1, :1]).all()
    assert 60 <= varied.min() < varied.max() <= 140

"""vision.embed: with labels and without, every network, views that vary."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cluster.base.batch import Batch, objects
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from vision import _pixels
from vision._images import same_size, tone, zoom
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
    vectors = task.network(state).eval()(
        image=torch.from_numpy(task.encode(shown.whole())["image"])
    )
    assert vectors.shape == (8, 24)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(8), atol=1e-5)


def test_the_cosine_of_raw_pixels_is_there_to_compare_with() -> None:
    shown, unseen = (stripes(60, np.random.default_rng(seed)) for seed in (0, 1))
    reference = Embed().reference(shown, unseen)
    assert reference is not None
    assert reference.model == "the cosine of 16 x 16 raw pixels"
    assert 0 < reference.metrics["recall_at_1"] <= 1


def clouds(count: int, seed: int) -> Batch:
    """Twelve blurred patterns under noise: raw pixels tell them apart, few rows teach little."""
    patterns = np.random.default_rng(0).integers(60, 120, (12, 4, 4, 1)).repeat(4, 1).repeat(4, 2)
    rng = np.random.default_rng(seed)
    label = np.arange(count) % len(patterns)
    pictures = patterns[label] + rng.normal(0, 40, (count, 16, 16, 1))
    return {
        "image": objects(pictures.clip(0, 255).astype(np.uint8)),
        "label": objects([f"pattern {number}" for number in label]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "selfsupervised"])
def test_few_rows_give_vectors_no_worse_than_raw_pixels(tmp_path: Path, method: str) -> None:
    shown, unseen = Resident(clouds(200, 1)), clouds(240, 2)
    task = Embed(Config.parse(["epochs=3", "precision=fp32", f"method={method}"]))
    task.fit(shown, shown, Run())
    task.save(tmp_path)
    served = Embed.load(tmp_path)
    vectors = np.array([output.vector for output in served.predict(unseen)])
    assert vectors.shape == (240, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    reference = served.reference(shown.whole(), unseen)
    assert reference is not None
    raw = reference.metrics["recall_at_1"]
    assert 0.4 < raw <= served.evaluate(unseen).metrics["recall_at_1"]


def test_the_linear_share_falls_as_rows_grow_unless_it_is_given() -> None:
    shares = [_pixels.share_for(rows) for rows in (0, 300, 3_000, 30_000)]
    assert shares == pytest.approx([0.5, 0.5, 0.158, 0.05], abs=0.001)
    shown = Resident(stripes(12, np.random.default_rng(0)))
    for given, columns in ((0.25, 4), (0.9, 14)):
        matrix = Embed(Config(dim=16, linear=given)).study(shown, Run())["matrix"]
        assert matrix.shape == (768, columns)
    assert "matrix" not in Embed(Config(dim=16, linear=0)).study(shown, Run())


def test_the_linear_part_sees_the_pixels_that_the_reference_sees() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (24, 30, 1)).astype(np.uint8)
    small = _pixels.shrinking(24) @ picture[..., 0].astype(np.float32) @ _pixels.shrinking(30).T
    assert np.abs(small - same_size([picture], 16, 16, 1)[0, 0]).max() < 1.5


def test_workers_fit_the_discriminants_of_all_rows() -> None:
    class Pair(Run):
        def all_reduce(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
            return array + array

    image, numbers = pixels(12), np.arange(12) % 3
    alone = _pixels.discriminants([(image, numbers)], 3, 2, Run())
    parts = [(image[:5], numbers[:5]), (image[5:], numbers[5:])]
    for one, other in zip(alone, _pixels.discriminants(parts, 3, 2, Pair()), strict=True):
        assert np.allclose(np.abs(one), np.abs(other), rtol=1e-3, atol=1e-4)


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

"""Which versions of a model somebody reads, as the registry has it at every moment."""

import shutil
from pathlib import Path

import pytest

from cluster.base.errors import Conflict, Corrupt
from cluster.features.derived.modelview import ModelView, model_view
from cluster.features.schema.column import Column, Number, Text
from cluster.features.schema.ragged import Vector
from cluster.features.views.interactions import items
from cluster.features.views.item_vectors import item_image_vector as view
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.local import catalog
from tests.support import filler, manifest

RANKS, MAKES = "recsys.recommend", "vision.embed"


def learnt(home: Path, release: int, *, run: str) -> int:
    """A version that learnt from what some release of another model said."""
    pinned = {view.name: {"version": "ab", "release": release}, "items": {"version": "cd"}}
    made = manifest(RANKS, run=run, views=pinned)
    return Registry(home).write(RANKS, filler(made, {"weights": b"w"})).version


def models(home: Path) -> Models:
    return Models(Registry(home), catalog.find)


def test_what_is_served_or_in_production_is_read_whoever_pointed_at_it(tmp_path: Path) -> None:
    asked = models(tmp_path)
    assert asked.releases(view) == []
    for alias, release in (("production", 3), ("serving", 5), ("candidate", 7)):
        Registry(tmp_path).point(alias, RANKS, learnt(tmp_path, release, run=alias))  # type: ignore[arg-type]
    assert asked.releases(view) == [3, 5]
    Registry(tmp_path).point("production", RANKS, 3)
    assert asked.releases(view) == [5, 7]
    made = manifest(MAKES)
    Registry(tmp_path).write(MAKES, filler(made, {"weights": b"w"}))
    Registry(tmp_path).point("production", MAKES, 1)
    assert asked.releases(view) == [1, 5, 7]


def test_a_version_that_is_made_anew_is_read_anew(tmp_path: Path) -> None:
    asked = models(tmp_path)
    for release in (3, 4):
        shutil.rmtree(tmp_path / "registry", ignore_errors=True)
        Registry(tmp_path).point("production", RANKS, learnt(tmp_path, release, run="r"))
        assert asked.releases(view) == [release]


def test_a_version_that_lost_its_manifest_is_told(tmp_path: Path) -> None:
    Registry(tmp_path).point("production", RANKS, learnt(tmp_path, 3, run="r"))
    (tmp_path / "registry" / RANKS / "1" / "manifest.json").unlink()
    with pytest.raises(Corrupt, match=r"manifest.json of recsys.recommend version 1 is missing"):
        models(tmp_path).releases(view)


def labelled(name: str, kind: Column) -> ModelView:
    inputs, columns = {"text": "title"}, {name: kind}
    return model_view("mine", "nlp.classify@1", over=items, columns=columns, inputs=inputs)


@pytest.mark.parametrize(
    ("name", "kind"), [("label", Number()), ("probability", Text()), ("probability", Vector(3))]
)
def test_a_column_that_the_model_gives_otherwise_is_told_when_views_are_loaded(
    name: str, kind: Column
) -> None:
    asked = models(Path())
    asked.check(labelled("label", Text()))
    asked.check(labelled("probability", Number()))
    with pytest.raises(Conflict, match=f"'mine' declares '{name}' as .* gives it as (str|float)"):
        asked.check(labelled(name, kind))

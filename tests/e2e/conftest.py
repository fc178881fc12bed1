"""What the end-to-end tests share: one shop's data, and one version of each capability served."""

import pytest

from cluster.base.settings import settings
from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest
from services.cli import operate, verbs
from services.local import catalog
from tests.e2e.steps import ROWS, train
from tests.support import stored


@pytest.fixture(scope="session")
def shop(engine: Engine) -> Engine:
    """The engine, once the made-up rows of all three capabilities are ingested."""
    for name, rows in ROWS.items():
        stored(catalog.find(name), settings().home / "features", rows=rows)
    return engine


@pytest.fixture(scope="session")
def served(shop: Engine) -> dict[str, Manifest]:
    """The first version of each capability: trained, promoted and deployed."""
    made = {}
    for name in ROWS:
        made[name] = train(name)
        verbs.promote(name, "candidate", force=True)
        operate.deploy(name, "production")
    return made

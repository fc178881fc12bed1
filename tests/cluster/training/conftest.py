"""What the tests of training share: a store of three hundred points."""

from pathlib import Path

import pytest

from cluster.features.offline.store import Store
from tests.cluster.training.weather import points
from tests.toy import labelled_points


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.write(labelled_points, points(300))
    return made

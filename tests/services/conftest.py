"""The HTTP applications that are asked, each with nothing but `Heard` behind it."""

import pytest
from starlette.applications import Starlette

from services import catalog
from services.app import build
from tests.services.asking import Heard, Narrow, Reads


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def toy(heard: Heard) -> Starlette:
    return build(Narrow, heard)


@pytest.fixture
def reads(heard: Heard) -> Starlette:
    return build(Reads, heard)


@pytest.fixture
def sees(heard: Heard) -> Starlette:
    return build(catalog.find("vision.classify"), heard)

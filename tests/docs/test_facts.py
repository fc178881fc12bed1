"""What the pages say of errors, settings and declarations is what the code does."""

import json
import re
from collections.abc import Sequence
from typing import NoReturn

from pydantic import AliasChoices, BaseModel

from cluster.base.errors import LeptonError
from cluster.base.settings import Settings
from cluster.contract import Task
from services.http.app import build
from services.local import catalog
from tests.docs.blocks import ROOT
from tests.services.asking import send

ERRORS = (ROOT / "docs" / "errors.md").read_text()


def test_the_error_that_the_page_shows_is_the_one_that_is_answered() -> None:
    async def answer(inputs: Sequence[BaseModel]) -> NoReturn:
        raise AssertionError(inputs)

    (asked,) = re.findall(r"^.*`(\{\"inputs\".*\})`", ERRORS, re.MULTILINE)
    (shown,) = re.findall(r"```json\n(.*?)```", ERRORS, re.DOTALL)
    told = send(build(catalog.find("nlp.classify"), answer), json.loads(asked)).json()
    own = {"instance", "request_id"}
    assert told.keys() == json.loads(shown).keys()
    assert {k: told[k] for k in told.keys() - own} == {
        k: v for k, v in json.loads(shown).items() if k not in own
    }


def test_every_error_stands_in_the_table_with_its_status() -> None:
    kinds: list[type[LeptonError]] = [LeptonError]
    for kind in kinds:  # it grows while it is read
        kinds += [below for below in kind.__subclasses__() if below.__module__ == kind.__module__]
    for kind in kinds:
        assert re.search(rf"^\| {kind.status} \|.*`{kind.code}`", ERRORS, re.MULTILINE), kind


def test_everything_that_a_capability_declares_stands_in_the_table() -> None:
    page = (ROOT / "docs" / "capabilities.md").read_text()
    for name in Task.__annotations__:
        assert name.startswith("_") or re.search(rf"^\| .*`{name}`", page, re.MULTILINE), name


def test_every_setting_stands_in_the_table() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        for name in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            assert f"`{name}`" in page

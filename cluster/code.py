"""Know which folders hold Lepton's code: a domain says in its `__init__` that it is one."""

from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = ("cluster", "services", "lepton")
DOMAIN = '"""Capabilities that '


@cache
def domains() -> tuple[str, ...]:
    """The folders of capabilities: those whose `__init__.py` opens with "Capabilities that"."""
    packages = sorted(ROOT.glob("*/__init__.py"))
    return tuple(file.parent.name for file in packages if file.read_text().startswith(DOMAIN))


def folders() -> tuple[str, ...]:
    """Every folder of code that a replica or a job may import."""
    return (*SUITE, *domains())

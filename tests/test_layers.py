"""Imports point one way, and no file or function outgrows the house."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.base.code import domains, folders

HERE = Path(__file__).resolve().parents[1]
DOMAINS = domains()
OURS = {*folders(), "tests"}
CLIENT_NEEDS = {"httpx", "pydantic", "typer", "rich"}
MAY_IMPORT_RAY = {f"cluster/{room}" for room in ("training", "serving", "engine", "bulk")}
WEB = {"starlette", "fastapi", "httpx", "uvicorn", "aiohttp", "flask", "requests"}
FILES = sorted(
    path.relative_to(HERE) for folder in OURS - {"tests"} for path in (HERE / folder).rglob("*.py")
)


def imports(tree: ast.AST) -> Iterator[str]:
    """The first word of every module that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or ".").split(".")[0]


def allowed(folder: str, imported: set[str]) -> set[str]:
    """Those of the imports that the folder may have."""
    ours, others = imported & OURS, imported - OURS
    if folder == "cluster":
        return (ours & {"cluster"}) | others
    if folder in DOMAINS:
        return (ours & {"cluster", folder}) | others - WEB - {"ray"}
    if folder == "lepton":
        return (ours & {"lepton"}) | others & (CLIENT_NEEDS | set(sys.stdlib_module_names))
    return (ours - {"tests"}) | others


def parsed(path: Path) -> ast.Module:
    return ast.parse((HERE / path).read_text())


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_what_its_folder_may(path: Path) -> None:
    imported = set(imports(parsed(path)))
    assert imported - allowed(path.parts[0], imported) == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_rooms_that_run_things_import_ray(path: Path) -> None:
    assert "ray" not in set(imports(parsed(path))) or path.parent.as_posix() in MAY_IMPORT_RAY


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_has_at_most_400_lines_and_its_functions_40(path: Path) -> None:
    lines = (HERE / path).read_text().count("\n")
    long = {
        f"{node.name} has {size} lines"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > 40
    }
    assert lines <= 400
    assert long == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path)) or ""
    assert docstring.splitlines()[0].rstrip().endswith((".", "?")), docstring[:80]


def test_the_rules_would_notice() -> None:
    """Each rule refuses what it is there to refuse."""
    assert allowed("vision", {"cluster", "nlp", "numpy", "httpx"}) == {"cluster", "numpy"}
    assert allowed("cluster", {"services", "vision", "ray"}) == {"ray"}
    assert allowed("lepton", {"cluster", "numpy", "json", "httpx"}) == {"json", "httpx"}
    inside = ast.parse("def f():\n    import ray.data\n    from nlp import classify\n")
    assert set(imports(inside)) == {"ray", "nlp"}

"""List the code that a training or a replica depends on, and digest it."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = ("cluster", "services", "lepton")
DOMAIN = '"""Capabilities that '
TRAINING = "cluster.training.train"
BRINGS_ROWS = ROOT / "cluster" / "features" / "intake"  # rows are known by their commit


@cache
def domains() -> tuple[str, ...]:
    """The folders of capabilities: those whose `__init__.py` opens with "Capabilities that"."""
    packages = sorted(ROOT.glob("*/__init__.py"))
    return tuple(file.parent.name for file in packages if file.read_text().startswith(DOMAIN))


def folders() -> tuple[str, ...]:
    """Every folder of code that a replica or a job may import."""
    return (*SUITE, *domains())


def replica_digest() -> str:
    """Sixteen digits for all code that a replica may import: other code needs other replicas."""
    files = (file for folder in folders() for file in (ROOT / folder).rglob("*.py"))
    return _digest(files)[:16]


def capability_digest(task: type) -> str:
    """Twelve digits for the code that a training of a capability runs through.

    That is its own file, what it imports of its folder and of `cluster`, directly or through
    others, and `cluster.training.train` with what that imports. A helper that none of these imports
    is no part of it.
    """
    top = task.__module__.split(".")[0]
    names = dict.fromkeys(kind.__module__ for kind in task.__mro__)
    own = [name for name in names if name.split(".")[0] in (top, "cluster")]
    file = Path(str(sys.modules[task.__module__].__file__)).resolve()
    return _digest(
        reached([*own, TRAINING], (file.parents[task.__module__.count(".")], ROOT), top)
    )[:12]


def reached(names: Iterable[str], roots: Iterable[Path], top: str) -> set[Path]:
    """The files of some modules and of all that they import, inside functions too.

    Imports for types alone do not count, and of packages only `cluster` and one more are looked
    into.

    Args:
        names: of modules.
        roots: the folders that packages lie in; the first that has a file counts.
        top: the other package.
    """
    found: set[Path] = set()
    waiting, roots = list(names), tuple(roots)
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] not in (top, "cluster"):
            continue
        file = _file(parts, roots)
        if file and file not in found and BRINGS_ROWS not in file.parents:
            found.add(file)
            package = parts if file.name == "__init__.py" else parts[:-1]
            waiting += imports(file.read_text(), ".".join(package))
    return found


@lru_cache(maxsize=1_024)
def imports(source: str, package: str) -> tuple[str, ...]:
    """The modules that a file of a package names in its imports; some are names in a module."""
    return tuple(dict.fromkeys(_imports(ast.parse(source), package.split("."))))


def _imports(tree: ast.AST, package: list[str]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{name.name}" for name in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(node, package)


def _file(parts: list[str], roots: tuple[Path, ...]) -> Path | None:
    for root in roots:
        for file in (
            root.joinpath(*parts).with_suffix(".py"),
            root.joinpath(*parts, "__init__.py"),
        ):
            if file.is_file():
                return file.resolve()
    return None


def _digest(files: Iterable[Path]) -> str:
    """Of the names and bytes of files, wherever their folders lie."""
    digest = hashlib.sha256()
    for name, data in sorted(
        (f"{file.parent.name}/{file.name}", file.read_bytes()) for file in files
    ):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()

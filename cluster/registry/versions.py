"""Keep versions of models: whole or not at all, and never with a changed byte."""

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.base.durable import sync
from cluster.base.errors import Conflict, Corrupt, NotFound, nearest
from cluster.base.writers import writing

Alias = Literal["candidate", "production", "serving"]
MANIFEST, SEAL = "manifest.json", "manifest.sha256"


class Manifest(BaseModel):
    """What a version is: written last, so that its existence means the version is complete."""

    model_config = ConfigDict(extra="forbid")

    task: str
    version: int
    created: datetime
    run: str
    config: dict[str, Any]
    metrics: dict[str, float]
    reference: dict[str, float] = {}  # of a simple model of the same rows; older versions lack it
    objective: str
    direction: Literal["max", "min"]
    rows: dict[str, int]
    views: dict[str, dict[str, Any]]
    seed: int
    workers: int
    code: str
    packages: dict[str, str]
    split: str = ""  # how rows were parted, copies together; older versions lack it
    statistics: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}
    source: dict[str, str] = {}  # of an imported model, the SHA-256 of each file that was given

    @property
    def score(self) -> float | None:
        """The value of the objective's metric; None for what was imported and never measured."""
        return self.metrics.get(self.objective)

    @property
    def scored(self) -> str:
        """The score in words."""
        return "never measured" if self.score is None else f"{self.objective} {self.score:.4f}"


class Registry:
    """Versions as folders `<home>/registry/<task>/<version>/`, and what their aliases name.

    Args:
        home: where Lepton keeps its state.
    """

    def __init__(self, home: Path) -> None:
        self.root = home / "registry"

    def write(self, task: str, fill: Callable[[Path], Manifest]) -> Manifest:
        """Add a version: filled in a temporary folder, flushed, then renamed into its place.

        Args:
            task: whose version it is.
            fill: writes the files and returns the manifest; version and files are set here.

        Returns:
            The manifest as it was written. A run that has a version already gets that one.
        """
        with self._staged() as staging:
            manifest = fill(staging)
            with self._locked(task):
                if existing := self.of_run(task, manifest.run):
                    return existing
                version = max(self.versions(task), default=0) + 1
                manifest = manifest.model_copy(
                    update={"version": version, "files": _digests(staging)}
                )
                _seal(staging, manifest)
                staging.rename(self.root / task / str(version))
                sync(self.root / task)
                sync(self.root)  # where the task's own name stands
            return manifest

    def tasks(self) -> list[str]:
        """The tasks that have versions."""
        folders = self.root.glob("[!.]*")
        return sorted(path.name for path in folders if any(map(_is_version, path.glob("*"))))

    def versions(self, task: str) -> list[int]:
        """The versions of a task, oldest first."""
        folders = filter(_is_version, (self.root / task).glob("*"))
        return sorted(int(folder.name) for folder in folders)

    def of_run(self, task: str, run: str) -> Manifest | None:
        """The version that a run made, if it did and no byte of it is damaged."""
        for version in reversed(self.versions(task)):
            with suppress(Corrupt):  # training again is the way out, so it must not stop here
                if (manifest := self.manifest(task, version)).run == run:
                    verify(self.root / task / str(version))
                    return manifest
        return None

    def aliases(self, task: str) -> dict[str, int]:
        """What each alias of a task names."""
        return {name: history[-1] for name, history in self._histories(task).items() if history}

    def resolve(self, task: str, reference: str | int = "production") -> int:
        """The version that a number or an alias names.

        Raises:
            NotFound: the task has no versions, or none by that name.
        """
        versions, aliases = self.versions(task), self.aliases(task)
        if not versions:
            raise NotFound(
                f"{task} has no version yet.", hint=f"Train one: python -m services train {task}"
            )
        if str(reference) in aliases:
            return aliases[str(reference)]
        if str(reference).isdecimal() and int(reference) in versions:
            return int(reference)
        if reference == "production":
            hint = f"Promote one: python -m services promote {task} {versions[-1]}"
            raise NotFound(f"No version of {task} is in production.", hint=hint)
        raise NotFound(
            f"{task} has no version {reference!r}.",
            hint=nearest(str(reference), [*aliases, *map(str, versions)]),
        )

    def folder(self, task: str, reference: str | int = "production") -> Path:
        """The folder of a version, every byte of it verified.

        Raises:
            NotFound: there is no such version.
            Corrupt: a file is missing or is not what was written; the sentence names it.
        """
        folder = self.root / task / str(self.resolve(task, reference))
        verify(folder)
        return folder

    def manifest(self, task: str, reference: str | int = "production") -> Manifest:
        """The manifest of a version."""
        return read_manifest(self.root / task / str(self.resolve(task, reference)))

    def stamp(self, task: str, version: int) -> tuple[int, int]:
        """A token that changes when a version is rewritten; use it as a cache key.

        Raises:
            Corrupt: it has no manifest.
        """
        folder = self.root / task / str(version)
        try:
            found = (folder / MANIFEST).stat()
        except FileNotFoundError:
            raise _damaged(folder, MANIFEST, "is missing") from None
        return found.st_mtime_ns, found.st_ino

    def point(self, alias: Alias, task: str, reference: str | int) -> Manifest:
        """Let an alias name a version, every byte of it verified.

        Raises:
            NotFound: there is no such version.
            Corrupt: a file is missing or is not what was written; the alias stays where it is.
        """
        version = self.resolve(task, reference)
        verify(self.root / task / str(version))
        manifest = self.manifest(task, version)
        self.mark(alias, manifest)
        return manifest

    def mark(self, alias: Alias, manifest: Manifest) -> None:
        """Let an alias name a version that `write` or `of_run` has just given, so whole."""
        task, version = manifest.task, manifest.version
        with self._locked(task):
            histories = self._histories(task)
            history = [v for v in histories.get(alias, []) if v != version]
            self._write_histories(task, {**histories, alias: [*history, version]})

    def rollback(self, task: str) -> Manifest:
        """Let `production` name the version that it named before.

        Raises:
            Conflict: there is nothing to go back to.
            Corrupt: the version before is damaged; the alias stays where it is.
        """
        with self._locked(task):
            histories = self._histories(task)
            history = histories.get("production", [])
            if len(history) < 2:
                raise Conflict(
                    f"{task} has no earlier production version to go back to.",
                    hint=f"Its versions are {self.versions(task)}; promote one of them.",
                )
            verify(self.root / task / str(history[-2]))
            self._write_histories(task, {**histories, "production": history[:-1]})
        return self.manifest(task, history[-2])

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A folder to fill; what killed writers left of theirs is swept."""

        def sweep() -> None:
            for left in self.root.glob(".staging-*"):
                shutil.rmtree(left, ignore_errors=True)

        with writing(self.root, sweep):
            staging = self.root / f".staging-{uuid.uuid4().hex}"
            staging.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def _histories(self, task: str) -> dict[str, list[int]]:
        path = self.root / task / "aliases.json"
        try:
            return json.loads(path.read_bytes()) if path.exists() else {}
        except ValueError:
            raise Corrupt(
                f"aliases.json of {task} is not what was written.",
                hint=f"Remove {path}, then promote one of the versions {self.versions(task)}.",
            ) from None

    def _write_histories(self, task: str, histories: dict[str, list[int]]) -> None:
        path = self.root / task / "aliases.json"
        staged = path.with_suffix(".tmp")
        staged.write_text(json.dumps(histories))
        sync(staged)
        staged.rename(path)
        sync(path.parent)

    @contextmanager
    def _locked(self, task: str) -> Iterator[None]:
        folder = self.root / task
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the version in a folder.

    Raises:
        Corrupt: it is not what was written.
    """
    for name in (MANIFEST, SEAL):
        if not (folder / name).is_file():
            raise _damaged(folder, name, "is missing")
    written, sealed = (folder / MANIFEST).read_bytes(), (folder / SEAL).read_bytes()
    if hashlib.sha256(written).hexdigest().encode() != sealed:
        raise _damaged(folder, MANIFEST, f"does not fit {SEAL}")
    try:
        return Manifest.model_validate_json(written)
    except ValidationError:
        raise _damaged(folder, MANIFEST, "is of another release of Lepton") from None


def verify(folder: Path) -> None:
    """Compare every file of a version with its SHA-256.

    Raises:
        Corrupt: one is missing or is not what was written; the sentence names it.
    """
    for name, digest in read_manifest(folder).files.items():
        if not (folder / name).is_file():
            raise _damaged(folder, name, "is missing")
        if _digest(folder / name) != digest:
            raise _damaged(folder, name, "is not what was written")


def now() -> datetime:
    """The time at which a version is made."""
    return datetime.now(UTC)


def _is_version(folder: Path) -> bool:
    return folder.name.isdecimal() and folder.is_dir()


def _damaged(folder: Path, name: str, what: str) -> Corrupt:
    return Corrupt(
        f"{name} of {folder.parent.name} version {folder.name} {what}, so it is not loaded.",
        hint=f"Roll back, or train again: python -m services train {folder.parent.name}",
    )


def _seal(folder: Path, manifest: Manifest) -> None:
    written = manifest.model_dump_json(indent=2).encode()
    (folder / MANIFEST).write_bytes(written)
    (folder / SEAL).write_text(hashlib.sha256(written).hexdigest())
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A version exists whole or not at all, and never with a changed byte."""

import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.base.code import ROOT
from cluster.base.errors import Conflict, Corrupt, NotFound
from cluster.registry.versions import Manifest, Registry, verify
from tests.support import filler, manifest

FILES = {
    "weights.safetensors": bytes(range(256)),
    "labels.json": b'["a", "b"]',
    "tokens/words.json": b"{}",
    "empty": b"",
}
TASK = "toy.side"

# Writes version after version, and says the number of each once it is there.
WRITER = """
import sys
from pathlib import Path
from cluster.registry.versions import Manifest, Registry

home, name, count, made = sys.argv[1:]

def fill(folder):
    for part in range(20):
        (folder / f"{part}.bin").write_bytes(bytes([part]) * 50_000)
    return Manifest.model_validate_json(made).model_copy(update={"run": f"{name}-{number}"})

print("ready", flush=True)
for number in range(int(count)):
    print(Registry(Path(home)).write("toy.side", fill).version, flush=True)
"""


def writer(home: Path, name: str, versions: int) -> subprocess.Popen[str]:
    made = manifest().model_dump_json()
    started = [sys.executable, "-c", WRITER, str(home), name, str(versions), made]
    process = subprocess.Popen(started, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def add(registry: Registry, run: str) -> int:
    return registry.write(TASK, filler(manifest(run=run), FILES)).version


def test_a_version_is_numbered_and_found_with_what_was_written(registry: Registry) -> None:
    assert [add(registry, "one"), add(registry, "two")] == [1, 2]
    assert registry.tasks() == [TASK]
    assert registry.versions(TASK) == [1, 2]
    found = registry.manifest(TASK, 2)
    assert (found.run, found.version, found.score) == ("two", 2, 0.875)
    assert found.files.keys() == FILES.keys()
    folder = registry.folder(TASK, 2)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_the_same_run_gives_the_same_version(registry: Registry) -> None:
    assert [add(registry, "one"), add(registry, "two"), add(registry, "one")] == [1, 2, 1]
    assert registry.versions(TASK) == [1, 2]


def test_a_fill_that_fails_leaves_nothing(registry: Registry) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        registry.write(TASK, fail)  # type: ignore[arg-type]
    assert registry.tasks() == []
    assert list(registry.root.glob("[!.]*")) == list(registry.root.glob(".staging-*")) == []


def test_what_a_killed_writer_left_is_swept_but_not_what_one_is_writing(registry: Registry) -> None:
    (registry.root / ".staging-dead").mkdir(parents=True)
    (registry.root / ".staging-dead" / "weights.safetensors").write_bytes(b"half")

    def fill(folder: Path) -> Manifest:
        assert not (registry.root / ".staging-dead").exists()
        add(registry, "one")  # another writer, while this one is at work
        assert folder.is_dir()
        return manifest(run="two")

    assert registry.write(TASK, fill).version == 2


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_changed_byte_in_any_file_is_refused_by_its_name(registry: Registry) -> None:
    add(registry, "one")
    folder = registry.folder(TASK, 1)
    draw = random.Random(0)  # noqa: S311 - no secret
    for path in everything(folder):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, draw.randrange(len(whole) or 1)} if whole else ():
            changed = bytearray(whole)
            changed[place] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            with pytest.raises(Corrupt, match=re.escape(path.name)) as refused:
                registry.folder(TASK, 1)
            assert "toy.side version 1" in str(refused.value)
            assert "so it is not loaded" in str(refused.value)
        path.write_bytes(whole)
        verify(folder)


def test_a_file_that_is_longer_shorter_or_swapped_is_refused(registry: Registry) -> None:
    add(registry, "one")
    folder = registry.folder(TASK, 1)
    for path in everything(folder):
        whole = path.read_bytes()
        other = b"[]" if path.name == "labels.json" else FILES["labels.json"]
        for changed in {whole + b"\n", whole[:-1], other} - {whole}:
            path.write_bytes(changed)
            with pytest.raises(Corrupt, match=re.escape(path.name)):
                registry.folder(TASK, 1)
        path.write_bytes(whole)
    verify(folder)


def test_a_missing_file_is_named(registry: Registry) -> None:
    add(registry, "one")
    folder = registry.folder(TASK, 1)
    for path in everything(folder):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(Corrupt, match=f"{re.escape(path.name)} of .* is missing"):
            registry.folder(TASK, 1)
        path.write_bytes(whole)
    verify(folder)


def test_a_manifest_of_another_release_says_so(registry: Registry) -> None:
    from hashlib import sha256

    add(registry, "one")
    path = registry.folder(TASK, 1) / "manifest.json"
    path.write_bytes(b'{"task": "toy.side"}')
    (path.parent / "manifest.sha256").write_text(sha256(path.read_bytes()).hexdigest())
    with pytest.raises(Corrupt, match="is of another release of Lepton"):
        registry.manifest(TASK, 1)


def test_training_again_is_the_way_out_of_a_damaged_manifest(registry: Registry) -> None:
    add(registry, "one")
    (registry.folder(TASK, 1) / "manifest.json").write_bytes(b"{}")
    assert add(registry, "one") == 2
    assert registry.manifest(TASK, 2).run == "one"


def test_training_again_is_the_way_out_of_a_damaged_file(registry: Registry) -> None:
    add(registry, "one")
    (registry.folder(TASK, 1) / "labels.json").write_bytes(b"[]")
    assert registry.of_run(TASK, "one") is None
    assert add(registry, "one") == 2


def test_aliases_name_versions_and_can_be_moved(registry: Registry) -> None:
    for run in ("one", "two"):
        registry.point("candidate", TASK, add(registry, run))
    registry.point("production", TASK, 1)
    assert registry.aliases(TASK) == {"candidate": 2, "production": 1}
    assert registry.resolve(TASK) == 1
    assert registry.resolve(TASK, "candidate") == 2
    assert registry.resolve(TASK, "2") == registry.resolve(TASK, 2) == 2
    registry.point("production", TASK, "candidate")
    assert registry.manifest(TASK).run == "two"


def test_rollback_goes_back_one_production_version_at_a_time(registry: Registry) -> None:
    for run in ("one", "two", "three"):
        registry.point("production", TASK, add(registry, run))
    assert registry.rollback(TASK).version == 2
    assert registry.rollback(TASK).version == 1
    with pytest.raises(Conflict, match=r"no earlier production version.*\[1, 2, 3\]"):
        registry.rollback(TASK)
    assert registry.resolve(TASK) == 1


def test_promoting_twice_is_as_promoting_once(registry: Registry) -> None:
    for run in ("one", "two"):
        add(registry, run)
    for version in (1, 2, 2):
        registry.point("production", TASK, version)
    assert registry.rollback(TASK).version == 1


def test_a_damaged_version_is_not_promoted(registry: Registry) -> None:
    add(registry, "one")
    (registry.folder(TASK, 1) / "labels.json").write_bytes(b"[]")
    with pytest.raises(Corrupt, match=r"labels\.json"):
        registry.point("production", TASK, 1)
    assert registry.aliases(TASK) == {}


def test_a_version_that_was_just_written_is_marked_without_reading_it_again(
    registry: Registry,
) -> None:
    for run in ("one", "two"):
        add(registry, run)
    registry.mark("candidate", registry.manifest(TASK, 2))
    registry.mark("candidate", registry.manifest(TASK, 1))
    assert registry.aliases(TASK) == {"candidate": 1}


def test_a_damaged_version_is_not_gone_back_to(registry: Registry) -> None:
    for run in ("one", "two"):
        registry.point("production", TASK, add(registry, run))
    (registry.folder(TASK, 1) / "labels.json").write_bytes(b"[]")
    with pytest.raises(Corrupt, match=r"labels\.json of toy\.side version 1"):
        registry.rollback(TASK)
    assert registry.resolve(TASK) == 2


def test_damaged_aliases_are_refused_by_name(registry: Registry) -> None:
    add(registry, "one")
    registry.point("production", TASK, 1)
    (registry.root / TASK / "aliases.json").write_bytes(b'{"production": [1')
    with pytest.raises(Corrupt, match=r"aliases\.json of toy\.side is not what was written"):
        registry.resolve(TASK)


def test_what_is_not_there_is_told_with_the_way_to_get_it(registry: Registry) -> None:
    with pytest.raises(NotFound, match=r"toy\.side has no version yet\. Train one: python -m serv"):
        registry.folder(TASK)
    add(registry, "one")
    with pytest.raises(NotFound, match=r"No version of toy\.side is in production\. Promote one:"):
        registry.folder(TASK)
    with pytest.raises(NotFound, match=r"toy\.side has no version '7'\. There are: 1\."):
        registry.folder(TASK, "7")
    registry.point("candidate", TASK, 1)
    with pytest.raises(NotFound, match=r"no version 'candidat'\. Did you mean 'candidate'\?"):
        registry.folder(TASK, "candidat")


def test_a_folder_that_is_no_version_is_none(registry: Registry) -> None:
    add(registry, "one")
    (registry.root / TASK / "notes").mkdir()
    assert registry.versions(TASK) == [1]
    assert add(registry, "two") == 2


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_whole_versions_only(tmp_path: Path) -> None:
    draw = random.Random(1)  # noqa: S311 - no secret
    registry = Registry(tmp_path)
    for attempt in range(5):
        process = writer(tmp_path, f"kill{attempt}", 10_000)
        assert process.stdout is not None
        said = [process.stdout.readline()]
        time.sleep(draw.uniform(0.0, 0.05))
        process.kill()
        said += process.communicate()[0].splitlines()
        versions = registry.versions(TASK)
        assert versions == list(range(1, len(versions) + 1))
        assert {int(number) for number in said if number} <= set(versions)
        for version in versions:
            verify(registry.root / TASK / str(version))
    assert add(registry, "after") == len(registry.versions(TASK)) > 5


@pytest.mark.slow
def test_two_processes_that_write_at_once_get_different_numbers(tmp_path: Path) -> None:
    both = [writer(tmp_path, name, 10) for name in ("left", "right")]
    numbers = [int(line) for process in both for line in process.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 21))
    registry = Registry(tmp_path)
    assert {registry.manifest(TASK, n).run for n in numbers} == {
        f"{name}-{number}" for name in ("left", "right") for number in range(10)
    }


def test_a_manifest_from_before_there_were_references_is_read() -> None:
    older = manifest().model_dump(mode="json", exclude={"reference"})
    assert Manifest.model_validate(older).reference == {}

"""Sounds come in as pictures do: from folders per class, or from a table that names them."""

from pathlib import Path

import numpy as np
import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.ingest import Ingested, ingest, ingest_rows
from cluster.features.offline.store import Store
from cluster.features.views.sounds import labelled_sounds, sample_sounds
from cluster.media import Sound, Waveform

ONE = Sound().encode(Waveform(np.linspace(-1, 1, 160, dtype=np.float32), 8_000))


def lay(folder: Path, *names: str) -> None:
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.linspace(-1, 1, 160 + place, dtype=np.float32)
        path.write_bytes(Sound().encode(Waveform(samples, 8_000)))


def taken(path: Path, home: Path, **more: float) -> tuple[Ingested, list[tuple[int, str, str]]]:
    """What an ingest said, and of each row its samples, label and part."""
    store = Store(home)
    said = ingest(labelled_sounds, [path], store, **more)  # type: ignore[arg-type]
    rows = store.snapshot(labelled_sounds).read(labelled_sounds, ["sound", "label", "split"])
    sizes = [len(sound.samples) for sound in rows["sound"]]
    return said, sorted(zip(sizes, rows["label"], rows["split"], strict=True))


def test_folders_name_the_class_and_the_part_of_sounds(tmp_path: Path) -> None:
    lay(tmp_path / "in", "train/yes/a.wav", "train/no/b.wav", "test/yes/c.flac")
    _, rows = taken(tmp_path / "in", tmp_path / "home")
    assert rows == [(160, "yes", "train"), (161, "no", "train"), (162, "yes", "test")]


def test_a_table_names_sounds(tmp_path: Path) -> None:
    lay(tmp_path / "in", "clips/a.wav", "clips/b.wav")
    (tmp_path / "in" / "clips.csv").write_text("path,word\nclips/a.wav,yes\nclips/b.wav,no\n")
    _, rows = taken(tmp_path / "in", tmp_path / "home")
    assert rows == [(160, "yes", ""), (161, "no", "")]


def test_a_sound_that_cannot_be_used_is_rejected_with_the_reason(tmp_path: Path) -> None:
    lay(tmp_path / "in", "yes/a.wav", "no/b.wav")
    (tmp_path / "in" / "no" / "cut.wav").write_bytes(ONE[:100])
    said, rows = taken(tmp_path / "in", tmp_path / "home", max_reject_share=0.5)
    assert len(rows) == 2
    (reason,) = said.summary.reasons
    assert "sound is not usable: The WAV sound states 320 bytes of samples and has 56" in (
        reason.example
    )


def test_a_folder_without_sounds_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.bin").write_bytes(b"\0" * 40)
    with pytest.raises(InvalidInput, match=r"can be read as these rows: it holds notes\.bin"):
        taken(tmp_path, tmp_path / "home")


def test_made_up_sounds_are_rows_and_name_themselves(tmp_path: Path) -> None:
    drawn = sample_sounds(4, np.random.default_rng(0))
    nameless = {name: column for name, column in drawn.items() if name != "sound_id"}
    store = Store(tmp_path)
    assert ingest_rows(labelled_sounds, nameless, store).new == 4
    assert ingest_rows(labelled_sounds, nameless, store).same == 4
    names = store.snapshot(labelled_sounds).read(labelled_sounds, ["sound_id"])["sound_id"]
    assert len({*names}) == 4

"""Hold sounds and what each of them is: spoken words, alarms, birds."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.tree import open_tree, suffix
from cluster.features.intake.finding import Files
from cluster.features.intake.labelling import Content, Source, read_labelled
from cluster.features.intake.mapping import Wanted
from cluster.features.intake.parts import is_table
from cluster.features.schema.column import ALWAYS, Text
from cluster.features.schema.view import Piece, View
from cluster.media.sound import Sound, Waveform, sniff

_ID = ("soundid", "id")
_SOUND = (
    "sound", "audio", "path", "file", "filename", "filepath", "audiopath", "audiofile", "wav",
    "clip", "recording", "fname", "bytes",
)  # fmt: skip
_LABEL = ("label", "class", "category", "word", "target")
SOUNDS = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"))
"""How names of sounds end; any other file is one if its first bytes are a sound's."""
CONTENT = Content(
    column="sound",
    wanted=Wanted(
        names={"sound_id": _ID, "sound": _SOUND, "label": _LABEL}, needed=("sound", "label")
    ),
    by_id=Wanted(
        names={"sound_id": _ID, "sound": (*_SOUND, *_ID), "label": _LABEL},
        needed=("sound", "label"),
    ),
    paths=True,
    load=bytes,
)
TONES = {"low": 220, "middle": 440, "high": 880}
RATE_HZ, SECONDS = 8_000, 0.25


def read_sounds(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Sounds and their classes, laid out as pictures are: folders per class, or a table of paths.

    Raises:
        NotFound: the path is missing.
        InvalidInput: nothing can be read as sounds, or nothing says what they are.
    """

    def usable(name: str) -> bool:
        return suffix(name) in SOUNDS or is_table(name)

    with open_tree(path, usable, _why_no_sound) as tree:
        sounds = [name for name in tree.names if not is_table(name)]
        tables = [name for name in tree.names if is_table(name)]
        yield from read_labelled(Source(tree, Files(sounds), tables, columns), CONTENT)
        yield from tree.unread([*sounds, *tables])


def _why_no_sound(head: bytes) -> str:
    """What the first bytes of a file say against its being a sound, or nothing."""
    try:
        sniff(head)
    except InvalidInput:
        return "it is of no kind that is read here"
    return ""


def sample_sounds(n: int, rng: np.random.Generator) -> Batch:
    """Tones of three heights, a little off and with noise."""
    labels = rng.choice([*TONES], n)
    time = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ
    pitch = np.array([TONES[label] for label in labels]) * rng.uniform(0.9, 1.1, n)
    waves = np.sin(2 * np.pi * pitch[:, None] * time) / 2 + rng.normal(0, 0.02, (n, len(time)))
    return {
        "sound_id": objects(f"tone-{number}" for number in range(n)),
        "sound": objects(Waveform(wave.astype(np.float32), RATE_HZ) for wave in waves),
        "label": objects(map(str, labels)),
        "event_time": np.full(n, ALWAYS),
    }


labelled_sounds = View(
    name="sounds",
    key=("sound_id",),
    columns={"sound": Sound(), "label": Text()},
    sample=sample_sounds,
    read=read_sounds,
    named_by="sound",
    description="Sounds and what each of them is.",
)
sounds = labelled_sounds.only("sound")

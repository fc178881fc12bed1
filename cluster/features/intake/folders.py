"""Say which class and which part of the data the folders of files stand for."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from cluster.features.schema.column import SPLITS

UNLABELLED = frozenset(("unsup", "unlabelled", "unlabeled"))
"""Folders beside those of classes that hold files without one."""
_KINDS = frozenset(
    ("data", "dataset", "folder", "files", "set", "images", "image", "imgs", "img", "pictures",
     "photos", "jpg", "jpeg", "png", "sounds", "audio", "wav", "wavs", "clips", "texts", "text",
     "txt", "docs", "documents")
)  # fmt: skip


def split_in(name: str) -> str:
    """The part of the data that a file's or folder's name speaks of, or nothing."""
    return next((SPLITS[word] for word in _words(name) if word in SPLITS), "")


def parts_among(folders: Iterable[str]) -> dict[str, str]:
    """The folders that stand for a part of the data and for nothing else, with their parts.

    `test` and `test_images` do; `stage1_test` does beside `stage1_train`; `test_tube` does not.
    """
    words = {folder: _words(folder) for folder in folders}
    named = {folder: [word for word in said if word in SPLITS] for folder, said in words.items()}
    rests = {folder: {*words[folder]} - {*said} for folder, said in named.items() if said}
    alike = len(rests) == len(words) > 1 and len({frozenset(r) for r in rests.values()}) == 1
    differ = len({SPLITS[named[folder][0]] for folder in rests}) > 1
    return {
        folder: SPLITS[named[folder][0]]
        for folder, rest in rests.items()
        if len(named[folder]) == 1 and (rest <= _KINDS or (alike and differ))
    }


def are_shelves(folders: Collection[str]) -> bool:
    """Whether folders part files by their number alone: a lone one, or `part_1` and `part_2`."""
    bare = {re.sub(r"\d+", "", folder) for folder in folders}
    return len(folders) == 1 or (len(bare) == 1 and bool(_words(*bare)))


def part_of(name: str) -> str:
    """The part whose folder a file lies in, or nothing."""
    return _part_of(PurePosixPath(name).parent.as_posix())


@lru_cache(maxsize=4_096)  # many files lie in one folder
def _part_of(folder: str) -> str:
    parts = parts_among(PurePosixPath(folder).parts)
    return next((parts[name] for name in PurePosixPath(folder).parts if name in parts), "")


def classes(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Per file of a folder per class: its name, its class and its part.

    A folder that holds everything, and folders that are named train, valid or test, may lie above
    those of the classes. A class is empty where a file lies in no folder of a class: those of parts
    are none (but a `train` beside classes is one), nor is one called `images` or the like that
    holds all of a part. Of one part alone nothing is said: its rows must give the other parts, too.
    """
    labels, splits = _descend(names)
    held: dict[str, set[str]] = defaultdict(set)
    for name, label in labels.items():
        held[splits[name]].add(label)
    for name, label in labels.items():
        alone = splits[name] and not held[splits[name]] - {label, ""}
        if (alone and {*_words(label)} <= _KINDS) or label.lower() in UNLABELLED:
            labels[name] = ""
    labelled = {splits[name] for name, label in labels.items() if label}
    for name, label in labels.items():
        yield name, label, splits[name] if not label or len(labelled) > 1 else ""


def _descend(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The folder of each file below those that hold everything or are parts, and its part."""
    folders = {name: _above(name) for name in names}
    splits = dict.fromkeys(names, "")
    while inside := [name for name, above in folders.items() if above]:
        tops = {folders[name][0] for name in inside}
        parts = parts_among(tops)
        parted = bool(parts) and (len(parts) == len(tops) or len({*parts.values()}) > 1)
        deep = sum(len(folders[name]) > 1 for name in inside)
        # a `test` beside classes is none of them; a `train` may be one, beside `bus` and `car`
        aside = {top for top, part in parts.items() if part != "train"}
        if aside and not parted:
            for name in inside:
                if folders[name][0] in aside:
                    splits[name] = parts[folders[name][0]]
                    folders[name].clear()
            continue
        if not parted and (len(tops) > 1 or 2 * deep <= len(inside)):
            break  # the next folder is that of a class, however deep its files lie in it
        for name in inside:
            top = folders[name].pop(0)
            splits[name] = parts.get(top, "") or splits[name]
            if parted and top not in parts:
                folders[name].clear()  # it lies beside the parts
    return {name: above[0] if above else "" for name, above in folders.items()}, splits


def _above(name: str) -> list[str]:
    return list(PurePosixPath(name).parts[:-1])


def _words(name: str) -> list[str]:
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[\W_]+", parted.lower()) if word]

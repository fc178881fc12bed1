"""Find the file that a table means by a path, a name or an id."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import product, takewhile
from os.path import commonpath
from pathlib import PurePosixPath

from cluster.base.errors import InvalidInput
from cluster.features.intake.folders import part_of, split_in

_URL = re.compile(r"\s*(https?|ftp|s3|gs|wasbs?|abfss?|hdfs)://", re.IGNORECASE)


class Files:
    """Files by all that a table may call them: a path, the end of one, a name without its end.

    Args:
        names: paths of the files; none where what is there is not known: then paths are believed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._names = frozenset(names)

    def find(self, value: object, table: str) -> str:
        """The file that a table means, by its path from the table or from above, or by its name.

        A path may begin above the source, where it ends with a folder and a file that are here.
        Of several files of one name, those written alike (`a.PNG`), below the table, and of its
        part come first.

        Raises:
            InvalidInput: there is none, several may be meant, or it is a URL.
        """
        text, path = str(value), _path(value)
        folder = PurePosixPath(table).parent
        outside = path.is_absolute() or ".." in path.parts or "\0" in text
        for exact in () if outside else (folder / path, path):
            if exact.as_posix() in self._names or not self._names:
                return exact.as_posix()
        called = self._called.get(_key(path.parent.name, path.name), ())
        named = [name for name in called if self._meets(name, path)]
        if not named and outside:
            raise InvalidInput(f"{text!r} lies outside the table's folder: put the table above")
        if not named:
            raise InvalidInput(f"{text!r} is no file of the source")
        for better in (
            lambda name: path.name in (PurePosixPath(name).name, PurePosixPath(name).stem),
            lambda name: PurePosixPath(name).is_relative_to(folder),
            lambda name: part_of(name) == split_in(table),
        ):
            named = list(filter(better, named)) or named
        if len(named) > 1:
            raise InvalidInput(f"{text!r} may be {named[0]!r} or {named[1]!r}: give the path")
        return named[0]

    @cached_property  # most tables give paths
    def _called(self) -> dict[tuple[str, str], list[str]]:
        """Files by their folder's name, or none, and their own in small letters, less its end, too.

        Without the folder, a table of a folder per picture would be compared pair by pair.
        """
        called: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name in self.names:
            path = PurePosixPath(name)
            words = {path.name, path.stem}
            for key in {_key(*pair) for pair in product({"", path.parent.name}, words)}:
                called[key].append(name)
        return called

    @cached_property
    def _wrapped(self) -> int:
        """How many folders lie above all files: on another machine they may be called otherwise."""
        return len(PurePosixPath(commonpath(self.names)).parts) if len(self.names) > 1 else 0

    def _meets(self, name: str, path: PurePosixPath) -> bool:
        """Whether the folders above two files of one name are alike, as far as both are known."""
        ours, theirs = (PurePosixPath(_composed(str(of))).parts[:-1] for of in (name, path))
        pairs = zip(reversed(ours), reversed(theirs), strict=False)
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if alike == len(theirs):
            return True
        return alike > 0 and alike >= len(ours) - self._wrapped


def _path(value: object) -> PurePosixPath:
    """What a table says as a path; raises InvalidInput for nothing, and for a URL."""
    text = str(value)
    if _URL.match(text):
        raise InvalidInput(
            f"{text[:200]!r} is a URL, and files behind URLs are not fetched: fetch them, and name "
            "them by their paths"
        )
    path = PurePosixPath(text.strip().replace("\\", "/"))
    if value is None or not path.name:
        raise InvalidInput("is empty")
    return path


def _key(folder: str, name: str) -> tuple[str, str]:
    return _composed(folder), _composed(name).lower()


def _composed(text: str) -> str:
    """In one Unicode form: a Mac names files in another than most programs write."""
    return unicodedata.normalize("NFC", text)

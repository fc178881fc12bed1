"""Find the file that a table means by a path, a name or an id."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath

from cluster.errors import InvalidInput
from cluster.features.intake.folders import part_of, split_in


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

        Of several files of one name, those below the table and of its part come first.

        Raises:
            InvalidInput: there is none, or several may be meant.
        """
        text = str(value)
        path = PurePosixPath(text.strip().replace("\\", "/"))
        if value is None or not path.name:
            raise InvalidInput("is empty")
        folder = PurePosixPath(table).parent
        if path.is_absolute() or ".." in path.parts or "\0" in text:
            raise InvalidInput(f"{text!r} lies outside the table's folder: put the table above")
        for exact in (folder / path, path):
            if exact.as_posix() in self._names or not self._names:
                return exact.as_posix()
        named = [name for name in self._called.get(path.name, ()) if _ends(name, path)]
        if not named:
            raise InvalidInput(f"{text!r} is no file of the source")
        if len(named) > 1:
            below = [name for name in named if PurePosixPath(name).is_relative_to(folder)]
            likely = [n for n in below or named if part_of(n) == split_in(table)]
            nearer = next((some for some in (below, likely) if len(some) == 1), [])
            if not nearer:
                raise InvalidInput(f"{text!r} may be {named[0]} or {named[1]}: give the path")
            return nearer[0]
        return named[0]

    @cached_property  # most tables give paths
    def _called(self) -> dict[str, list[str]]:
        """Files by the last part of their paths, with and without what tells the kind."""
        called: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            path = PurePosixPath(name)
            for word in {path.name, path.stem}:
                called[word].append(name)
        return called


def _ends(name: str, path: PurePosixPath) -> bool:
    """Whether a file's path ends like this one, whose last part may lack what tells the kind."""
    above = path.parts[:-1]
    return not above or PurePosixPath(name).parts[:-1][-len(above) :] == above

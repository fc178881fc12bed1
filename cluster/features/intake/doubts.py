"""Count values that are taken as written but may mean something else: "NA", ids with spaces."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import polars as pl

from cluster.base.batch import Arrays
from cluster.features.schema.column import Key, Text
from cluster.features.schema.view import View

NOTHING = frozenset(
    ("#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a",
     "na", "nan", "nat", "none", "null")
)  # fmt: skip
"""What programs write for a missing value, in small letters: pandas reads all but `nat` as one."""
PLACES = 3
_WRITTEN = sorted({*NOTHING, *map(str.upper, NOTHING), "NaN", "NaT", "None", "Null", "Nan", "-NaN"})
_ODD = r"^\s|\s$|[^\x00-\x7f]"  # spaces about it, or letters that may be written in two ways


class Doubts:
    """Looks at ids, labels and texts as they come.

    Args:
        view: whose rows they are.
    """

    def __init__(self, view: View) -> None:
        types = {**dict.fromkeys(view.key, Key()), **view.columns}
        self.columns = [name for name, column in types.items() if isinstance(column, Text)]
        self.keys = view.key
        self._nothing: dict[str, Counter[str]] = defaultdict(Counter)
        self._places: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._odd: dict[str, set[str]] = defaultdict(set)

    def add(self, good: Arrays, places: Sequence[str] = ()) -> None:
        """Look at admitted rows.

        Args:
            good: their columns.
            places: where each of them stands, if it is known.
        """
        for name in self.columns:
            values = pl.Series(good[name].tolist(), dtype=pl.String)
            for row in values.str.strip_chars().is_in(_WRITTEN).arg_true().to_list():
                word = str(good[name][row])
                self._nothing[name][word] += 1
                shown = self._places[name, word]
                if places and len(shown) < PLACES:
                    shown.append(places[row])
            if name in self.keys:
                odd = values.filter(values.str.contains(_ODD)).unique()
                self._odd[name].update(filter(_is_doubtful, odd.to_list()))

    def warnings(self) -> Iterator[str]:
        """A sentence for each column."""
        for name, words in self._nothing.items():
            shown = "; ".join(
                f"{word!r} in {count:,} row{'s' * (count > 1)}{self._where(name, word)}"
                for word, count in words.most_common(PLACES)
            )
            yield (
                f"A {name} may stand for a missing one: {shown}. It was taken as it is written. If "
                "it means that nothing is known, leave the cell empty: such rows are rejected."
            )
        for name, ids in self._odd.items():
            if ids:
                shown = ", ".join(map(ascii, sorted(ids)[:PLACES]))
                yield (
                    f"{len(ids):,} values of {name} begin or end with a space, or hold letters in "
                    f"another Unicode form than NFC: {shown}. To us they are other ids than those "
                    "without; write them alike, or they do not meet."
                )

    def _where(self, name: str, word: str) -> str:
        shown = self._places[name, word]
        return f" ({', '.join(shown)})" if shown else ""


def _is_doubtful(text: str) -> bool:
    return text != text.strip() or not unicodedata.is_normalized("NFC", text)


def alike(label: str) -> str:
    """What labels have in common that differ by case, spaces or Unicode form alone."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", label).strip()).casefold()

"""Make a view of others by one plain function: for a backfill, a push and a replica alike."""

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
import polars as pl
import pyarrow as pa

from cluster.base.batch import Batch
from cluster.base.blame import blame
from cluster.base.errors import InvalidInput, nearest
from cluster.features.schema.column import Column
from cluster.features.schema.declared import check_some
from cluster.features.schema.view import About, Inputs, Sample, View, digits

QUOTED = re.compile(r'"([^"\n]+)"')
Function = Callable[..., pl.DataFrame]
"""Takes one frame for each view that it depends on, all with the same `n` rows in the same order,
and returns a frame of the declared columns with `n` rows. What an input does not know of a row is
null there."""


@dataclass(frozen=True)
class Computed(View):
    """A view whose rows are a function of the rows of others, as of the same moment.

    Nothing of it is stored: the function runs on what the others hold when it is read.

    Args:
        function: what makes the columns; its parameters are named like the views it depends on.
    """

    function: Function = field(kw_only=True, repr=False)

    @property
    def needs(self) -> tuple[str, ...]:
        """The parameters of the function."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def stored(self) -> bool:
        """Nothing is."""
        return False

    @property
    def definition(self) -> tuple[object, ...]:
        """The text of the function too."""
        text = inspect.getsource(self.function)
        return (*super().definition, hashlib.sha256(text.encode()).hexdigest())

    def version_over(self, inputs: Inputs) -> str:
        """Changes with the function and with every view behind it, however far."""
        return digits((self.version, [other.version_over(inputs) for other in inputs(self)]))

    def compute(self, inputs: Mapping[str, pl.DataFrame]) -> pa.Table:
        """The declared columns, each in its type.

        Args:
            inputs: of each view that it depends on its columns, `n` rows.

        Raises:
            InvalidInput: the function asks for a column that is not there, does with one what its
                type does not bear, or its result is not what was declared.
        """
        rows = max((len(frame) for frame in inputs.values()), default=0)
        try:
            made = self.function(**{name: inputs[name] for name in self.needs})
        except pl.exceptions.ColumnNotFoundError as error:
            raise self._lost(str(error), inputs) from None
        except Exception as error:  # whatever somebody's function may raise
            own = self.function.__code__.co_filename
            why = blame(error, lambda file: file == own)
            raise InvalidInput(
                f"The function of view {self.name!r} fails: {why}.",
                hint="Its frames have the columns and types of the views that it depends on.",
            ) from error
        if not isinstance(made, pl.DataFrame) or len(made) != rows:
            found = f"{len(made)} rows" if isinstance(made, pl.DataFrame) else type(made).__name__
            raise InvalidInput(
                f"View {self.name!r} was given {rows} rows and returned {found}.",
                hint="Its function returns a Polars DataFrame with a row for each row it is given.",
            )
        return pa.table(
            {name: self._typed(made, name, kind) for name, kind in self.columns.items()}
        )

    def _lost(self, asked: str, inputs: Mapping[str, pl.DataFrame]) -> InvalidInput:
        named = QUOTED.search(asked)  # `unable to find column "x"; ...`, `"x" not found`
        wanted = named[1] if named else asked.partition("\n")[0]
        known = [column for frame in inputs.values() for column in frame.columns]
        return InvalidInput(
            f"View {self.name!r} asks for a column {wanted!r} that none of "
            f"{', '.join(self.needs)} has.",
            hint=nearest(wanted, known),
        )

    def _typed(self, made: pl.DataFrame, name: str, kind: Column) -> pa.Array:
        if name not in made.columns:
            raise InvalidInput(
                f"View {self.name!r} declares a column {name!r}; its function returns none.",
                hint=nearest(name, made.columns),
            )
        known = made[name].fill_nan(None) if made[name].dtype.is_float() else made[name]
        column = known.to_arrow()
        wrong = InvalidInput(
            f"Column {name!r} of view {self.name!r} is declared as {kind.arrow}; its function "
            f"returns {column.type}.",
            hint="Declare what it returns, or cast it.",
        )
        # a cast would read words as numbers, and write numbers as words
        if _words(column.type) != _words(kind.arrow) and not pa.types.is_null(column.type):
            raise wrong
        try:
            typed = column.cast(kind.arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise wrong from None
        if typed.null_count:
            typed = typed.fill_null(pa.scalar(_plain(self.empty(name)), type=kind.arrow))
        return typed


def computed(
    *, key: tuple[str, ...], columns: Mapping[str, Column], **about: Unpack[About]
) -> Callable[[Function], Computed]:
    """Declares a function of other views to be a view: its name and docstring are the view's.

    ```python
    @computed(key=("item_id",), columns={"title_words": Whole()})
    def item_title(items: pl.DataFrame) -> pl.DataFrame:
        \"\"\"How long the title of an item is.\"\"\"
        return items.select(title_words=pl.col("title").str.split(" ").list.len())
    ```

    Args:
        key: what a row is about; it holds the keys of all views that the function depends on.
        columns: type of each column that the function returns.
        about: time-to-live (after the newest of the inputs), defaults, owner, tags.
    """

    def declare(function: Function) -> Computed:
        check_some(function.__name__, columns)
        name, said = function.__name__, {"description": inspect.getdoc(function) or ""}
        everything: About = {**said, **about}  # type: ignore[typeddict-item]
        return Computed(name, key, columns, _unmade(name), function=function, **everything)

    return declare


def frame(view: View, rows: Batch) -> pl.DataFrame:
    """A view's columns of some rows, as its functions take them."""
    made = {name: column.pack(rows[name]) for name, column in view.columns.items()}
    return pl.DataFrame(pl.from_arrow(pa.table(made)))


def _unmade(name: str) -> Sample:
    """Rows are drawn by the graph, which knows the views that the function depends on."""

    def sample(n: int, rng: np.random.Generator) -> Batch:
        del n, rng
        raise InvalidInput(
            f"Made-up rows of {name!r} depend on other views.", hint="Ask Graph.sample for them."
        )

    return sample


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _words(kind: pa.DataType) -> bool:
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_text(kind) for is_text in text)

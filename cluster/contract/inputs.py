"""Make a capability's Input from a view, so that its columns are declared once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from cluster.base.errors import InvalidInput
from cluster.features.schema import column as columns
from cluster.features.schema import ragged
from cluster.features.schema.view import View

SENT_AS: Mapping[type[columns.Column], Any] = {
    columns.Text: str,
    columns.Number: float,
    columns.Whole: int,
    columns.Time: datetime,
    ragged.Texts: list[str],
    ragged.Numbers: list[float],
    ragged.Vector: list[float],
}
"""What a caller sends for a column of each type."""


def input_of(view: View, **options: Any) -> type[BaseModel]:
    """An Input with a field for each column of a view; one that may have gaps may be left out.

    Args:
        view: as in `inputs`: its columns, not its key.
        options: further fields as pydantic's `create_model` takes them: `top_k=(int, 5)`.

    Raises:
        InvalidInput: a column is of a type that has no one form to be sent in.
    """
    fields: dict[str, Any] = {name: _field(view, name, kind) for name, kind in view.columns.items()}
    made: type[BaseModel] = create_model(
        "Input",
        __doc__=f"A row of {view.name}.",
        __config__=ConfigDict(extra="forbid"),
        **fields,
        **options,
    )
    return made


def _field(view: View, name: str, column: columns.Column) -> tuple[Any, Any]:
    sent = next((form for kind, form in SENT_AS.items() if isinstance(column, kind)), None)
    if sent is None:
        raise InvalidInput(
            f"Column {name!r} of view {view.name!r} is {column}, which has no one form to be sent.",
            hint="Declare Input as a class of its own.",
        )
    return (sent, ...) if column.gap(np.zeros(0)) is None else (sent | None, None)

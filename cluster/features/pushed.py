"""Check pushed rows: not too many, in known columns, and all of them good."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, length
from cluster.base.errors import InvalidInput, TooLarge, nearest
from cluster.base.faults import together
from cluster.features.intake.ingest import admit
from cluster.features.schema.times import SAY_ZONE
from cluster.features.schema.view import Reject, View

MOST_PUSHED = 10_000
AS_ZONED = "write it as in 2024-05-01T12:00:00Z"


def check_size(name: str, rows: int) -> None:
    """Refuse to push no rows, or too many, to the view of that name.

    Raises:
        TooLarge: there are more than `MOST_PUSHED`.
        InvalidInput: there are none.
    """
    if not 0 < rows <= MOST_PUSHED:
        raise (TooLarge if rows else InvalidInput)(
            f"{rows:,} rows were pushed to {name!r}; a push takes 1 to {MOST_PUSHED:,}.",
            hint="Push them in several parts, or ingest a file." if rows else "Give some.",
            limit=MOST_PUSHED,
            actual=rows,
        )


def check_columns(view: View, raw: Batch) -> None:
    """Refuse columns that the view does not have.

    Raises:
        InvalidInput: names each of them.
    """
    faults = [
        InvalidInput(f"There is no column {name!r}.", hint=nearest(name, view.schema), pointer=name)
        for name in raw
        if name not in view.schema
    ]
    if faults:
        raise together(faults)


def admitted(view: View, raw: Batch, *, root: str) -> Batch:
    """Pushed rows as the view stores them, each at its event time, or now.

    Args:
        view: a source view.
        raw: its key and columns.
        root: where the rows stand, as a JSON pointer: errors then point into it.

    Raises:
        InvalidInput: a row is bad; the error has a part for each that is.
    """
    rows, rejects = admit(view, raw, place=partial(_place, root))
    if rejects:
        raise _refused(view.name, rejects)
    return {"event_time": _moments(length(rows)), **rows}


def _place(root: str, row: int) -> str:
    return f"{root}/{row}" if root else f"row {row}"


def _refused(name: str, rejects: Sequence[Reject]) -> InvalidInput:
    """What is wrong with pushed rows; each part says where."""
    reasons = [reject.reason.replace(SAY_ZONE, AS_ZONED) for reject in rejects]
    more = f" ({len(rejects) - 1} more)" * (len(rejects) > 1)
    return InvalidInput(
        f"Nothing was written to {name!r}: {rejects[0].where}: {reasons[0]}{more}.",
        hint="Mend the rows and push all of them again.",
        parts=[
            InvalidInput(f"{reason}.", pointer=reject.where)
            for reject, reason in zip(rejects, reasons, strict=True)
        ],
    )


def _moments(rows: int) -> NDArray[np.datetime64]:
    """Now, `[rows]`, and a microsecond later each: rows of one key and moment would be one row."""
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    return now + np.arange(rows).astype("timedelta64[us]")

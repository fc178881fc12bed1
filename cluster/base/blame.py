"""Say in which line of somebody's own file an error arose."""

import traceback
from collections.abc import Callable

from cluster.base.errors import LeptonError

SAID = (SyntaxError, ImportError, LeptonError)
"""What says well enough itself what it is about."""


def blame(error: Exception, is_theirs: Callable[[str], bool]) -> str:
    """The file, the line and what is wrong there: `/home/me/nlp/detect.py, line 3: ...`.

    Args:
        error: what was raised, with its traceback.
        is_theirs: whether a path is of a file whose lines are of interest.
    """
    file, line = "", 0
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 0
    for frame in traceback.extract_tb(error.__traceback__) if not file else ():
        if is_theirs(frame.filename):
            file, line = frame.filename, frame.lineno or 0
    said = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    kind = "" if isinstance(error, SAID) else f"{type(error).__name__}: "
    return f"{file}, line {line}: {kind}{said.rstrip('.')}"

"""Stand between a command and its shell: words that are no text, output that cannot be written."""

import codecs
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

NOBODY_READS = 141  # what a shell says of a program that SIGPIPE ended


class Lost(Exception):
    """The output cannot be written; no OSError, which libraries take for one of their own."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.nobody_reads = error.errno in {errno.EPIPE, errno.ESHUTDOWN}


class Watched:
    """A stream whose writes raise `Lost` where it fails; all else is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            return self.stream.write(text)
        except OSError as error:
            raise Lost(error) from None

    def flush(self) -> None:
        """Write what waits."""
        try:
            self.stream.flush()
        except OSError as error:
            raise Lost(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def finish(self) -> None:
        """Write what waits, and raise `Lost` where anything was lost."""
        self.flush()


class Muted(Watched):
    """For a command that changes something: it goes on in silence where the stream fails."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost: Lost | None = None

    def write(self, text: str) -> int:
        """Write a text while that is possible."""
        try:
            return len(text) if self.lost else super().write(text)
        except Lost as lost:
            self.lost = lost
            return len(text)

    def flush(self) -> None:
        """Write what waits while that is possible."""
        try:
            if not self.lost:
                super().flush()
        except Lost as lost:
            self.lost = lost

    def finish(self) -> None:
        """Write what waits, and raise `Lost` where anything was lost."""
        self.flush()
        if self.lost:
            raise self.lost


def watched(command: Callable[[], int], kind: type[Watched] = Watched) -> int:
    """Run a command over a standard output that may fail.

    Characters that its encoding lacks are written as escapes.

    Args:
        command: gives a status.
        kind: `Watched` ends it where the output fails, `Muted` lets it end.

    Returns:
        the command's status; 1 after a sentence where the output could not be written; 141 where
        nobody reads it any more, as of programs that a closed pipe ends.
    """
    stream: TextIO = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - None is closed
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    output = kind(stream)
    sys.stdout = output
    try:
        status = command()
        output.finish()
    except Lost as lost:
        _discard(stream)
        if lost.nobody_reads:
            return NOBODY_READS
        print(f"Error: The output cannot be written: {lost}.", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        sys.stdout = stream
    return status


def unreadable(words: Sequence[str]) -> str:
    """What is wrong with the first word that is neither text nor the name of a file; else empty."""
    for word in words:
        if not word.isascii() and not _is_text(word) and not os.path.lexists(word):
            shown = word.encode(errors="backslashreplace").decode()
            return (
                f"The word '{shown}' is no text in {sys.getfilesystemencoding().upper()}, and no "
                "file has that name. Write it in that encoding, or put it into a file."
            )
    return ""


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # bytes that Python could not decode
        return False
    return True


def carries_all(stream: object) -> bool:
    """Whether a stream's encoding has every character."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def _discard(stream: TextIO) -> None:
    """Let what waits in the stream go nowhere, or Python would fail over it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

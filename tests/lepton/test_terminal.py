"""Output that is full, closed or of few characters is told in a sentence, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton.terminal import unreadable

PROGRAM = """
import sys
from lepton.terminal import Muted, Watched, watched
def command():
    for n in range(int(sys.argv[1])):
        print("line", n, chr(0x4e2d), flush=True)
    print("done", file=sys.stderr)
    return 3
sys.exit(watched(command, Muted if sys.argv[2:] else Watched))
"""
FULL = Path("/dev/full")


def shell(line: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `$PYTHON` is this interpreter and `$PROGRAM` prints lines."""
    lepton = "import sys; from lepton.cli import main; sys.exit(main(['--version']))"
    mine = {"LEPTON": lepton, "PYTHON": sys.executable, "PROGRAM": PROGRAM}
    return subprocess.run(
        ["/bin/bash", "-c", line],
        env={**os.environ, **mine, **environ},  # noqa: TID251 - a child's
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    "command", ['-c "$PROGRAM" 1', '-c "$PROGRAM" 9999', '-c "$LEPTON"', "-m services tasks"]
)
def test_a_full_disk_is_one_sentence_and_status_1(command: str) -> None:
    done = shell(f'"$PYTHON" {command} > /dev/full')
    assert done.stderr == b"Error: The output cannot be written: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", ['-c "$PROGRAM" 99999', '-c "$LEPTON"'])
def test_a_reader_that_went_is_no_error_to_tell(command: str) -> None:
    done = shell(f'"$PYTHON" {command} | (exec 0<&-; sleep 3); exit ${{PIPESTATUS[0]}}')
    assert (done.stderr, done.returncode) == (b"", 141)


def test_a_command_that_changes_something_goes_on_where_its_output_fails() -> None:
    done = shell('"$PYTHON" -c "$PROGRAM" 9 on > /dev/full')
    said = b"done\nError: The output cannot be written: No space left on device.\n"
    assert (done.stderr, done.returncode) == (said, 1)
    done = shell('"$PYTHON" -c "$PROGRAM" 9 on | (exec 0<&-; sleep 1); exit ${PIPESTATUS[0]}')
    assert (done.stderr, done.returncode) == (b"done\n", 141)


def test_a_closed_output_is_no_error() -> None:
    done = shell('"$PYTHON" -c "$PROGRAM" 9 >&-')
    assert (done.stderr, done.returncode) == (b"done\n", 3)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_characters_that_an_encoding_lacks_are_escapes(encoding: str) -> None:
    done = shell('"$PYTHON" -c "$PROGRAM" 1', PYTHONIOENCODING=encoding)
    assert (done.stdout, done.returncode) == (b"line 0 \\u4e2d\n", 3)


def test_a_word_that_is_no_text_is_told_unless_a_file_has_that_name(tmp_path: Path) -> None:
    word = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    assert "caf\\udce9' is no text in UTF-8, and no file" in unreadable(["good", word])
    Path(word).touch()
    assert unreadable(["good", "\u4e2d", word]) == ""

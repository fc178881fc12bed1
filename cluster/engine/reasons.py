"""Find in Ray's logs why it does not start, and say what to do about it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 2**16
LONGEST: Final = 400

# Where each part of Ray writes its errors, causes before their consequences. `ray start` fails or
# never ends after an error in one of the first group; those of the second are tried again.
FATAL: Final = (
    "session_latest/logs/gcs_server.*",
    "session_latest/logs/raylet.*",
    "session_latest/logs/dashboard.*",
    "head.log",
)
LASTING: Final = (
    "h/*.stderr.log",
    "session_latest/logs/serve/proxy_*.log",
    "session_latest/logs/serve/controller_*.log",
    "session_latest/logs/dashboard_*",
    "session_latest/logs/runtime_env_agent.*",
    "session_latest/logs/worker-*.err",
)
ERRORS: Final = (
    re.compile(r"^\[ALERT\][\s(\d)]*:(?: \[[^\]]*\])? *(.+)", re.MULTILINE),  # of HAProxy
    re.compile(r"^\[[^\]]* [CF] \d+ \d+\](?: \(\w+\))? [\w./]+:\d+: *(.+)", re.MULTILINE),  # of C++
    re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Exit)\b.*)", re.MULTILINE),  # of a traceback
)
COLOUR: Final = re.compile(r"\x1b?\[\d+m")

# What to do about the errors that have one remedy, by the words that Ray, Python or C use for them.
REMEDIES: Final = {
    r"FD limit|Too many open files": "Raise the limit of open files: `ulimit -n 10400` in the shell"
    " that runs `up`; a container needs --ulimit nofile=65536:65536.",
    r"AF_UNIX|path too long|File name too long": "Let TMPDIR and LEPTON_HOME name shorter folders.",
    r"[Aa]ddress already in use|already occupied|Failed to bind": "Another process took a port "
    "meanwhile: run `up` again.",
    r"No space left on device|Disk quota": "Free some room on that disk.",
    r"Read-only file system|Permission denied": "Let this user write there, or name other folders "
    "with LEPTON_HOME and TMPDIR.",
    r"[Cc]an't start new thread|pthread_create|Resource temporarily unavailable": "Raise the limit "
    "of processes and threads: `ulimit -u`, or --pids-limit of the container.",
    r"[Cc]annot allocate memory|MemoryError|bad_alloc": "Free some memory, lower "
    "LEPTON_OBJECT_STORE_MB, or raise `ulimit -v`.",
    r"SIGKILL": "The kernel may have ended it for want of memory, as `dmesg` tells: free some, or "
    "lower LEPTON_OBJECT_STORE_MB.",
    r"File too large|SIGXFSZ": "Raise the limit of file sizes: `ulimit -f unlimited`.",
}


def fatal_error(folder: Path) -> str:
    """The error after which Ray cannot come up any more; empty where the logs hold none.

    Args:
        folder: Ray's temporary folder.
    """
    return next((errors[-1] for errors in _errors(folder, FATAL)), "")


def last_error(folder: Path) -> str:
    """The error that best says why Ray is not up, be it one that is tried again.

    One with a remedy comes first, as it is the cause of those that only tell what failed by it.
    """
    found = list(_errors(folder, (*FATAL, *LASTING)))
    causes = (error for errors in found for error in reversed(errors) if remedy(error))
    return next(causes, found[0][-1] if found else "")


def remedy(error: str) -> str:
    """What to do about an error of Ray's logs; empty where that is not known."""
    return next((hint for words, hint in REMEDIES.items() if re.search(words, error)), "")


def last_line(path: Path) -> str:
    """The last line of a log that holds words; empty where there is none."""
    lines = [line for line in _tail(path).splitlines() if line.strip()]
    return lines[-1].strip()[:LONGEST] if lines else ""


def _errors(folder: Path, patterns: tuple[str, ...]) -> Iterator[list[str]]:
    """The errors of each log that holds some, with its name."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            text = COLOUR.sub("", _tail(path))
            for kind in ERRORS:
                if found := kind.findall(text):
                    yield [f"{error.strip()[:LONGEST]} ({path.name})" for error in found]
                    break


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:  # it was moved or removed meanwhile
        return ""

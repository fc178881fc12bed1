"""Let HAProxy answer in our form what it cannot parse: its own texts are compiled into it."""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Final

from cluster.base.errors import LeptonError

# Sent before there is a request, so there is no id to put in, and `http-error` has no say in it.
ANSWER: Final = """\
HTTP/1.1 {status} {phrase}\r
Connection: close\r
Content-Length: {size}\r
Content-Type: application/problem+json\r
\r
{body}"""


def with_answers(haproxy: Path, copy: Path, answers: dict[int, LeptonError]) -> Path:
    """A copy of HAProxy whose compiled answers are problem documents.

    Args:
        haproxy: its binary.
        copy: where the copy goes, in a folder of its own.
        answers: the problem of each status; its sentence must be shorter than HAProxy's page.

    Returns:
        The copy; the original where a text is not found in it, or has no room for ours.
    """
    content = haproxy.read_bytes()
    for status, error in answers.items():
        found = re.findall(rb"HTTP/1\.1 %d [^\0]*<html>[^\0]*\0" % status, content)
        ours = _answer(status, error)
        if len(found) != 1 or len(ours) >= len(found[0]):
            return haproxy
        content = content.replace(found[0], ours.ljust(len(found[0]), b"\0"))
    copy.parent.mkdir(exist_ok=True)
    copy.unlink(missing_ok=True)  # one that runs cannot be written to
    copy.write_bytes(content)
    copy.chmod(0o700)
    libraries = copy.parent / "lib"  # where the binary looks for its own
    libraries.unlink(missing_ok=True)
    libraries.symlink_to(haproxy.resolve().parent / "lib")
    return copy


def _answer(status: int, error: LeptonError) -> bytes:
    problem = {"status": status, "title": error.title, "detail": str(error)}
    body = json.dumps(problem, separators=(",", ":"))
    phrase = HTTPStatus(status).phrase
    return ANSWER.format(status=status, phrase=phrase, size=len(body), body=body).encode()

"""Read the code blocks of the pages, and run those of a shell or of Python as a reader would."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from lepton import Client

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples" / "README.md",
]
RUN = ("bash", "python")
"""Blocks of these languages are run; those of others show data or what was printed."""

Where = Literal["here", "served", "nowhere"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        page: the page's path below the root.
        line: the line of its fence.
        language: the word after the fence.
        code: what stands in it.
        mark: the HTML comment right above the fence, if there is one.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str = ""

    @property
    def where(self) -> Where:
        """Without a server, beside a running one, or not at all for the reason that is given."""
        if self.mark.startswith("not run: "):
            return "nowhere"
        return "served" if self.mark == "run: served" else "here"


def blocks_of(path: Path) -> Iterator[Block]:
    """Every fenced block of a page; text between fences that looks like code is none."""
    page, mark, lines = (
        str(path.relative_to(ROOT)),
        "",
        iter(enumerate(path.read_text().split("\n"))),
    )
    for number, line in lines:
        if found := re.fullmatch(r"```(\w*)", line):
            body = []
            for _, inner in lines:
                if inner == "```":
                    break
                body.append(inner)
            yield Block(page, number + 1, found[1], "\n".join(body) + "\n", mark)
        comment = re.fullmatch(r"<!-- (.*) -->", line)
        mark = comment[1] if comment else ""


def blocks(*, language: str, where: Where) -> dict[str, list[Block]]:
    """By page, the blocks of a language that are run there."""
    found: dict[str, list[Block]] = {}
    for block in (block for page in PAGES for block in blocks_of(page)):
        if block.language == language and block.where == where:
            found.setdefault(block.page, []).append(block)
    return found


def run_python(
    page: list[Block], monkeypatch: pytest.MonkeyPatch, folder: Path, url: str = ""
) -> None:
    """The blocks of a page one after another, in one namespace, in a folder of a reader's files."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "page"}
    for block in page:
        code = "\n" * block.line + located(block.code, url)
        exec(compile(code, ROOT / block.page, "exec"), names)  # noqa: S102 - the page's own
    for value in names.values():
        if isinstance(value, Client):  # a reader's is closed when Python ends
            value.close()


def run_bash(block: Block, folder: Path, env: Mapping[str, str], url: str = "") -> None:
    """The block in a shell that ends at the first command that fails."""
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", located(block.code, url)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{block.page}:{block.line}\n{done.stdout}\n{done.stderr}"


def located(code: str, url: str) -> str:
    """The code with the address of the server that runs in place of the default one."""
    # by itself, curl ends well when it was answered with an error
    code = re.sub(r"^curl ", "curl --silent --show-error --fail-with-body ", code, flags=re.M)
    return re.sub(r"(http://)?(localhost|127\.0\.0\.1):8000", url, code) if url else code

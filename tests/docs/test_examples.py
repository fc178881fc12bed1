"""The examples are short, say their purpose, and do what they print."""

import ast
import contextlib
import io
import json
import re
import runpy
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
ALONE = {
    "own_data": r"label='german' probability=0\.9",
    "capability": r"rent=800\.0\n",
    "features": r"pushed: 2\njoined: \[\['lamp'\], \['kite', 'lamp'\]\]\nonline: \['kite', 'lamp'\]"
    r" present\n",
}
"""What those print that need no server; tests/e2e/test_docs.py runs the others."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_short_and_its_purpose_stands_in_the_table(script: Path) -> None:
    text = script.read_text()
    assert text.count("\n") < 60
    purpose = ast.get_docstring(ast.parse(text))
    row = f"| [{script.name}]({script.name}) | {purpose} |"
    assert row in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("name", ALONE)
def test_a_script_prints_what_it_is_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert re.match(ALONE[name], capsys.readouterr().out)


def test_the_cells_of_the_notebook_print_what_is_stored_below_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(EXAMPLES)
    names: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(json.loads((EXAMPLES / "tour.ipynb").read_text())["cells"]):
        if cell["cell_type"] == "code":
            assert printed_by("".join(cell["source"]), names, number) == stored_below(cell)


def printed_by(code: str, names: dict[str, object], number: int) -> str:
    """What a cell prints; a bare last line would show its value, so cells print instead."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"cell {number}", "exec"), names)  # noqa: S102 - the notebook's own
    return printed.getvalue()


def stored_below(cell: dict[str, list[dict[str, list[str]]]]) -> str:
    """What the file says that the cell printed."""
    return "".join("".join(output["text"]) for output in cell["outputs"])

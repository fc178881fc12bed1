"""Show answers: as tables to a person, as JSON lines to a program."""

import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lepton._outputs import File
from lepton.terminal import carries_all

LIST_SHOWN = 8


def show(rows: Iterable[Mapping[str, JsonValue]], console: Console) -> None:
    """Show rows on a console.

    Args:
        rows: what to show; to a program each one goes out as soon as it is there.
        console: where to; whether it is a terminal decides on tables or JSON lines.
    """
    if not console.is_terminal:
        escaped = not carries_all(console.file)
        for row in rows:
            console.file.write(json.dumps(row, ensure_ascii=escaped) + "\n")
        console.file.flush()
        return
    shown = list(rows)
    names = list(dict.fromkeys(name for row in shown for name in row))
    if len(shown) == 1:
        table = Table(show_header=False)
        for name in names:
            table.add_row(Text(name, style="bold"), _cell(shown[0].get(name)))
    else:
        table = Table(*names)
        for row in shown:
            table.add_row(*(_cell(row.get(name)) for name in names))
    console.print(table)


def _cell(value: JsonValue) -> Text:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return Text("\n".join(_brief(one) for one in value))
    return Text(_brief(value))


def _brief(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():  # of a file what it is: nobody reads base64
            return repr(value) if isinstance(value, File) else value
        case float():
            return f"{value:.6g}"
        case list():
            shown = ", ".join(_brief(one) for one in value[:LIST_SHOWN])
            return shown if len(value) <= LIST_SHOWN else f"{shown}, ... ({len(value)} values)"
        case dict():
            return ", ".join(f"{name}: {_brief(one)}" for name, one in value.items())
        case _:
            return json.dumps(value)

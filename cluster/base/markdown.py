"""Write tables in Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of a head and rows, whatever their cells hold."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(cell, cells)) + " |\n" for cells in lines)


def cell(text: str) -> str:
    """Text that cannot end its cell or its row, whatever a label holds."""
    return " ".join(text.split()).replace("|", "\\|")

"""Show people what a check of stored rows found: sentences, and rows to look at."""

from rich.markup import escape
from rich.table import Table

from cluster.features.quality.check import Checked
from services.cli.show import print_table, say, summary

SHOWN = 10


def checked(found: Checked) -> None:
    """What a check found, the worst first."""
    sample = "all" if found.looked_at == found.rows else f"{found.looked_at:,}, drawn at random,"
    say(f"{found.view}: {found.rows:,} rows are stored; {sample} were looked at one by one.")
    summary(found.summary)
    for finding in found.findings:
        say(f"\n{finding.kind.capitalize()}: {finding.sentence}")
        if finding.rows:
            table = Table("key", "why", "text")
            for suspect in finding.rows[:SHOWN]:
                cells = (",".join(suspect.key), suspect.why, suspect.excerpt)
                table.add_row(*map(escape, cells))
            print_table(table)
            if finding.count > SHOWN:
                say(f"{finding.count - SHOWN:,} more.")
    if not found.findings:
        say("No copies, doubted labels, leaks or outliers were found.")

"""Show people what the feature layer holds, and whether what was served agrees with it."""

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from cluster.features.check import Report
from services.features import Listed
from services.show import print_table, say
from services.watch import Drifted


def views(found: Sequence[Listed]) -> None:
    """The feature layer, a view a line."""
    table = Table("view", "kind", "key", "columns", "rows", "newest", "read by", "version", "owner")
    for one in found:
        rows = "" if one.rows is None else f"{one.rows:,}"
        newest = "" if one.newest is None else f"{one.newest.astype('datetime64[s]')}Z"
        names = (one.view.key, one.view.columns, one.readers)
        key, columns, readers = (", ".join(words) for words in names)
        words = (one.view.name, one.kind, key, columns, rows, newest, readers, one.view.version)
        table.add_row(*words, " ".join([one.view.owner, *one.view.tags]).strip())
    print_table(table)


def checked(reports: Mapping[str, Report]) -> None:
    """What came of holding look-ups to the offline join, and every difference."""
    for task, report in reports.items():
        left = [f"{count:,} left out: {why}" for why, count in report.left_out.items()]
        late = [f"{report.in_flight:,} while rows came in"] * bool(report.in_flight)
        late += [f"{report.rewritten:,} of rows replaced since"] * bool(report.rewritten)
        notes = f" ({'; '.join(late + left)})" if late or left else ""
        differ = f"{len(report.differences):,} differ"
        say(f"{task}: {report.compared:,} look-ups compared, {differ}{notes}.")
        table = Table("view", "key", "moment", "column", "online", "offline")
        for one in report.differences:
            words = (one.view, one.key, one.at, one.column, one.online, one.offline)
            table.add_row(*(escape(str(word)) for word in words))
        if report.differences:
            print_table(table)


def drifted(found: Drifted) -> None:
    """How far each feature has moved, and where the picture is."""
    say(f"{found.task} version {found.version}: {found.rows:,} served rows against its training.")
    table = Table("feature", "measure", "PSI", "missing when trained", "missing now", "verdict")
    for one in found.features:
        before, now = one.missing
        numbers = (f"{one.psi:.3f}", f"{before:.1%}", f"{now:.1%}")
        table.add_row(one.feature, one.measure, *numbers, one.verdict)
    print_table(table)
    say("Below 0.1 is steady, from 0.25 on it moved much. Drawn to:")
    say(str(found.picture))

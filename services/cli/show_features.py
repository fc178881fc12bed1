"""Show people what the feature layer holds, and whether what was served agrees with it."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from cluster.features.monitoring.check import Report
from cluster.features.monitoring.drift import LITTLE, MUCH
from cluster.features.schema.column import ALWAYS
from lepton.wire import Forgotten
from services.cli.show import print_table, say
from services.local.features import Listed
from services.local.watch import Drifted

EVENT_TIME = "event_time"
"""What a difference calls the moment at which a row became true."""


def views(found: Sequence[Listed]) -> None:
    """The feature layer, a view a line."""
    heads = (
        "view",
        "kind",
        "key",
        "columns",
        "rows",
        "newest",
        "ttl",
        "online",
        "read by",
        "version",
    )
    table = Table(*heads, "owner", "tags", "description")
    for one in found:
        rows = "" if one.rows is None else f"{one.rows:,}"
        newest = _moment(one.newest)
        names = (one.view.key, one.view.columns, one.readers)
        key, columns, readers = (", ".join(words) for words in names)
        online = "" if one.behind is None else f"{one.behind:,} behind" if one.behind else "all"
        version = f"{one.version} of model {one.release}" if one.release else one.version
        ttl = "" if one.view.ttl is None else str(one.view.ttl)
        words = (one.view.name, one.kind, key, columns, rows, newest, ttl, online, readers, version)
        said = one.view.description.partition("\n")[0]
        table.add_row(*words, *map(escape, (one.view.owner, ", ".join(one.view.tags), said)))
    print_table(table)


def _moment(newest: np.datetime64 | None) -> str:
    """When the newest row became true, to the second."""
    if newest is None:
        return ""
    return "always" if newest == ALWAYS else f"{newest.astype('datetime64[s]')}Z"


def _instant(moment: int) -> str:
    """When a row became true, from microseconds since 1970, to the last of them."""
    found = np.datetime64(moment, "us")
    return "always" if found == ALWAYS else f"{found}Z"


def skew(found: Mapping[str, Report]) -> None:
    """What came of holding look-ups to the offline join: a row for every difference."""
    table = Table(*("capability", "view", "key", "as of", "column", "online", "offline"))
    for task, report in found.items():
        for one in report.differences:
            moment = np.datetime64(one.at, "us").item().isoformat(timespec="milliseconds")
            key = ",".join(f"{name}={value}" for name, value in one.key.items())
            sides = [one.online, one.offline]
            if one.column == EVENT_TIME:
                sides = [_instant(side) for side in sides]
            cells = [task, one.view, key, f"{moment}Z", one.column, *sides]
            table.add_row(*(escape(str(cell)[:80]) for cell in cells))
    if table.row_count:
        print_table(table)
    for task, report in found.items():
        set_aside = {
            "in flight as it was looked up": report.in_flight,
            "rewritten since": report.rewritten,
            **report.left_out,
        }
        rest = "".join(f"; {count:,} {reason}" for reason, count in set_aside.items() if count)
        odd = len(report.differences)
        differ = "1 value differs" if odd == 1 else f"{odd:,} values differ"
        say(f"{task}: {report.compared:,} look-ups compared, {differ}{rest}.")
        for lag in report.lags.values():
            say(f"Not brought online: {lag.told}")


def drift(found: Drifted) -> None:
    """How far each feature has moved, and what the figures mean."""
    table = Table("feature", "measured", "rows", "PSI", "missing", "so it is")
    for one in found.features:
        missing = f"{one.missing[0]:.1%} -> {one.missing[1]:.1%}"
        row = (one.feature, one.measure, f"{one.served:,}", f"{one.psi:.3f}", missing, one.verdict)
        table.add_row(*map(escape, row))
    print_table(table)
    say(
        f"Version {found.version} of {found.task}, {found.rows:,} served rows against training. A "
        f"population stability index under {LITTLE} is steady, over {MUCH} has moved much."
    )
    say(f"Drawn to {found.picture}.")


def forgotten(done: Forgotten) -> None:
    """What was erased, and which models had learnt from it."""
    key = ", ".join(f"{name}={value}" for name, value in done.key.items())
    stored = ", ".join(f"{rows:,} of {view}" for view, rows in done.rows.items())
    say(
        f"{key} is forgotten: stored rows {stored}; {done.online:,} keys online; {done.logged:,} "
        "lines of request logs."
    )
    for one in done.versions:
        named = f" ({', '.join(one.aliases)})" if one.aliases else ""
        say(
            f"{one.task} version {one.version}{named} may have learnt from them: "
            f"python -m services train {one.task}"
        )

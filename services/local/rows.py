"""Do what the command line asks for with rows of views: take in, bring online, look up."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, LeptonError
from cluster.base.settings import settings
from cluster.contract.task import AnyTask
from cluster.features.derived.modelview import ModelView
from cluster.features.intake.ingest import Ingested
from cluster.features.intake.ingest import ingest as ingest_files
from cluster.features.joins.held import leaves
from cluster.features.layer import Layer
from cluster.features.offline.compact import Compacted
from cluster.features.offline.store import Store
from cluster.features.quality.check import Checked
from cluster.features.quality.check import check as check_rows
from cluster.features.schema.column import Key
from cluster.features.schema.raw import typed_key
from cluster.features.schema.view import View
from cluster.registry.versions import Registry
from lepton.wire import Forgotten
from services.local import catalog
from services.local.forgetting import forget as forget_key
from services.local.given import key_texts
from services.local.layer import LocalLayer

_PAIR = re.compile(
    r'(?P<name>[^=,"]+)=(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^,"][^,]*)?)(?:,|$)'
)
_QUOTED = """'text="Review, full",label=Stars'"""


def ingest(view: str, paths: Sequence[str | Path], columns: str, max_rejects: float) -> Ingested:
    """Bring raw files into the view's rows.

    Args:
        view: its name.
        paths: files, folders or archives.
        columns: which source column is which of ours: `user_id=userId,item_id=movieId`; a name
            with a comma stands in quotes: `text="Review, full"`.
        max_rejects: the share of bad rows above which nothing is taken in.

    Raises:
        InvalidInput: a path is empty, columns are not mapped, or the share is none.
    """
    if not 0 <= max_rejects <= 1:
        raise InvalidInput(
            f"{max_rejects:g} is no share of bad rows.", hint="It is from 0 to 1; 0.05 is 5%."
        )
    return ingest_files(
        catalog.find_view(view),
        paths,
        Store(settings().home / "features"),
        columns=_mapping(columns),
        max_reject_share=max_rejects,
    )


def materialize(names: Sequence[str]) -> dict[str, int]:
    """Bring stored rows to where they are looked up by key; those of model views are made first.

    Args:
        names: of views; none stands for all that have rows.

    Returns:
        How many rows of each view were read, as `Online.materialize` counts them.

    Raises:
        NotFound: there is no such view.
    """
    return catalog.layer(settings()).materialize(names)


def not_online(name: str) -> list[str]:
    """What look-ups do not see of a source view's rows, and the command that brings it.

    Args:
        name: the view.

    Returns:
        Sentences; none where all is online, or nobody looks the view up.
    """
    layer = catalog.layer(settings())
    view = layer.graph[name]
    readers = layer.graph.readers(view)
    made = [r for r in readers if isinstance(r, ModelView) and layer.models.trained(r)]
    command = " ".join(["python -m services materialize", name, *(one.name for one in made)])
    try:
        lag = layer.lag(view)
    except LeptonError as error:  # the rows are taken in, whatever is wrong over there
        return [f"Whether these rows are online is not known. {error}"]
    if lag is None:
        aliases = Registry(settings().home).aliases
        found = [
            task for task in catalog.names() if aliases(task).keys() & {"production", "serving"}
        ]
        tasks = ", ".join(task for task in found if _looks_up(catalog.find(task), view))
        return [f"{name} is not online, where {tasks} looks it up: {command}"] if tasks else []
    if not lag.files:
        return []
    blind = ", ".join([name, *(one.name for one in readers)])
    sentence = f"{lag.rows:,} rows are not online, so look-ups of {blind} do not see them yet."
    return [f"{sentence} Bring them: {command}"]


def unseen_by(task: str) -> list[str]:
    """What look-ups of a capability that answers do not see, and the commands that bring it.

    Args:
        task: the capability; what it was given by key alone is not looked at.
    """
    layer, capability = catalog.layer(settings()), catalog.find(task)
    sources = [view for view in layer.graph.order if view.stored and not view.needs]
    stored = [view for view in sources if layer.store.head(view).files]
    return [
        said for view in stored if _looks_up(capability, view) for said in not_online(view.name)
    ]


def behind(name: str) -> list[str]:
    """What a look-up of a view does not see, to be asked before it."""
    found = catalog.layer(settings()).behind([name])
    return [lag.told for lag in found.values()]


def check(name: str) -> Checked:
    """What is wrong with a view's stored rows.

    Raises:
        NotFound: there is no such view, or nothing of it is stored.
        InvalidInput: nothing of it is ever stored.
    """
    layer = catalog.layer(settings())
    view = layer.graph.stored(layer.resolved(layer.view(name)))
    learns = [task for task in catalog.capabilities().values() if task.examples.name == name]
    split = learns[0].split if learns else None
    return check_rows(view, layer.store.snapshot(view), split=split)


def compact(name: str) -> Compacted:
    """Merge the small files of a view's stored rows and drop rows that others replaced.

    Raises:
        NotFound: there is no such view, or nothing of it is stored.
        InvalidInput: nothing of it is ever stored.
    """
    return LocalLayer(catalog.layer(settings())).compact(name)


def made_ready(task: str, version: int) -> list[str]:
    """Make and bring online what a version says of views that name production, where they are.

    Done before the version is in production, nobody who looks those views up finds them empty; done
    again after it, what was pushed meanwhile is there, too.

    Args:
        task: the capability that is asked.
        version: of its model.

    Returns:
        A sentence for each view: what was brought, or what would bring it.

    Raises:
        LeptonError: the version cannot be asked, or one side cannot be written to.
    """
    layer = catalog.layer(settings())
    views = [
        view
        for view in layer.graph.order
        if isinstance(view, ModelView) and (view.task, view.reference) == (task, "production")
    ]
    names = [v.name for v in views if layer.models.trained(v) and _is_online(layer, v)]
    pinned = replace(layer, pins=dict.fromkeys(names, version))
    counts = pinned.materialize(names) if names else {}
    said = [
        f"{name}: {count:,} row{'s' * (count != 1)} of version {version} brought online."
        for name, count in counts.items()
        if count
    ]
    return said + [
        f"{view.name} is not online; to bring it: python -m services materialize {view.name}"
        for view in views
        if view.name not in names and layer.store.head(view.over).files
    ]


def _is_online(layer: Layer, view: View) -> bool:
    return layer.lag(layer.graph.stored(layer.resolved(view))) is not None


def lookup(name: str, keys: Sequence[str]) -> Batch:
    """The newest values of a view by key.

    Args:
        name: the view.
        keys: as they are, but a whole number less its `.0`; `user_id=1,item_id=2` where several
            columns make one, and a value with a comma in quotes: `user_id="a,b",item_id=2`.

    Raises:
        InvalidInput: a key lacks a column, or is a number too large to hold every digit.
    """
    layer = catalog.layer(settings())
    view = layer.view(name)
    rows = [_key(view, key) for key in keys]
    columns = {column: objects(typed_key(row[column]) for row in rows) for column in view.key}
    return layer.lookup([view], key_texts(view.key, columns, gaps=False))


def push(name: str, values: Sequence[str]) -> bool:
    """Write one event to a view, offline and online.

    Args:
        name: a source view.
        values: its key, its columns and perhaps its event time: `user_id=u1`, `value=2`.

    Returns:
        Whether it is online, too; where not, the store there does not answer.

    Raises:
        InvalidInput: a value is bad, or a column is missing, unknown or given twice.
    """
    row, layer = _row(values), catalog.layer(settings())
    schema = layer.graph[name].schema
    keys = {column for column, kind in schema.items() if isinstance(kind, Key)}
    layer.push(name, {c: objects([typed_key(v) if c in keys else v]) for c, v in row.items()})
    return not layer.missed(name)


def forget(name: str, values: Sequence[str]) -> Forgotten:
    """Erase the rows of a key wherever they are kept.

    Args:
        name: a source view.
        values: all columns of its key, or some: `user_id=u1`.

    Raises:
        InvalidInput: one is no part of the key, or given twice.
    """
    here, key = settings(), _row(values)
    layer = catalog.layer(here)
    return forget_key(layer, here.home, name, {c: typed_key(v) for c, v in key.items()})


def _row(values: Sequence[str]) -> dict[str, str]:
    """Columns and values as they are typed: `user_id=u1`."""
    pairs = [value.partition("=") for value in values]
    for value, (column, equals, _) in zip(values, pairs, strict=True):
        if not (column and equals):
            raise InvalidInput(f"{value!r} is no value of a column.", hint="Write column=value.")
    given = [column for column, _, _ in pairs]
    for column in given:
        if given.count(column) > 1:
            values_of = " and ".join(repr(v) for c, _, v in pairs if c == column)
            raise InvalidInput(
                f"{column!r} is given {given.count(column)} times: {values_of}.",
                hint="Give each column once.",
            )
    return {column: value for column, _, value in pairs}


def _looks_up(task: type[AnyTask], view: View) -> bool:
    """Whether a capability looks up, when it answers, what comes from a source view."""
    asked = leaves([*task.features, *task.live], catalog.graph().inputs)
    return any(view.name in (leaf.name, *leaf.needs) for leaf in asked)


def _key(view: View, given: str) -> dict[str, str]:
    if len(view.key) == 1:
        return {view.key[0]: given}
    wanted = ",".join(f"{column}=..." for column in view.key)
    row = _pairs(given, f"{given!r} is no key of {view.name}.", f"Write {wanted}")
    if row.keys() != set(view.key):
        raise InvalidInput(f"{given!r} is no key of {view.name}.", hint=f"Write {wanted}")
    return row


def _mapping(columns: str) -> dict[str, str]:
    trouble = f"{columns!r} does not map columns."
    pairs = _pairs(columns, trouble, "Write --map user_id=userId,...")
    if not all(pairs.values()):
        raise InvalidInput(trouble, hint="Write --map user_id=userId,...")
    return pairs


def _pairs(given: str, trouble: str, hint: str) -> dict[str, str]:
    """Reads `a=1,b="x, y"`: a value that holds a comma stands in quotes, a quote in them twice.

    Raises:
        InvalidInput: a piece is no such pair, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    at = 0
    while at < len(given):
        found = _PAIR.match(given, at)
        if found is None or found["name"].strip() in pairs:
            if not at:
                raise InvalidInput(trouble, hint=hint)
            rest = given[at:]
            why = "is given again" if found else "is no name=value"
            raise InvalidInput(
                f"{trouble} {rest!r} {why}.",
                hint=f"{hint} A value with a comma stands in quotes: {_QUOTED}",
            )
        value = found["plain"] or ""
        if found["quoted"] is not None:
            value = found["quoted"].replace('""', '"')
        pairs[found["name"].strip()] = value
        at = found.end()
    return pairs

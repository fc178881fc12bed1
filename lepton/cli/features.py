"""The feature layer from a shell: ``lepton features lookup items --key item_id=42``."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import JsonValue

from lepton._inputs import Row
from lepton.cli.shell import File, Json, Shell, Url, from_file, from_json
from lepton.cli.show import show
from lepton.wire import Looked, ViewInfo

Key = Annotated[list[str] | None, typer.Option("--key", help="A column of the key, as item_id=42.")]
View = Annotated[str, typer.Argument(help="The name of a view.")]

features = typer.Typer(
    name="features", help="Ask the feature layer, and push to it.", no_args_is_help=True
)


@features.command("list")
def list_views(ctx: typer.Context, url: Url = None) -> None:
    """List the views: what they hold, how many rows, how fresh they are."""
    shell: Shell = ctx.obj
    with shell.connect(url) as client:
        found = client.features.list()
    brief = shell.console.is_terminal
    show([_brief(one) if brief else one.model_dump(mode="json") for one in found], shell.console)


@features.command()
def lookup(
    ctx: typer.Context,
    views: Annotated[list[str], typer.Argument(help="Names of views.")],
    *,
    key: Key = None,
    file: File = None,
    url: Url = None,
) -> None:
    """Show what views hold of a key, or of every key in a file."""
    if bool(key) == bool(file):
        raise typer.BadParameter("Give --key or --file.")
    shell: Shell = ctx.obj
    keys = list(from_file(file)) if file else [_key(key or [])]
    with shell.connect(url) as client:
        found = client.features.lookup(views, keys)
    rows = zip(keys, found, strict=True)
    show(
        [_line(one, name, held) for one, result in rows for name, held in result.items()],
        shell.console,
    )


@features.command()
def push(
    ctx: typer.Context,
    view: View,
    *,
    json_text: Json = None,
    file: File = None,
    url: Url = None,
) -> None:
    """Write rows of a view: all of them, or none where one is bad."""
    if bool(json_text) == bool(file):
        raise typer.BadParameter("Give --json or --file.")
    shell: Shell = ctx.obj
    rows = list(from_file(file)) if file else from_json(json_text or "")
    with shell.connect(url) as client:
        show([{"view": view, "rows": client.features.push(view, rows)}], shell.console)


@features.command()
def nearest(
    ctx: typer.Context,
    view: View,
    *,
    key: Key = None,
    vector: Annotated[str | None, typer.Option(help="A vector as a JSON array.")] = None,
    k: Annotated[int, typer.Option("--k", help="How many.")] = 10,
    url: Url = None,
) -> None:
    """Show the keys whose vectors are nearest to a key's own, or to one that is given."""
    if bool(key) == bool(vector):
        raise typer.BadParameter("Give --key or --vector.")
    shell: Shell = ctx.obj
    with shell.connect(url) as client:
        if vector:
            found = client.features.nearest(view, _vector(vector), k=k)
        else:
            found = client.features.nearest(view, key=_key(key or []), k=k)
    show([{**one.key, "score": one.score} for one in found], shell.console)


@features.command()
def forget(ctx: typer.Context, view: View, *, key: Key = None, url: Url = None) -> None:
    """Erase the rows of a key, or of a part of one; say which models had learnt from them."""
    shell: Shell = ctx.obj
    if not key:
        raise typer.BadParameter("Say which rows.", param_hint="--key")
    with shell.connect(url) as client:
        done = client.features.forget(view, _key(key))
    show([done.model_dump(mode="json", exclude={"request_id"})], shell.console)


def _key(words: list[str]) -> Row:
    parts = [word.partition("=") for word in words]
    if any(not name or not equals for name, equals, _ in parts):
        raise typer.BadParameter("Write it as column=value.", param_hint="--key")
    return {name: value for name, _, value in parts}


def _vector(text: str) -> list[float]:
    try:
        numbers = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"It is not JSON: {error}.", param_hint="--vector") from None
    if not isinstance(numbers, list):
        raise typer.BadParameter("Write it as [0.1, 0.2].", param_hint="--vector")
    return numbers


def _line(key: Row, name: str, held: Looked) -> Mapping[str, JsonValue]:
    return {
        "view": name,
        "key": {part: str(value) for part, value in key.items()},
        **held.model_dump(mode="json"),
    }


def _brief(view: ViewInfo) -> Mapping[str, JsonValue]:
    return {
        "view": view.name,
        "kind": view.kind,
        "key": ", ".join(view.key),
        "columns": ", ".join(view.columns),
        "rows": view.rows,
        "newest": str(view.newest or ""),
        "online": view.online,
        "description": view.description,
    }

"""Show all of it: data in, three models trained and served, until Ctrl-C."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base import signals
from cluster.base.errors import Conflict, NotFound
from cluster.base.settings import Settings, export, settings
from cluster.engine import engine
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.media.pixels import encode
from cluster.registry.versions import Manifest
from services.cli import demo_features, operate, show, verbs
from services.http.schemas import path_of
from services.local import catalog, rows

TASKS = ("vision.classify", "nlp.classify", "recsys.recommend")
VECTORS = "vision.embed"  # what the recommender knows of pictures
KNOBS = {"vision.classify": ["epochs=20"], VECTORS: ["epochs=12", "batch_size=64"]}
"""The pictures of the shop are simple: fewer steps than the defaults make teach them."""
ROWS = {"images": 3_000, "texts": 4_000, "items": 330, "item_images": 330, "interactions": 25_000}
"""How many rows of the made-up shop each view gets: of items more than anybody has bought."""
REAL = {
    "images": "fashion-mnist",
    "texts": "rt-polarity",
    "items": "movielens-latest-small",
    "interactions": "movielens-latest-small",
}
"""Which folder of real data each view is read from."""


@dataclass(frozen=True)
class Served:
    """One capability at the end of the demo."""

    manifest: Manifest
    url: str


def run(data: Path | None) -> None:
    """Ingest, train, promote, deploy, print how to ask, serve until Ctrl-C, take it all down.

    What it keeps is under home in a folder of its own, apart from the user's data and versions.

    Args:
        data: a folder with real data sets; without one the made-up shop is drawn.

    Raises:
        NotFound: the folder lacks a data set.
        Conflict: another demo runs, or a port is taken.
        KeyboardInterrupt: it was stopped before it served.
    """
    if data is not None:
        _check(data)
    here = _apart("demo" if data is None else "demo-data")
    running = engine.status(here).engine
    if running and running.dashboard.drivers():  # else it was killed, and its Ray serves once more
        raise Conflict(
            f"Another demo runs at {running.url}.",
            hint=f"End it: LEPTON_HOME={here.home} python -m services down",
        )
    with signals.heard_once():
        try:
            _show(data, here)
            with suppress(KeyboardInterrupt):
                show.say("Serving. Ctrl-C takes everything down.")
                while True:
                    time.sleep(1)
        finally:
            signals.ignore()  # nothing may stop it half way
            engine.down(here, say=_say_if_heard)


def _apart(folder: str) -> Settings:
    """Settings with a home of the demo's own, also for what reads the environment."""
    here = settings()
    here = here.model_copy(update={"home": here.home / folder, "tracking_uri": None})
    export(LEPTON_HOME=str(here.home), LEPTON_TRACKING_URI=here.tracking)
    return here


def _show(data: Path | None, here: Settings) -> None:
    began = time.monotonic()
    operate.up(show.say)
    for view in ROWS if data is None else REAL:
        _ingest(view, data, here)
    knobs = KNOBS if data is None else {}
    if data is None:
        _train(VECTORS, knobs[VECTORS])
    for view, count in rows.materialize([]).items():
        show.say(f"{view}: {count:,} stored rows read; all are online.")
    served = [_serve(task, here, knobs.get(task, [])) for task in TASKS]
    show.served([(s.manifest, s.url) for s in served])
    for line in demo_features.lines(here):
        show.say(line)
    show.say(f"All of it took {time.monotonic() - began:.0f} s. Ask it:")
    for line in _ways_to_ask(here):
        show.say(f"  {line}")


def _say_if_heard(sentence: str) -> None:
    with suppress(OSError, SystemExit):  # the terminal or the pipe may be closed by now
        show.say(sentence)


def _check(data: Path) -> None:
    for folder in sorted(set(REAL.values())):
        if not (data / folder).is_dir():
            raise NotFound(
                f"{data} has no folder {folder}.",
                hint=f"It needs {', '.join(sorted(set(REAL.values())))}.",
            )


def _ingest(name: str, data: Path | None, here: Settings) -> None:
    view, store = catalog.find_view(name), Store(here.home / "features")
    if data is not None:
        show.ingested(rows.ingest(name, [data / REAL[name]], "", max_rejects=0.01))
    else:
        drawn = view.sample(ROWS[name], np.random.default_rng(0))
        show.ingested(ingest_rows(view, drawn, store))


def _train(task: str, knobs: Sequence[str]) -> Manifest:
    with show.training(task) as progress:
        manifest = verbs.train(verbs.Training(task, knobs), progress)
    show.manifest(manifest)
    verbs.promote(task, str(manifest.version), force=True)
    return manifest


def _serve(task: str, here: Settings, knobs: Sequence[str]) -> Served:
    manifest = _train(task, knobs)
    show.say(operate.deploy(task, "production"))
    return Served(manifest, here.url + path_of(task))


def _ways_to_ask(here: Settings) -> Iterator[str]:
    """One `curl`, one Python and one `lepton` line for each capability, on rows that are there."""
    store, url = Store(here.home / "features"), here.url
    picture = here.home / "example.png"
    picture.write_bytes(encode(_first(store, "images", "image")))
    review = next(t for t in _column(store, "texts", "text") if "'" not in t and '"' not in t)
    user, lepton = _first(store, "interactions", "user_id"), Path(sys.executable).parent / "lepton"
    at = "" if here.port == Settings().port else f"url={url!r}"
    yield from (
        f"curl -H 'Content-Type: image/png' --data-binary @{picture} {url}/v1/vision/classify",
        f"curl -H 'Content-Type: text/plain' -d '{review}' {url}/v1/nlp/classify",
        f'curl -d \'{{"inputs": [{{"user_id": "{user}"}}]}}\' {url}/v1/recsys/recommend',
        "",
        f"from lepton import Client; client = Client({at})",
        f'print(client.vision.classify(image="{picture}"))',
        f'print(client.nlp.classify(text="{review}"))',
        f'print(client.recsys.recommend(user_id="{user}", k=5))',
        "",
        f"{lepton} predict vision.classify {picture}",
        f"{lepton} predict nlp.classify '{review}'",
        f"{lepton} predict recsys.recommend --user-id {user} --k 5",
    )


def _column(store: Store, view: str, column: str) -> NDArray[Any]:
    return store.snapshot(view).read(catalog.find_view(view), [column])[column]


def _first(store: Store, view: str, column: str) -> Any:
    return _column(store, view, column)[0]

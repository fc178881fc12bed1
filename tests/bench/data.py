"""Find the real data sets and bring them into a temporary feature layer."""

from pathlib import Path

from cluster.base.settings import environment
from cluster.contract.task import AnyTask
from cluster.features.intake.ingest import ingest
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.training.data import Plan, plan
from tests.bench.report import say

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


class Absent(Exception):
    """A data set that a row needs is not on this machine."""


def folder(name: str) -> Path:
    """Where a data set lies.

    Raises:
        Absent: it is not there.
    """
    found = Path(environment().get("LEPTON_TEST_DATA", BESIDE)) / name
    if not found.is_dir():
        raise Absent(f"There is no {found}; LEPTON_TEST_DATA names another folder of data sets.")
    return found


def stored(task: type[AnyTask], source: str, home: Path) -> Plan:
    """A data set as the rows of a capability, ingested unless it was before.

    Args:
        task: whose examples and features are read.
        source: the data set.
        home: where the feature layer is.

    Raises:
        Absent: the data set is not there.
    """
    raw, store = folder(source), Store(home / "features")
    have = {snapshot.view for snapshot in store.views()}
    for view in (task.examples, *task.features, *task.tables):
        if view.read is not None and view.name not in have:
            _take_in(view, raw, store)
    # views that models make are left out: their models are not trained here
    return plan(task, store, memory_share=0.5, resolve=lambda view: view if view.read else None)


def _take_in(view: View, raw: Path, store: Store) -> None:
    done = ingest(view, [raw], store)
    say(f"{raw.name}: {done.rows:,} {view.name} ingested, {done.rejects:,} rejected.")

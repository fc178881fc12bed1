"""A newcomer is recommended other things right after the first pushed event, without training."""

from pathlib import Path

import numpy as np

from cluster.base.batch import objects
from cluster.base.settings import settings
from cluster.features.monitoring.requests import RequestLog
from cluster.registry.model import Model
from cluster.serving.answering import Answered, Answering, answered
from services.local import catalog
from tests.support import manifest, plan_in, stored, trained


def test_a_pushed_event_changes_what_a_newcomer_is_recommended(tmp_path: Path) -> None:
    kind = catalog.find("recsys.recommend")
    made = plan_in(kind, stored(kind, tmp_path / "features", rows=600), rows=50)
    layer = catalog.layer(settings({"LEPTON_HOME": str(tmp_path)}))
    told = manifest("recsys.recommend", views=made.views)
    model = Model(trained(kind, made, tmp_path / "version"), told)
    requests = RequestLog(tmp_path / "requests", share=0, limit_bytes=2**26)
    answering = Answering(model, lambda: layer, requests)

    def push(user: str, item: str) -> None:
        row = {"user_id": user, "item_id": item, "value": 1.0}
        layer.push("interactions", {name: objects([value]) for name, value in row.items()})

    def ask() -> Answered:
        return answered(1, answering([kind.Input.model_validate({"user_id": "newcomer"})]))

    items = made.rows("train").whole()["item_id"]
    push("somebody else", str(items[0]))
    before = ask()
    assert before.features == [{"user_history": "missing"}]
    for item in np.unique(items.astype(str))[-3:].tolist():
        push("newcomer", item)
    after = ask()
    assert after.features == [{"user_history": "present"}]
    assert not after.degraded
    assert before.outputs != after.outputs
    assert (before.outputs[0].basis, after.outputs[0].basis) == ("popular", "recent")  # type: ignore[attr-defined]

"""Show what the feature layer adds: items that nobody took, and an event that changes an answer."""

from collections.abc import Iterator, Sequence
from secrets import token_hex

from cluster.base.batch import Batch
from cluster.base.settings import Settings
from cluster.features.offline.store import Store
from lepton import Client
from services.local import catalog

SHOWN = 3
MOST = 1_000  # items that one answer holds


def lines(here: Settings) -> Iterator[str]:
    """What the recommender says of new items and of a newcomer, before and after an event."""
    store = Store(here.home / "features")
    items, events = (
        _rows(store, view, names)
        for view, names in (
            ("items", ["item_id", "title"]),
            ("interactions", ["item_id", "user_id"]),
        )
    )
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    client, user = Client(here.url), str(events["user_id"][0])
    untouched = titles.keys() - set(events["item_id"])
    best = client.recsys.recommend(user_id=user, k=min(MOST, len(titles))).items
    yield (
        f"{len(untouched)} items were taken by nobody yet. Those that {user} would like best, by "
        "what is known of their looks and words:"
    )
    yield f"  {_named([item for item in best if item in untouched], titles)}"
    newcomer, taken = f"newcomer-{token_hex(3)}", str(events["item_id"][0])
    before = client.recsys.recommend(user_id=newcomer, k=SHOWN)
    yield f"{newcomer} is shown what is {before.basis}:"
    yield f"  {_named(before.items, titles)}"
    event = {"user_id": newcomer, "item_id": taken, "value": 1.0}
    client.features.push("interactions", event)
    after = client.recsys.recommend(user_id=newcomer, k=SHOWN, exclude_seen=True)
    yield f"{newcomer} takes {titles.get(taken, taken)}; at once, without a training, it is:"
    yield f"  {_named(after.items, titles)}"
    yield ""
    yield f'client.features.push("interactions", {event})'
    yield f'print(client.features.lookup(["user_history"], {{"user_id": "{newcomer}"}}))'


def _rows(store: Store, view: str, names: Sequence[str]) -> Batch:
    return store.snapshot(view).read(catalog.find_view(view), names)


def _named(items: Sequence[str], titles: dict[str, str]) -> str:
    return ", ".join(titles.get(item, item) for item in items[:SHOWN])

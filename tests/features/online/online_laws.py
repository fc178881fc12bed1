"""What holds online whatever keeps the rows: inherited by the tests of each keeper."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.base.batch import Batch, objects
from cluster.base.errors import Conflict, InvalidInput, NotFound, TooLarge
from cluster.features.derived.aggregates import Count, Distinct, Last, Mean, Since, Sum
from cluster.features.derived.computed import computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import KNOWN, NEWEST, Windows, aggregate, group_of, windows
from cluster.features.offline.store import Store
from cluster.features.online.lookup import MOST_KEYS, Online
from cluster.features.schema.column import ALWAYS, Number, Text, Whole, times
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import View
from cluster.features.views.images import labelled_images
from cluster.features.views.interactions import interactions, items
from tests.features.offline.shelf import Rows, batch, shelf

DAY = 86_400_000_000
LATE = np.datetime64(1000 * DAY, "us")

# each keeper's tests run the same laws
quick = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
writes = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["x", "y", "ü"]), st.floats(-9, 9)),
        min_size=1,
    ),
    min_size=1,
    max_size=4,
)
visit = View(
    "visit", ("who", "where"), {"spent": Number(), "mood": Text(blank=True), "steps": Whole()},
    lambda n, rng: {}, ttl=timedelta(days=3),
)  # fmt: skip
habits = windows(
    "habits",
    over=visit,
    key=("who",),
    columns={
        "visits": Count(within=timedelta(days=2)),
        "spent": Sum("spent", within=timedelta(days=5)),
        "usual": Mean("spent", within=timedelta(days=2)),
        "places": Distinct("where", within=timedelta(days=5)),
        "moods": Last("mood", n=3),
        "idle_s": Since(),
    },
)
always = windows("always", over=visit, key=("where",), columns={"steps": Sum("steps")})
events = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 12),
        st.floats(-9, 9), st.sampled_from(["", "ü", "low"]), st.integers(-3, 3),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda event: event[:3],
)  # fmt: skip


@computed(key=("id",), columns={"length": Whole()}, defaults={"length": -1})
def counted(shelf: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """How long the word is, and something of another view."""
    size = pl.col("word").str.len_chars().fill_null(0) + other["size"].fill_null(100)
    return shelf.select(length=size.cast(pl.Int64))


def sizes(n: int, rng: np.random.Generator) -> Batch:
    return {**shelf.sample(n, rng), "size": rng.random(n)}


other = replace(
    shelf, name="other", columns={"size": Number()}, ttl=timedelta(days=2), sample=sizes
)
graph = Graph([visit, habits, always, shelf, other, counted])


def visits(of: list[Any]) -> Batch:
    who, where, days, spent, mood, steps = zip(*of, strict=True)
    return {
        "who": objects(who), "where": objects(where), "spent": np.array(spent),
        "mood": objects(mood), "steps": np.array(steps),
        "event_time": times([day * DAY for day in days]),
    }  # fmt: skip


def offline(view: Windows, rows: Batch, asked: list[str], at: np.datetime64) -> Batch:
    """What the kernel says of all rows that are stored."""
    known, group = group_of(rows, view.key)
    number = {key: place for place, key in enumerate(known[view.key[0]])}
    moments = np.full(len(asked), at.astype(np.int64))
    of = np.array([number.get(key, -1) for key in asked])
    return aggregate(view.aggregates, rows, group, of, moments)


class Laws:
    """The tests; who inherits them says what keeps the rows."""

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Online]:
        """An empty online side."""
        raise NotImplementedError

    @pytest.fixture
    def found(self, tmp_path: Path) -> Iterator[Online]:
        with self.opened(tmp_path) as found:
            yield found

    @settings(quick, max_examples=15)
    @given(writes, st.data())
    @pytest.mark.slow
    def test_the_newest_row_of_each_key_is_found_whatever_was_written_when(
        self, rows: list[Rows], data: st.DataObject
    ) -> None:
        newest: dict[str, tuple[int, tuple[str, float]]] = {}
        with TemporaryDirectory() as folder, self.opened(Path(folder)) as found:
            store = Store(Path(folder) / "store")
            found.materialize(shelf, store.head(shelf))
            for written in rows:
                created = store.append(shelf, batch(written)).created
                match data.draw(st.sampled_from(["materialize", "write", "nothing"])):
                    case "materialize":
                        found.materialize(shelf, store.head(shelf))
                    case "write":
                        found.write(shelf, {**batch(written), "created": created})
                for (key, day), values in written.items():
                    if key not in newest or newest[key][0] <= day:
                        newest[key] = day, values
            found.materialize(shelf, store.head(shelf))
            asked = data.draw(st.lists(st.sampled_from("abcd"), max_size=6))
            got = found.lookup([shelf], {"id": objects(asked)})
        unknown = (0, ("", 0.0))
        assert got["shelf_status"].tolist() == [
            "present" if key in newest else "missing" for key in asked
        ]
        assert got["shelf_missing"].tolist() == [key not in newest for key in asked]
        assert got["word"].tolist() == [newest.get(key, unknown)[1][0] for key in asked]
        assert got["number"].tolist() == [newest.get(key, unknown)[1][1] for key in asked]
        days = got["shelf_time"].astype(np.int64) // DAY
        assert days.tolist() == [newest.get(key, unknown)[0] for key in asked]

    @pytest.mark.slow
    @settings(quick, max_examples=25)
    @given(st.lists(events, min_size=1, max_size=4), st.data())
    def test_windows_agree_with_the_offline_rows_to_the_last_bit(
        self, pushes: list[list[Any]], data: st.DataObject
    ) -> None:
        asked = objects(["a", "b", "c"])
        places = objects(["x", "y", "w"])
        with TemporaryDirectory() as folder, self.opened(Path(folder)) as found:
            store = Store(Path(folder) / "store")
            found.materialize(visit, store.head(visit), graph)
            for push in pushes:
                rows = visits(push)
                created = store.append(visit, rows).created
                match data.draw(st.sampled_from(["materialize", "write", "twice", "nothing"])):
                    case "materialize":
                        found.materialize(visit, store.head(visit), graph)
                    case "write":
                        found.write(visit, {**rows, "created": created}, graph)
                    case "twice":
                        found.write(visit, {**rows, "created": created}, graph)
                        found.write(visit, {**rows, "created": created}, graph)
            found.materialize(visit, store.head(visit), graph)
            stored = store.head(visit).read(visit, ["who", "where", *visit.columns, "event_time"])
            at = max(event[2] for push in pushes for event in push) + data.draw(st.integers(0, 7))
            moment = np.datetime64(at * DAY, "us")
            got = found.lookup([habits, always], {"who": asked, "where": places}, at=moment)
        for view, keys in ((habits, asked), (always, places)):
            expected = offline(view, stored, keys.tolist(), moment)
            for name in view.columns:
                assert got[name].tolist() == expected[name].tolist(), name
            assert (~got[f"{view.name}_missing"]).tolist() == expected[KNOWN].tolist()
            assert got[f"{view.name}_time"].tolist() == expected[NEWEST].tolist()

    def test_an_event_of_tomorrow_drops_none_that_counts_today(self, found: Online) -> None:
        today = int(datetime.now(UTC).timestamp() // 86_400)
        found.materialize(visit, Store(Path("nowhere")).head(visit), graph)
        for day in (today - 1, today + 99):
            found.write(visit, visits([("a", "x", day, 2.0, "", 1)]), graph)
        got = found.lookup([habits], {"who": objects(["a"])})
        assert got["visits"].tolist() == [1]

    def test_windows_that_look_further_back_are_brought_anew(
        self, found: Online, tmp_path: Path
    ) -> None:
        store = Store(tmp_path / "store")
        days = [(0, 1.0), (8, 2.0), (9, 4.0)]
        store.write(visit, visits([("a", "x", day, spent, "", 1) for day, spent in days]))
        found.materialize(visit, store.head(visit), Graph([visit, habits]))
        far = replace(habits, aggregates={**habits.aggregates, "spent": Sum("spent")})
        asked = {"who": objects(["a"])}
        with pytest.raises(
            Conflict, match=r"'habits' needs more events of 'visit' than are online"
        ):
            found.lookup([far], asked)
        found.materialize(visit, store.head(visit), Graph([visit, far]))
        assert found.lookup([far], asked)["spent"].tolist() == [7.0]
        assert found.lookup([habits], asked, at=np.datetime64(9 * DAY, "us"))["spent"] == [6.0]

    def test_what_is_older_than_the_time_to_live_is_stale_and_holds_the_default(
        self, found: Online, tmp_path: Path
    ) -> None:
        view = replace(shelf, ttl=timedelta(days=2), defaults={"word": "none", "number": 7.0})
        store = Store(tmp_path / "store")
        store.write(view, batch({("a", 1): ("x", 1.0), ("b", 3): ("y", 2.0), ("e", 0): ("z", 3.0)}))
        found.materialize(view, store.head(view))
        asked = {"id": objects(["a", "b", "c", "e"])}
        got = found.lookup([view], asked, at=datetime(1970, 1, 4, 0, 0, 0, 1, tzinfo=UTC))
        assert got["shelf_status"].tolist() == ["stale", "present", "missing", "present"]
        assert got["shelf_missing"].tolist() == [True, False, True, False]
        assert got["word"].tolist() == ["none", "y", "none", "z"]
        assert got["number"].tolist() == [7.0, 2.0, 7.0, 3.0]
        assert got["shelf_time"].tolist()[:2] == times([DAY, 3 * DAY]).tolist()
        exactly = found.lookup([view], asked, at=np.datetime64(3 * DAY, "us"))
        assert exactly["shelf_status"].tolist()[0] == "present"
        assert got["shelf_time"][3] == ALWAYS  # and so it never gets too old

    def test_a_computed_view_is_made_from_what_holds(self, found: Online, tmp_path: Path) -> None:
        store = Store(tmp_path / "store")
        store.write(shelf, batch({("a", 1): ("xyz", 1.0), ("b", 5): ("x", 1.0)}))
        rows = {"id": objects(["b", "c"]), "size": np.array([10.0, 20.0])}
        store.write(other, {**rows, "event_time": times([4 * DAY, 1 * DAY])})
        for view in (shelf, other):
            found.materialize(view, store.head(view), graph)
        asked = {"id": objects(["a", "b", "c", "d"])}
        at = np.datetime64(6 * DAY, "us")
        got = found.lookup([counted, shelf], asked, at=at, inputs=graph.inputs)
        assert got["counted_status"].tolist() == ["present", "present", "stale", "missing"]
        assert got["length"].tolist() == [103, 11, -1, -1]
        assert got["counted_time"].tolist() == times([DAY, 5 * DAY, DAY, 0]).tolist()
        with pytest.raises(InvalidInput, match=r"'counted' is made from shelf, other\. Say which"):
            found.lookup([counted], asked)

    def test_what_was_brought_is_not_read_again(self, found: Online, tmp_path: Path) -> None:
        store = Store(tmp_path / "store")
        store.write(shelf, batch({("a", 1): ("x", 1.0)}))
        assert found.materialize(shelf, store.head(shelf)) == 1
        assert found.materialize(shelf, store.head(shelf)) == 0
        store.write(shelf, batch({("b", 1): ("x", 1.0), ("c", 1): ("x", 1.0)}))
        assert found.materialize(shelf, store.head(shelf)) == 2
        store.compact(shelf)
        assert found.materialize(shelf, store.head(shelf)) == 0

    def test_an_old_event_that_comes_late_replaces_nothing(
        self, found: Online, tmp_path: Path
    ) -> None:
        store = Store(tmp_path / "store")
        store.write(shelf, batch({("a", 2): ("new", 2.0)}))
        found.materialize(shelf, store.head(shelf))
        store.write(shelf, batch({("a", 1): ("old", 1.0)}))
        found.materialize(shelf, store.head(shelf))
        found.write(shelf, batch({("a", -5): ("older", 1.0)}))
        assert found.lookup([shelf], {"id": objects(["a"])})["word"].tolist() == ["new"]

    def test_a_time_before_1970_is_older_than_one_after(self, found: Online) -> None:
        found.materialize(shelf, Store(Path("nowhere")).head(shelf))
        for day, word in ((-9, "first"), (3, "last"), (-3, "between")):
            found.write(shelf, batch({("a", day): (word, 1.0)}))
        assert found.lookup([shelf], {"id": objects(["a"])})["word"].tolist() == ["last"]

    def test_views_with_several_keys_lists_pictures_and_vectors_come_back_as_they_were(
        self, found: Online, tmp_path: Path
    ) -> None:
        store, rng = Store(tmp_path / "store"), np.random.default_rng(0)
        made = model_view(
            "vector",
            "vision.embed@production",
            over=items,
            columns={"vector": Vector(5)},
            inputs={},
        ).at(3)
        for view in (items, interactions, labelled_images, made.rows_of):
            rows = view.sample(20, rng)
            store.write(view, rows)
            found.materialize(view, store.head(view))
            keys = {name: rows[name] for name in view.key}
            asked: View = made if view.name == "vector_v3" else view
            got = found.lookup([asked], keys)
            assert not got[f"{asked.name}_missing"].any()
            for name in view.columns:
                assert all(map(np.array_equal, got[name], rows[name])), name
        lost = found.lookup(
            [made, labelled_images], {"item_id": objects("?"), "image_id": objects("?")}
        )
        assert lost["vector"].tolist() == [[0.0] * 5]
        assert lost["image_missing" if "image_missing" in lost else "images_missing"].all()

    def test_keys_of_any_letters_stay_apart(self, found: Online) -> None:
        odd = ["a\0b", "a", '"', "1:2", "ü🙂", " "]
        found.materialize(visit, Store(Path("nowhere")).head(visit))
        rows = [(who, where, 1, 1.0, f"{who}|{where}", 1) for who in odd for where in odd]
        found.write(visit, visits(rows))
        keys = {name: objects(row[place] for row in rows) for place, name in enumerate(visit.key)}
        got = found.lookup([visit], keys, at=LATE - np.timedelta64(997 * DAY, "us"))
        assert got["mood"].tolist() == [row[4] for row in rows]

    def test_several_views_are_looked_up_together(self, found: Online, tmp_path: Path) -> None:
        store = Store(tmp_path / "store")
        twin = replace(shelf, name="twin", ttl=None)
        store.write(shelf, batch({("a", 1): ("x", 1.0)}))
        store.write(twin, batch({("a", 1): ("y", 3.0)}))
        for view in (shelf, twin):
            found.materialize(view, store.head(view))
        got = found.lookup([shelf, twin.only("number")], {"id": objects(["b", "a", "a"])})
        assert got["word"].tolist() == ["", "x", "x"]
        assert got["shelf__number"].tolist() == [0.0, 1.0, 1.0]
        assert got["twin__number"].tolist() == [0.0, 3.0, 3.0]
        assert got["twin_missing"].tolist() == [True, False, False]

    def test_without_views_the_keys_come_back(self, found: Online) -> None:
        assert found.lookup([], {}) == {}

    def test_a_view_that_is_not_online_is_told_with_what_to_do(self, found: Online) -> None:
        for view, needed in ((shelf, "shelf"), (habits, "visit")):
            hint = rf"'{view.name}' is not online\. Bring it there: .* materialize {needed}"
            with pytest.raises(NotFound, match=hint):
                found.lookup([view], {"id": objects(["1"]), "who": objects(["1"])})
        with pytest.raises(NotFound, match=r"'shelf' is not online"):
            found.write(shelf, batch({("a", 1): ("x", 1.0)}))

    def test_changed_columns_are_refused_until_they_are_brought_anew(
        self, found: Online, tmp_path: Path
    ) -> None:
        changed = replace(shelf, columns={"number": Whole()})
        old, store = Store(tmp_path / "old"), Store(tmp_path / "store")
        old.write(shelf, batch({("a", 1): ("x", 1.0)}))
        found.materialize(shelf, old.head(shelf))
        held = r"'shelf' was materialized with other columns: word \(string\), number \(double\)"
        rows = {"id": objects(["b"]), "number": np.array([2])}
        with pytest.raises(Conflict, match=held):
            found.lookup([changed], {"id": objects(["a"])})
        with pytest.raises(Conflict, match=held):
            found.write(changed, rows)
        store.write(changed, rows)
        found.materialize(changed, store.head(changed))
        got = found.lookup([changed], {"id": objects(["a", "b"])})
        assert got["shelf_missing"].tolist() == [True, False]

    def test_fewer_columns_are_read_of_the_same_rows(self, found: Online, tmp_path: Path) -> None:
        store = Store(tmp_path / "store")
        store.write(shelf, batch({("a", 1): ("x", 1.0)}))
        found.materialize(shelf.only("word"), store.head(shelf), graph)  # the graph has it whole
        for name, values in (("number", [1.0, 0.0]), ("word", ["x", ""])):
            got = found.lookup([shelf.only(name)], {"id": objects(["a", "b"])})
            assert got[name].tolist() == values
            assert len(got) == 5

    def test_rows_that_were_pushed_before_a_view_was_online_are_brought_with_all_others(
        self, found: Online, tmp_path: Path
    ) -> None:
        store = Store(tmp_path / "store")
        store.write(visit, visits([("a", "x", 1, 1.0, "", 1)]))
        rows = visits([("a", "x", 2, 1.0, "", 1)])
        created = store.append(visit, rows).created
        found.keep_up(visit, {**rows, "created": created}, lambda: store.head(visit), graph)
        assert found.lookup([always], {"where": objects(["x"])}, at=LATE)["steps"].tolist() == [2]

    def test_a_bad_question_is_told_in_a_sentence(self, found: Online) -> None:
        found.materialize(shelf, Store(Path("nowhere")).head(shelf))
        for keys, said in (
            ({"name": objects(["a"])}, r"'shelf' is looked up by 'id', which the keys lack"),
            ({"id": objects(["a", ""])}, r"key id in row 1 is empty"),
            ({"id": objects(["a", 7])}, r"key id 7 is no text\. Send keys as text"),
            ({"id": objects(["\ud800"])}, r"key id is not valid UTF-8"),
        ):
            with pytest.raises(InvalidInput, match=said):
                found.lookup([shelf], keys)
        with pytest.raises(InvalidInput, match=r"2024-05-01 00:00:00 has no time zone"):
            found.lookup([shelf], {"id": objects(["a"])}, at=datetime(2024, 5, 1))
        many = {"id": objects(["a"] * (MOST_KEYS + 1))}
        with pytest.raises(TooLarge, match=r"100,001 keys .* the limit is 100,000") as told:
            found.lookup([shelf], many)
        assert (told.value.limit, told.value.actual) == (MOST_KEYS, MOST_KEYS + 1)
        most = {"id": many["id"][1:]}
        assert found.lookup([shelf], most)["shelf_missing"].all()

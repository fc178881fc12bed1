"""The command line of the cluster: an error of ours is one sentence and status 1."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.registry.versions import Registry
from services import load
from services.__main__ import app, main
from services.local.rows import unseen_by
from tests.support import filler, manifest

RATINGS = (
    "userId,movieId,rating,timestamp\n1,10,4.0,964982703\n1,20,5.0,964982704\n2,10,3.5,964982705\n"
)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path / "home"


@pytest.fixture
def services(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `python -m services` in this process: status, what it printed, what it complained."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["services", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS)
    return path


def add(home: Path, run: str, accuracy: float) -> None:
    made = manifest("vision.classify", run=run, metrics={"accuracy": accuracy})
    Registry(home).write("vision.classify", filler(made, {"weights": b"w"}))


def test_every_command_says_what_it_does() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for command in ("up", "down", "status", "logs", "ingest", "materialize", "lookup", "tasks",
                    "train", "evaluate", "versions", "promote", "rollback", "deploy", "undeploy",
                    "demo"):  # fmt: skip
        assert f" {command} " in shown
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_rows_that_are_not_online_yet_are_told_of_with_the_command(
    services: Command, ratings: Path, home: Path, tmp_path: Path
) -> None:
    made = manifest("recsys.recommend", metrics={"ndcg": 0.5}, objective="ndcg")
    Registry(home).write("recsys.recommend", filler(made, {"weights": b"w"}))
    Registry(home).point("production", "recsys.recommend", 1)
    said = services("ingest", "interactions", str(ratings))[1]
    assert (
        "interactions is not online, where recsys.recommend looks it up: "
        "python -m services materialize interactions\n" in said
    )
    assert unseen_by("recsys.recommend")[0].startswith("interactions is not online, where recsys")
    assert unseen_by("vision.classify") == []
    services("materialize")
    assert unseen_by("recsys.recommend") == []
    more = tmp_path / "more.csv"
    more.write_text(RATINGS.replace("\n1,", "\n7,"))
    said = services("ingest", "interactions", str(more))[1]
    assert (
        "2 rows are not online, so look-ups of interactions, item_activity, user_activity, "
        "user_history do not see them yet. Bring them: python -m services materialize "
        "interactions\n" in said
    )
    assert "2 behind" in services("features")[1]
    services("materialize", "interactions")
    assert " behind" not in services("features")[1]
    assert "not online" not in services("ingest", "interactions", str(more))[1]


def test_a_push_that_the_online_store_missed_says_so(
    services: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = ("push", "interactions", "user_id=1", "item_id=2", "value=1")
    assert services(*event)[1] == "interactions: written, offline and online.\n"
    monkeypatch.setenv("LEPTON_REDIS_URL", "redis://127.0.0.1:9/0")
    assert services(*event)[1] == (
        "interactions: written, offline only: the online store does not answer. The next push or "
        "look-up once it does brings this, or python -m services materialize interactions\n"
    )


def test_who_is_forgotten_is_said_with_the_models_that_know_them(
    services: Command, home: Path
) -> None:
    services("push", "interactions", "user_id=1", "item_id=2", "value=1")
    made = manifest(
        "recsys.recommend", metrics={"ndcg": 0.5}, objective="ndcg",
        views={"interactions": {"commit": 1, "rows": 1}}, created=datetime(2999, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    Registry(home).write("recsys.recommend", filler(made, {"weights": b"w"}))
    assert services("forget", "interactions", "user_id=1")[1] == (
        "user_id=1 is forgotten: stored rows 1 of interactions; 1 keys online; 0 lines of request "
        "logs.\n"
        "recsys.recommend version 1 may have learnt from them: "
        "python -m services train recsys.recommend\n"
    )
    assert "missing" in services("lookup", "interactions", "user_id=1,item_id=2")[1]


def test_an_empty_home_is_told(services: Command) -> None:
    assert services("materialize")[1].startswith("No view has rows yet. Take some in: python -m")
    assert services("features", "check")[1].startswith("No request was logged yet. Deploy a cap")
    shown = services("features")[1]
    for head in ("ttl", "owner", "tags", "description"):
        assert f" {head} " in shown


def test_rows_that_were_brought_online_are_looked_up_by_key(
    services: Command, ratings: Path
) -> None:
    services("ingest", "interactions", str(ratings))
    status, _, said = services("lookup", "interactions", "user_id=1,item_id=20")
    assert (status, "python -m services materialize interactions" in said) == (1, True)
    assert services("materialize") == (0, "interactions: 3 stored rows read; all are online.\n", "")
    assert (
        services("materialize", "interactions")[1]
        == "interactions: 0 stored rows read; all are online.\n"
    )
    assert services("compact", "interactions")[1] == (
        "interactions: 0 files merged into 0; 0 replaced rows dropped.\n"
    )
    status, shown, _ = services("lookup", "interactions", "user_id=1,item_id=20")
    assert (status, "5.0" in shown, "2000-07-30T18:45:04Z" in shown) == (0, True, True)
    status, _, said = services("lookup", "interactions", "1")
    assert (status, "'1' is no key of interactions. Write user_id=...,item_id=..." in said) == (
        1,
        True,
    )


def test_keys_and_columns_with_commas_are_written_in_quotes(
    services: Command, tmp_path: Path
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text('"who, full","wh""at",n=1\n"a,b",x,2\na,x,7\nb,x,8\n')
    mapped = 'user_id="who, full",item_id="wh""at",value=n=1'
    assert services("ingest", "interactions", str(path), "--map", mapped)[0] == 0
    services("materialize")
    status, shown, _ = services("lookup", "interactions", 'user_id="a,b",item_id=x')
    assert (status, "2.0" in shown) == (0, True)
    for key in ("user_id=a,b,item_id=x", "user_id=a,item_id=x,user_id=b", 'user_id="a,item_id=x'):
        status, out, said = services("lookup", "interactions", key)
        assert (status, out) == (1, "")
        assert f"{key!r} is no key of interactions." in said
    said = services("lookup", "interactions", "user_id=a,b,item_id=x")[2]
    assert "'b,item_id=x' is no name=value. Write user_id=...,item_id=... A value with a" in said
    mapped = "user_id=who, full,item_id=n"
    status, _, said = services("ingest", "interactions", str(path), "--map", mapped)
    assert (status, 'A value with a comma stands in quotes: \'text="Review, full",' in said) == (
        1,
        True,
    )


def test_rows_are_taken_in_once_however_often_they_are_brought(
    services: Command, ratings: Path
) -> None:
    ingest = ("ingest", "interactions", str(ratings))
    for new, same in ((3, 0), (0, 3)):
        status, out, err = services(*ingest)
        assert (status, err) == (0, "")
        said = f"interactions: 3 rows read, {new} new, 0 replaced, {same} as before, 0 superseded"
        assert out.startswith(f"{said}, 0 rejected.\n")


def test_a_push_with_a_column_that_is_not_meant_writes_nothing(
    services: Command, home: Path
) -> None:
    push = ("push", "interactions", "user_id=8", "item_id=42", "value=1")
    for more, words in (
        ("valu=3", "There is no column 'valu'. Did you mean 'value'?"),
        ("where=x", "There is no column 'where'. There are: event_time, item_id, split, user_id,"),
        ("user_id=9", "'user_id' is given 2 times: '8' and '9'. Give each column once."),
    ):
        status, out, said = services(*push, more)
        assert (status, out, words in said) == (1, "", True), said
    assert not (home / "features" / "interactions").exists()
    assert services(*push)[0] == 0


def test_a_number_that_is_typed_names_the_row_that_a_table_of_numbers_gave(
    services: Command, tmp_path: Path
) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("user_id,item_id,value,event_time\n17850.0,a,2,964982703\n,b,1,964982704\n")
    assert services("ingest", "interactions", str(path), "--max-rejects", "1")[0] == 0
    services("materialize")
    for typed in ("17850", "17850.0", "17850.00"):
        shown = services("lookup", "interactions", f"user_id={typed},item_id=a")[1]
        assert "2.0" in shown, shown
    assert services("push", "interactions", "user_id=17850.0", "item_id=a", "value=9")[0] == 0
    assert "9.0" in services("lookup", "interactions", "user_id=17850,item_id=a")[1]
    said = services("lookup", "interactions", "user_id=1e22,item_id=a")[2]
    assert "too large to hold every digit" in said
    said = services("push", "interactions", "user_id=1e22", "item_id=a", "value=9")[2]
    assert "too large to hold every digit" in said


def test_columns_are_mapped_by_name(services: Command, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("wer,was\n1,10\n")
    status, out, _ = services(
        "ingest", "interactions", str(path), "--map", "user_id=wer,item_id=was"
    )
    assert (status, out.split(",")[0]) == (0, "interactions: 1 rows read")
    status, _, err = services("ingest", "interactions", str(path), "--map", "user_id")
    assert (status, err) == (
        1, "Error: 'user_id' does not map columns. Write --map user_id=userId,...\n",
    )  # fmt: skip


def test_bad_rows_are_told_with_the_file_that_holds_them(services: Command, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS + "3,,1.0,964982705\n")
    ingest = ("ingest", "interactions", str(path))
    status, out, err = services(*ingest)
    assert (status, out) == (1, "")
    assert err.startswith("Error: 1 of 4 rows are bad (25.0%), more than the 1.0% that may")
    status, out, _ = services(*ingest, "--max-rejects", "0.5")
    assert status == 0
    assert out.startswith(
        "interactions: 4 rows read, 3 new, 0 replaced, 0 as before, 0 superseded, 1 rejected."
    )
    rejects = Path(out.splitlines()[-1].removeprefix("What was left out and why: "))
    assert "item_id is empty" in rejects.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ingest", "interaction", "."], "There is no view 'interaction'. Did you mean 'interact"),
        (["ingest", "images", "/no/such/folder"], "/no/such/folder"),
        (["ingest", "images", ""], "A path is empty. Name a file, a folder or a zip; `.` is this"),
        (["ingest", "images", ".", "--max-rejects", "5"], "5 is no share of bad rows. It is from"),
        (["ingest", "images", ".", "--max-rejects", "nan"], "nan is no share of bad rows."),
        (["train", "vision.clasify"], "There is no capability 'vision.clasify'. Did you mean"),
        (["train", "vision.classify", "epoch=3"], "There is no knob 'epoch'. Did you mean 'epochs"),
        (["train", "vision.classify", "epochs=0"], "epochs is '0'; it must be greater than"),
        (["train", "vision.classify", "epochs"], "'epochs' is not a setting. Write name=value"),
        (["train", "vision.classify"], "python -m services ingest images PATH"),
        (["tasks", "nlp"], "There is no capability 'nlp'."),
        (["versions", "nlp"], "There is no capability 'nlp'."),
        (["evaluate", "vision.classify"], "vision.classify has no version yet. Train one:"),
        (["promote", "vision.classify"], "vision.classify has no version yet."),
        (["rollback", "vision.classify"], "vision.classify has no version yet. Train one:"),
        (["deploy", "vision.classify"], "vision.classify has no version yet."),
        (["logs", "nlp.classify"], "There are no logs of nlp.classify in"),
        (["versions", "[/red]"], "There is no capability '[/red]'."),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence_and_status_1(
    services: Command, words: list[str], sentence: str
) -> None:
    status, out, err = services(*words)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value"), [("LEPTON_PORT", "80"), ("LEPTON_MEMORY_SHARE", "much")]
)
def test_a_wrong_variable_is_named(
    services: Command, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    status, _, err = services("versions", "vision.classify")
    assert status == 1
    assert f"{variable} is {value!r}" in err


@pytest.mark.filterwarnings(r"ignore:::ray\b")  # theirs, when Ray Serve is imported
def test_status_looks_where_ray_address_says(
    services: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = "Nothing runs here. Start it with `python -m services up`.\n"
    assert services("status") == (0, nothing, "")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    status, out, err = services("status")
    assert (status, out) == (1, "")
    assert err.startswith("Error: No Ray answers at 127.0.0.1:1, which RAY_ADDRESS names.")


def test_a_command_that_is_none_is_status_2(services: Command) -> None:
    assert services("trian")[0] == 2
    assert services("train", "vision.classify", "--workers", "0")[0] == 2


def test_versions_are_listed_with_their_aliases(services: Command, home: Path) -> None:
    assert services("versions", "vision.classify")[0] == 0
    add(home, "one", 0.8)
    add(home, "two", 0.9)
    Registry(home).point("candidate", "vision.classify", 2)
    status, out, _ = services("versions", "vision.classify")
    assert status == 0
    (row,) = [line for line in out.splitlines() if "candidate" in line]
    assert "2026-01-02 03:04" in row
    assert "accuracy 0.9000" in row
    assert "two" in row


def test_a_version_that_scores_worse_is_promoted_only_by_force(
    services: Command, home: Path
) -> None:
    add(home, "one", 0.9)
    add(home, "two", 0.8)
    said = "Version 1 of vision.classify is in production (accuracy 0.9000).\n"
    assert services("promote", "vision.classify", "1") == (0, said, "")
    status, _, err = services("promote", "vision.classify", "2")
    assert status == 1
    assert "accuracy 0.8000, worse than 0.9000 of version 1 in production" in err
    assert services("promote", "vision.classify", "2", "--force")[0] == 0
    assert services("rollback", "vision.classify") == (0, said, "")


def test_a_damaged_version_is_told_by_the_file(home: Path) -> None:
    from cluster.base.errors import Corrupt

    add(home, "one", 0.9)
    (Registry(home).folder("vision.classify", 1) / "weights").write_bytes(b"x")
    with pytest.raises(Corrupt, match=r"weights of vision\.classify version 1 is not what was"):
        load("vision.classify", 1)


def test_capabilities_are_listed_and_the_knobs_of_one(services: Command) -> None:
    status, out, _ = services("tasks")
    assert status == 0
    (row,) = [line for line in out.splitlines() if "recsys.recommend" in line]
    assert "Recommend what a person is likely to want next." in row  # no line is torn in a pipe
    assert "interactions, items" in row
    status, out, _ = services("tasks", "vision.classify")
    assert status == 0
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert "1 to 1,000" in rows["epochs"]
    assert "adamw, sgd" in rows["optimizer"]
    assert "32,64,128" in rows["widths"]
    assert "true, false" in rows["flip"]


def test_logs_of_several_replicas_are_in_the_order_of_time_record_by_record(
    services: Command, home: Path
) -> None:
    folder = home / "logs" / "serve"
    folder.mkdir(parents=True)
    one = "INFO 2026-11-21 10:00:00,100 nlp.classify_replica a -- one"
    two = "ERROR 2026-11-21 10:00:00,200 nlp.classify_replica b -- two"
    three = "INFO 2026-11-21 10:00:00,300 nlp.classify_replica a -- three"
    trace = ["Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: [x]"]
    (folder / "replica_nlp.classify_replica_a.log").write_text(f"{one}\n{three}\n")
    (folder / "replica_nlp.classify_replica_b.log").write_text("\n".join([two, *trace]))
    status, out, _ = services("logs", "nlp.classify")
    assert (status, out.splitlines()) == (0, [one, two, *trace, three])
    status, out, _ = services("logs", "nlp.classify", "--lines", "2")
    assert (status, out.splitlines()) == (0, [trace[-1], three])
    assert services("logs", "nlp.classify", "--lines", "0")[0] == 2

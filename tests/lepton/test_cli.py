"""The command line: any task, with the flags that its schema asks for."""

import io
import json
import re
from pathlib import Path

import httpx
import pytest
from rich.console import Console

import lepton
from lepton import Client
from lepton.cli import Shell, main
from tests.lepton.toy import Toy, problem


def plain(text: str) -> str:
    """Text without the colours that some CI asks Typer for."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Run:
    """Run commands against a toy, on a pipe or on a terminal."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        self.toy = Toy()
        self.out = io.StringIO()
        self.urls: list[str | None] = []
        console = Console(file=self.out, force_terminal=is_terminal, width=100, color_system=None)
        self._shell = Shell(self._connect, console)

    def __call__(self, *argv: str) -> int:
        return main(argv, self._shell)

    def rows(self) -> list[dict[str, object]]:
        """What was printed, from JSON lines."""
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def echoed(self) -> list[object]:
        """The inputs that the outputs tell of."""
        return [row["echo"] for row in self.rows()]

    def _connect(self, url: str | None = None, *, timeout_s: float = 30.0) -> Client:
        self.urls.append(url)
        return self.toy.client(timeout_s=timeout_s, retries=0)


def test_values_fill_the_first_fields() -> None:
    run = Run()
    assert run("predict", "nlp.classify", "a wonderful film", "en") == 0
    assert run.rows() == [
        {"label": "boot", "echo": {"text": "a wonderful film", "lang": "en"}},
    ]


def test_a_picture_is_given_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "shoe.png"
    path.write_bytes(b"abc")
    run = Run()
    assert run("predict", "vision.classify", str(path), "--top-k", "3") == 0
    assert run.echoed() == [{"image": "YWJj", "top_k": 3}]


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (["--user-id", "42", "--k", "5"], {"user_id": 42, "k": 5}),
        (["--user-id=u42", "--k=5"], {"user_id": "u42", "k": 5}),
        (["--exclude", "1", "42", "--exclude", "2"], {"user_id": 42, "exclude": [1, 2]}),
        (["42", "5", "7", "8", "9"], {"user_id": 42, "k": 5, "exclude": [7, 8, 9]}),
        (["--user-id", "42", "5"], {"user_id": 42, "k": 5}),
        (["42", "--k", "-5"], {"user_id": 42, "k": -5}),
        (["42", "--context", '{"hour": 9}'], {"user_id": 42, "context": {"hour": 9}}),
    ],
)
def test_options_are_read_as_the_schema_says(words: list[str], row: dict[str, object]) -> None:
    run = Run()
    assert run("predict", "recsys.recommend", *words) == 0
    assert run.echoed() == [row]


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (["good", "--explain"], {"text": "good", "explain": True}),
        (["good", "--no-explain"], {"text": "good", "explain": False}),
        (["good", "de", "0.25", "yes"], {"text": "good", "lang": "de", "threshold": 0.25}),
        (["42"], {"text": "42"}),
    ],
)
def test_numbers_bools_and_text_are_told_apart(words: list[str], row: dict[str, object]) -> None:
    run = Run()
    assert run("predict", "nlp.classify", *words) == 0
    assert run.echoed() == [row | ({"explain": True} if "yes" in words else {})]


@pytest.mark.parametrize(
    "words",
    [
        ["nlp.classify", "--", "-5 stars", "--json"],
        ["nlp.classify", "--lang=--json", "--", "-5 stars"],
        ["nlp.classify", "--text=-5 stars", "--lang=--json"],
        ["nlp.classify", "--text", "-5 stars", "--", "--json"],
        ["--", "nlp.classify", "-5 stars", "--json"],
    ],
)
def test_words_after_two_dashes_are_values(words: list[str]) -> None:
    run = Run()
    assert run("predict", *words) == 0
    assert run.echoed() == [{"text": "-5 stars", "lang": "--json"}]


def test_stdin_can_be_named_after_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("-5 stars\n"))
    run = Run()
    assert run("predict", "nlp.classify", "--", "-", "--") == 0
    assert run.echoed() == [{"text": "-5 stars", "lang": "--"}]


def test_json_gives_one_input_or_several() -> None:
    run = Run()
    assert run("predict", "nlp.classify", "--json", '{"text": "a"}') == 0
    assert run("predict", "nlp.classify", "--json", '[{"text": "b"}, {"text": "c"}]') == 0
    assert run.echoed() == [{"text": "a"}, {"text": "b"}, {"text": "c"}]


def test_a_file_gives_an_input_per_line_and_options_fill_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b", "threshold": 0.1}\n')
    run = Run()
    assert run("predict", "nlp.classify", "--file", str(path), "--threshold", "0.9") == 0
    assert run.echoed() == [{"text": "a", "threshold": 0.9}, {"text": "b", "threshold": 0.1}]


def test_lines_can_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(json.dumps({"text": str(n)}) + "\n" for n in range(300))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    run = Run()
    assert run("predict", "nlp.classify", "--file", "-") == 0
    assert run.echoed() == [{"text": str(n)} for n in range(300)]


def test_one_value_can_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    for words in (["-", "en"], ["--text", "-", "--lang", "en"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("a wonderful film\n"))
        assert run("predict", "nlp.classify", *words) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"abc")))
    assert run("predict", "vision.classify", "-") == 0
    film = {"text": "a wonderful film", "lang": "en"}
    assert run.echoed() == [film, film, {"image": "YWJj"}]


def test_bytes_for_a_text_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert Run()("predict", "nlp.classify", "-") == 1
    assert capsys.readouterr().err.startswith("Error: stdin holds no text for text: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_a_file_is_encoded(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"text": "café"}\n{"text": "thé"}\n'.encode(encoding))
    run = Run()
    assert run("predict", "nlp.classify", "--file", str(path)) == 0
    assert run.echoed() == [{"text": "café"}, {"text": "thé"}]


def test_a_stdin_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Broken())))
    assert Run()("predict", "nlp.classify", "-") == 1
    assert capsys.readouterr().err == "Error: stdin cannot be read for text: Is a directory.\n"
    monkeypatch.setattr("sys.stdin", None)
    assert Run()("predict", "nlp.classify", "-") == 1
    assert capsys.readouterr().err.startswith("Error: stdin is closed, and text is to come from")
    assert Run()("predict", "nlp.classify", "--file", "-") == 1
    assert capsys.readouterr().err.startswith("Error: stdin is closed. Pipe the inputs in")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Error: {path} holds no inputs. Give one JSON object per line.\n"),
        (b"\n\n", "Error: {path} holds no inputs. Give one JSON object per line.\n"),
        (b"\x89PNG", "Error: {path} is no text in UTF-8. Give one JSON object per line.\n"),
        (b"{", "line 1: it is not JSON"),
        (b"[1]", "line 1: it is JSON, but no object"),
    ],
)
def test_a_file_that_holds_no_inputs_is_told_where_and_why(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert Run()("predict", "nlp.classify", "--file", str(path)) == 1
    assert words.format(path=path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nlp.classify", "good", "--threshold", "high"], "'high' is no number"),
        (["recsys.recommend", "42", "many"], "'many' is no integer"),
        (["nlp.classify", "good", "en", "1", "maybe"], "'maybe' is no boolean"),
        (["nlp.classify", "a", "b", "1", "no", "e"], "'e' is one value too many"),
        (["nlp.classify", "good", "--treshold", "1"], "--treshold"),
        (["nlp.classify", "--json", "{"], "It is not JSON"),
        (["nlp.classify", "--json", "3"], "Give a JSON object"),
        (["nlp.classify", "--json", "[]"], "The array is empty"),
        (["nlp.classify"], "text is missing"),
        (["nlp.classify", "--lang", "en"], "with --text, - to read"),
        (["nlp.classify", "--json", "{}", "--file", "-"], "not both"),
    ],
)
def test_a_command_that_is_not_understood_exits_with_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run()
    assert run("predict", *words) == 2
    assert message in plain(capsys.readouterr().err)
    assert run.toy.predictions() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "vision.clasify", "x"], "Error: No task is named that. There are three."),
        (
            ["predict", "vision.classify", "gone.png"],
            "Error: image is 'gone.png', which is neither",
        ),
        (["predict", "nlp.classify", "--file", "gone.jsonl"], "Error: gone.jsonl cannot be read"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_1(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Run()(*words) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_what_the_server_refuses_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run()
    run.toy.answers = [problem(422, "top_k is 99. Give 10 or less.")]
    assert run("predict", "nlp.classify", "good") == 1
    assert capsys.readouterr().err == "Error: top_k is 99. Give 10 or less. (request r1)\n"


def test_ctrl_c_exits_with_130() -> None:
    def interrupted(_: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    def connect(url: str | None = None, *, timeout_s: float = 30.0) -> Client:
        transport = httpx.MockTransport(interrupted)
        return Client(url or "http://toy", timeout_s=timeout_s, transport=transport)

    assert main(["predict", "nlp.classify", "good"], Shell(connect)) == 130


def test_tasks_are_listed() -> None:
    run = Run()
    assert run("tasks") == 0
    assert [row["name"] for row in run.rows()] == [
        "vision.classify",
        "nlp.classify",
        "recsys.recommend",
    ]


def test_a_terminal_gets_tables() -> None:
    run = Run(is_terminal=True)
    run("tasks")
    run("predict", "nlp.classify", "good [really]")
    run("predict", "recsys.recommend", "--json", '[{"user_id": 1}, {"user_id": 2.5}]')
    shown = run.out.getvalue()
    assert "accuracy 0.93" in shown
    assert "text: good [really]" in shown
    assert "user_id: 2.5" in shown
    assert "{" not in shown


def test_a_long_list_is_cut_short_in_a_table() -> None:
    run = Run(is_terminal=True)
    run("predict", "recsys.recommend", "1", "2", *map(str, range(100)))
    assert "7, ... (100 values)" in run.out.getvalue()


def test_health_exits_with_1_until_everything_is_up() -> None:
    run = Run()
    assert run("health") == 0
    run.toy.readiness = "starting"
    assert run("health") == 1
    assert [row["status"] for row in run.rows()] == ["ready", "starting"]


def test_the_url_can_be_given_anywhere() -> None:
    run = Run()
    run("predict", "nlp.classify", "good", "--url", "http://a")
    run("predict", "--url", "http://b", "nlp.classify", "good")
    run("health", "--url", "http://c")
    run("tasks")
    assert run.urls == ["http://a", "http://b", "http://c", None]


def test_help_of_a_task_shows_the_fields_of_its_schema(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run()
    assert run("predict", "vision.classify", "--help") == 0
    shown = plain(capsys.readouterr().out)
    for words in ["--top-k", "INTEGER", "How many labels.", "From 1 to 10.", "Default: 5."]:
        assert words in shown
    for words in ["--image", "FILE", "The picture [any size].", "--item-id"]:
        assert words in shown
    assert run("predict", "nlp.classify", "--help") == 0
    shown = plain(capsys.readouterr().out)
    for words in ["Required.", "One of: en, de.", "At least 0.", "--no-explain"]:
        assert words in shown
    assert run.toy.predictions() == []


@pytest.mark.parametrize("words", [["predict"], ["predict", "--help"]])
def test_help_of_predict_needs_no_server(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run()
    assert run(*words) == 0
    shown = plain(capsys.readouterr().out)
    assert "--json" in shown
    assert "--file" in shown
    assert run.toy.asked == []


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{lepton.__version__}\n"


def test_a_field_named_like_an_option_of_the_command_has_its_own_flag() -> None:
    from lepton.cli.flags import read_words
    from lepton.wire import TaskInfo

    info = TaskInfo(
        name="a.b",
        url="/v1/a/b",
        state="ready",
        input={"properties": {"file": {"type": "string"}, "class": {"type": "integer"}}},
        output={},
    )
    assert read_words(["--field-file", "x", "--class", "3"], info) == {"file": "x", "class": 3}

"""The clients: any task by its name, batches, chunks, and the same from asyncio."""

import asyncio
import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton import (
    AsyncClient,
    BadType,
    BadValue,
    Client,
    InvalidInput,
    NotFound,
    Output,
    UnexpectedAnswer,
)
from tests.lepton.toy import Toy, problem


def test_a_task_is_called_by_its_name() -> None:
    toy = Toy()
    with toy.client() as client:
        output = client.nlp.classify(text="a wonderful film", threshold=0.3)
    assert isinstance(output, Output)
    assert output.label == "boot"
    assert toy.predictions() == [[{"text": "a wonderful film", "threshold": 0.3}]]
    assert [r.url.path for r in toy.asked] == ["/v1/tasks/nlp.classify", "/v1/nlp/classify"]


def test_the_schema_is_asked_for_once() -> None:
    toy = Toy()
    with toy.client() as client:
        client.nlp.classify(text="one")
        client.nlp.classify(text="two")
    assert [r.method for r in toy.asked] == ["GET", "POST", "POST"]


def test_the_schema_is_asked_for_again_after_an_input_was_refused() -> None:
    toy = Toy(answers=[problem(422)])
    with toy.client() as client:
        with pytest.raises(InvalidInput):
            client.nlp.classify(text="one")
        client.nlp.classify(text="two")
    assert [r.method for r in toy.asked] == ["GET", "POST", "GET", "POST"]


def test_listing_tasks_teaches_their_schemas() -> None:
    toy = Toy()
    with toy.client() as client:
        assert [task.name for task in client.tasks()] == sorted(
            ["vision.classify", "nlp.classify", "recsys.recommend"], key=lambda n: n[0] != "v"
        )
        client.nlp.classify(text="one")
    assert [r.url.path for r in toy.asked] == ["/v1/tasks", "/v1/nlp/classify"]


def test_lists_in_are_lists_out_and_one_value_holds_for_all() -> None:
    toy = Toy()
    outputs = toy.client().nlp.classify(text=["good", "bad"], threshold=0.9)
    assert [out.echo for out in outputs] == [
        {"text": "good", "threshold": 0.9},
        {"text": "bad", "threshold": 0.9},
    ]


def test_the_first_field_may_go_without_its_name() -> None:
    toy = Toy()
    client = toy.client()
    assert client.nlp.classify("good", threshold=0.9).echo == {"text": "good", "threshold": 0.9}
    assert [out.echo for out in client.nlp.classify(["a", "b"])] == [{"text": "a"}, {"text": "b"}]
    assert client.vision.classify(b"abc").echo == {"image": "YWJj"}

    async def ask() -> object:
        async with toy.async_client() as client:
            return (await client.nlp.classify("good")).echo

    assert asyncio.run(ask()) == {"text": "good"}


def test_more_values_without_a_name_are_refused_with_the_names() -> None:
    client = Toy().client()
    with pytest.raises(BadType) as refused:
        client.vision.classify(b"abc", 3)
    assert str(refused.value) == (
        "vision.classify was given 2 values without a name. Give at most the first of its fields "
        "so, and the others by name: image, top_k, item_id."
    )
    with pytest.raises(BadType, match=r"was given text with its name and without\. Give it once"):
        client.nlp.classify("good", text="bad")


def test_a_list_of_one_is_still_a_batch() -> None:
    assert len(Toy().client().nlp.classify(text=["good"])) == 1


def test_an_empty_list_gives_an_empty_list_and_asks_nothing() -> None:
    toy = Toy()
    assert toy.client().nlp.classify(text=[]) == []
    assert toy.predictions() == []


def test_a_list_for_a_field_of_lists_is_one_value() -> None:
    output = Toy().client().recsys.recommend(user_id=42, exclude=[1, 2])
    assert output.echo == {"user_id": 42, "exclude": [1, 2]}


def test_a_list_of_lists_for_a_field_of_lists_is_a_batch() -> None:
    outputs = Toy().client().recsys.recommend(user_id=[42, 43], exclude=[[1, 2], []])
    assert [out.echo["exclude"] for out in outputs] == [[1, 2], []]


def test_lists_of_unequal_length_are_an_error_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="user_id has 3 values but k has 2"):
        Toy().client().recsys.recommend(user_id=[1, 2, 3], k=[5, 6])


def test_predict_says_which_version_answered() -> None:
    prediction = Toy().client().predict("nlp.classify", [{"text": "good"}])
    assert (prediction.model, prediction.version) == ("nlp.classify", "3")
    assert len(prediction.request_id) == 32


def test_predict_of_nothing_answers_nothing_with_the_version() -> None:
    prediction = Toy().client().predict("nlp.classify", [])
    assert (prediction.model, prediction.version, prediction.outputs) == ("nlp.classify", "3", [])


@pytest.mark.parametrize("inputs", [{"text": "good"}, "good", ["good"]])
def test_predict_refuses_what_is_no_list_of_dicts(inputs: list[dict[str, object]]) -> None:
    with pytest.raises(BadType, match="of type"):
        Toy().client().predict("nlp.classify", inputs)


@given(st.lists(st.text(max_size=3), max_size=40), st.integers(1, 9), st.integers(1, 4))
def test_chunks_keep_order_and_count(texts: list[str], size: int, concurrency: int) -> None:
    toy = Toy()
    rows = [{"text": text} for text in texts]
    knobs = {"chunk_size": size, "concurrency": concurrency}

    async def answered() -> list[object]:
        async with toy.async_client(**knobs) as client:
            return [o.echo for o in (await client.predict("nlp.classify", rows)).outputs]

    with toy.client(**knobs) as client:
        assert [o.echo for o in client.predict("nlp.classify", rows).outputs] == rows
    assert asyncio.run(answered()) == rows
    assert all(1 <= len(inputs) <= size for inputs in toy.predictions())
    assert len(toy.predictions()) == 2 * -(-len(rows) // size)


def test_all_chunks_of_a_call_have_one_request_id() -> None:
    toy = Toy()
    prediction = toy.client(chunk_size=1).predict("nlp.classify", [{"text": "a"}, {"text": "b"}])
    sent = {r.headers["X-Request-ID"] for r in toy.asked if r.method == "POST"}
    assert sent == {prediction.request_id}


def test_chunks_answered_by_two_versions_say_both() -> None:
    versions = itertools.count(3)
    toy = Toy(version=lambda: str(next(versions)))
    client = toy.client(chunk_size=1, concurrency=1)
    assert client.predict("nlp.classify", [{"text": "a"}, {"text": "b"}]).version == "3,4"


def test_a_fault_in_a_later_chunk_points_to_the_callers_input() -> None:
    fault = {"pointer": "/inputs/1/text", "message": "is too long", "limit": 512, "actual": 600}
    toy = Toy(answers=[problem(422, errors=[fault])])
    ok = toy.client(chunk_size=2, concurrency=1)
    toy.answers.insert(0, Toy()(_post([{"text": "a"}, {"text": "b"}])))
    with pytest.raises(InvalidInput, match="/inputs/3/text: is too long") as caught:
        ok.nlp.classify(text=["a", "b", "c", "d"])
    assert caught.value.errors[0].limit == 512


def test_a_wrong_number_of_outputs_is_the_servers_fault() -> None:
    toy = Toy(answers=[Toy()(_post([{"text": "a"}, {"text": "b"}]))])
    with pytest.raises(UnexpectedAnswer, match="2 outputs for 1 inputs"):
        toy.client().nlp.classify(text="a")


def test_the_async_client_keeps_to_its_concurrency() -> None:
    under_way, most = 0, 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return Toy()(request)

    async def ask() -> None:
        transport = httpx.MockTransport(slow)
        async with AsyncClient("http://toy", transport=transport, chunk_size=1) as client:
            await client.predict("nlp.classify", [{"text": str(i)} for i in range(20)])

    asyncio.run(ask())
    assert most == 4


def test_the_async_client_calls_tasks_and_raises_the_same_errors() -> None:
    toy = Toy()

    async def ask() -> None:
        async with toy.async_client(chunk_size=1) as client:
            assert (await client.nlp.classify(text="good")).label == "boot"
            assert len(await client.nlp.classify(text=["good", "bad"])) == 2
            assert (await client.health()).status == "ok"
            assert (await client.ready()).status == "ready"
            assert len(await client.tasks()) == 3
            assert (await client.task("nlp.classify")).version == "3"
            toy.answers = [problem(422), problem(422)]
            with pytest.raises(InvalidInput):
                await client.nlp.classify(text=["good", "bad"])

    asyncio.run(ask())


def test_a_failure_in_one_of_many_chunks_is_raised_as_it_is() -> None:
    toy = Toy(answers=[problem(422)])
    with pytest.raises(InvalidInput), toy.client(chunk_size=1) as client:
        client.nlp.classify(text=[str(i) for i in range(40)])


def test_ready_answers_while_it_starts_and_asks_once() -> None:
    toy = Toy(readiness="starting")
    readiness = toy.client().ready()
    assert (readiness.status, readiness.tasks["nlp.classify"]) == ("starting", "ready")
    assert len(toy.asked) == 1


def test_health_and_one_task_can_be_asked() -> None:
    client = Toy().client()
    assert client.health().status == "ok"
    task = client.task("vision.classify")
    assert task.metric is not None
    assert (task.state, task.metric.value) == ("ready", 0.93)


def test_a_task_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="No task is named that"):
        Toy().client().vision.clasify(image=b"")


@pytest.mark.parametrize("name", ["vision", "vision.classify.x", "../secret", "v/c.d", ""])
def test_a_name_that_no_task_can_have_is_refused(name: str) -> None:
    with pytest.raises(BadValue, match="Names look like"):
        Toy().client().predict(name, [])


def test_the_api_key_is_sent_as_a_bearer_token_and_never_shown() -> None:
    toy = Toy()
    client = toy.client(api_key="secret")
    client.health()
    assert toy.asked[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in repr(client)
    assert repr(client) == "Client('http://toy')"


@pytest.mark.parametrize("key", ["klíč", "a\nb"])
def test_an_api_key_that_no_header_carries_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(BadValue, match="api_key has a character that no HTTP header") as refused:
        Client(api_key=key)
    assert key not in str(refused.value)


def test_url_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_URL", "http://elsewhere/prefix/")
    monkeypatch.setenv("LEPTON_API_KEY", "from-env")
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"status": "ok"})

    Client(transport=httpx.MockTransport(answer)).health()
    assert str(asked[0].url) == "http://elsewhere/prefix/healthz"
    assert asked[0].headers["Authorization"] == "Bearer from-env"


def test_the_url_defaults_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEPTON_URL", raising=False)
    assert repr(Client()) == "Client('http://127.0.0.1:8000')"


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"url": "127.0.0.1:8000"}, "Begin it with http://"),
        ({"url": "http://:80"}, "Name a host"),
        ({"url": "http://[::1"}, "which is none"),
        ({"url": "http://a:b"}, "which is none"),
        ({"timeout_s": 0}, "more than 0 seconds"),
        ({"retries": -1}, "0 to ask only once"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, object], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        Client(**knobs)  # type: ignore[arg-type]


def test_private_names_are_no_domains_and_no_tasks() -> None:
    client = Toy().client()
    assert not hasattr(client, "_repr_html_")
    assert not hasattr(client.vision, "_repr_html_")
    assert not hasattr(Toy().async_client(), "_repr_html_")
    assert repr(client.vision) == "<domain 'vision' of a Lepton client>"


def _post(rows: list[dict[str, str]]) -> httpx.Request:
    return httpx.Request(
        "POST", "http://toy/v1/nlp/classify", json={"inputs": rows}, headers={"X-Request-ID": "r"}
    )


def told(version: str, features: list[dict[str, str]], **more: object) -> httpx.Response:
    outputs = [{"label": "boot"} for _ in features or [{}]]
    body = {"model": "nlp.classify", "version": version, "outputs": outputs, "request_id": "r"}
    return httpx.Response(200, json=body | ({"features": features} if features else {}) | more)


def test_what_came_of_look_ups_is_told_of_every_input_though_sent_in_chunks() -> None:
    toy = Toy(
        answers=[
            told("3", [{"texts": "present"}, {"texts": "stale"}]),
            told("3", [], degraded=True),
        ]
    )
    client = toy.client(chunk_size=2, concurrency=1)
    found = client.predict("nlp.classify", [{"text_id": "a"}, {"text_id": "b"}, {"text": "c"}])
    assert found.features == [{"texts": "present"}, {"texts": "stale"}, {}]
    assert found.degraded


def test_where_nothing_was_looked_up_nothing_is_told_of_it() -> None:
    found = Toy().client().predict("nlp.classify", [{"text": "good"}])
    assert (found.features, found.degraded) == ([], False)


def test_a_stored_row_is_named_by_its_key() -> None:
    toy = Toy()
    outputs = toy.client().vision.classify(item_id=[7, 8], top_k=2)
    assert [output.echo for output in outputs] == [
        {"item_id": 7, "top_k": 2},
        {"item_id": 8, "top_k": 2},
    ]

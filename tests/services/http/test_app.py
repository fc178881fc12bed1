"""HTTP of one capability: every form that a request may have, and every refusal."""

import base64
import gzip
import io
import json
import time
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel
from starlette.applications import Starlette

from cluster.media.pixels import encode
from lepton.wire import Prediction
from services.http.app import build, raw_input
from services.http.problems import _unpacked
from services.local import catalog
from tests.services.asking import LIMIT, Heard, Narrow, Reads, Words, send
from tests.support import ask, problem
from tests.toy import Side

Classify: Any = catalog.find("vision.classify")
PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)


def test_inputs_are_answered_in_order_with_the_version_and_the_id(
    toy: Starlette, heard: Heard
) -> None:
    answer = send(toy, {"inputs": [{"x": 1, "y": 2}, {"x": 3, "y": 4, "margin": 0.5}]})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    found = Prediction.model_validate_json(answer.content)
    assert (found.model, found.version) == (Narrow.name(), "7")
    assert [output.label for output in found.outputs] == ["above", "above"]
    assert found.request_id == answer.headers["X-Request-ID"]
    assert [(row.x, row.margin) for row in heard.inputs] == [(1.0, 0.0), (3.0, 0.5)]


@pytest.mark.parametrize(
    "media",
    ["application/json; charset=utf-8", "Application/JSON", "application/x-www-form-urlencoded"],
)
def test_json_is_read_under_each_of_its_usual_names(toy: Starlette, media: str) -> None:
    assert send(toy, {"inputs": [{"x": 1, "y": 2}]}, content_type=media).status_code == 200


def test_a_raw_picture_is_one_input_and_the_query_holds_its_options(
    sees: Starlette, heard: Heard
) -> None:
    png = encode(PICTURE)
    assert ask(sees, "POST", "/?top_k=2", png, content_type="image/png").status_code == 200
    assert heard.inputs[0].image.tolist() == PICTURE.tolist()
    assert heard.inputs[0].top_k == 2
    assert ask(sees, "POST", "/", png, content_type="IMAGE/PNG").status_code == 200
    sent = {"inputs": [{"image": base64.b64encode(png).decode()}]}
    assert send(sees, sent).status_code == 200
    assert heard.inputs[0].image.tolist() == PICTURE.tolist()


def test_a_field_that_is_like_the_key_offers_the_key(sees: Starlette) -> None:
    found = problem(send(sees, {"inputs": [{"item_id": "p0042"}]}), 422)
    assert "'item_id'. Did you mean 'image_id', which names a stored row of images?" in found.detail
    assert "image is missing" in problem(send(sees, {"inputs": [{"imag": "a"}]}), 422).detail


def test_a_large_picture_is_read_too(sees: Starlette, heard: Heard) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert ask(sees, "POST", "/", encode(noise), content_type="image/png").status_code == 200
    assert heard.inputs[0].image.tolist() == noise.tolist()


def test_a_raw_text_is_one_input_and_options_may_be_lists(reads: Starlette, heard: Heard) -> None:
    path = "/?top_k=3&exclude=a&exclude=b"
    answer = ask(reads, "POST", path, "好的 good".encode(), content_type="text/plain")
    assert answer.status_code == 200
    assert heard.inputs == [Words(text="好的 good", top_k=3, exclude=["a", "b"])]


@pytest.mark.parametrize(
    ("path", "pointer"), [("/?top_k=x", "/inputs/0/top_k"), ("/?topk=3", "/inputs/0/topk")]
)
def test_a_wrong_option_in_the_query_is_named(reads: Starlette, path: str, pointer: str) -> None:
    found = problem(ask(reads, "POST", path, b"hello", content_type="text/plain"), 422)
    assert [fault.pointer for fault in found.errors] == [pointer]


def test_a_text_that_is_no_utf8_cannot_be_read(reads: Starlette) -> None:
    found = problem(ask(reads, "POST", "/", b"ab\xff", content_type="text/plain"), 400)
    assert found.detail == "The text is not UTF-8: byte 2 breaks it. Encode it as UTF-8."


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nope", b'{"inputs": [{"x": NaN, "y": 1}]}', b'{"inputs": [{"x": 1e400}]}',
        b'{"inputs": ' + b"[" * 8_000 + b"]" * 8_000 + b"}", b'{"inputs": "\\ud800"}',
        b'{"inputs": [{"x": Infinity}]}', b"\xff\xfe", b'\xef\xbb\xbf{"inputs": []}',
    ],
)  # fmt: skip
def test_what_is_not_json_cannot_be_read(toy: Starlette, body: bytes) -> None:
    found = problem(send(toy, body), 400)
    assert found.code == "malformed"
    assert found.detail.startswith("The body is not JSON: ")
    assert found.detail.endswith('It looks like {"inputs": [{"x": ...}]}.')


@pytest.mark.parametrize("content", [[], 3, None, {}, {"inputs": {}}, {"input": [{"x": 1}]}])
def test_a_body_without_inputs_shows_how_one_looks(toy: Starlette, content: Any) -> None:
    assert 'The body has no list "inputs".' in problem(send(toy, content), 422).detail


def test_a_body_with_more_than_inputs_is_told_where_options_belong(toy: Starlette) -> None:
    content = {"inputs": [{"x": 1, "y": 2}], "margin": 3}
    assert "Options belong into each input." in problem(send(toy, content), 422).detail


def test_a_number_in_the_query_must_be_finite() -> None:
    class Measured(BaseModel):
        text: str
        share: float = 0.5

    class Measures(Side):
        Input: ClassVar[type[BaseModel]] = Measured

    app = build(Measures, Heard())
    assert ask(app, "POST", "/?share=0.25", b"a", content_type="text/plain").status_code == 200
    found = problem(ask(app, "POST", "/?share=nan", b"a", content_type="text/plain"), 422)
    assert found.detail == "/inputs/0/share: share is nan; it must be a finite number."


def test_ids_may_be_numbers(heard: Heard) -> None:
    app = build(catalog.find("recsys.recommend"), heard)
    row = {"user_id": 42, "items": [1, "2"], "exclude": [3]}
    assert send(app, {"inputs": [row]}).status_code == 200
    asked = heard.inputs[0]
    assert (asked.user_id, asked.items, asked.exclude) == ("42", ["1", "2"], ["3"])
    assert send(app, {"inputs": [{"user_id": 7.0, "items": [2.0]}]}).status_code == 200
    assert (heard.inputs[0].user_id, heard.inputs[0].items) == ("7", ["2"])
    for large in ("12345678901234567890123", "9007199254740993.0", "1e23", '"1.23457E+22"'):
        body = f'{{"inputs": [{{"user_id": {large}}}]}}'.encode()
        assert "id" in problem(send(app, body), 422).errors[0].message
    assert send(app, {"inputs": [{"user_id": "12345678901234567890123"}]}).status_code == 200
    found = problem(send(app, {"inputs": [{"user_id": 4.5}, {"user_id": True}]}), 422)
    assert [fault.message for fault in found.errors] == [
        "user_id is 4.5; it must be a string.",
        "user_id is true; it must be a string.",
    ]


def test_options_in_the_query_of_a_json_body_are_told_where_they_belong(reads: Starlette) -> None:
    body = b'{"inputs": [{"text": "a"}]}'
    answer = ask(reads, "POST", "/?top_k=3", body, content_type="application/json")
    assert problem(answer, 422).detail == (
        "The query has 'top_k', but the body is JSON. Options belong into each input."
    )


@pytest.mark.parametrize("charset", ["latin-1", "ISO-8859-1", '"windows-1252"', "utf-16-le"])
def test_a_text_is_read_in_the_charset_that_it_names(
    reads: Starlette, heard: Heard, charset: str
) -> None:
    body = "déjà vu".encode(charset.strip('"'))
    media = f"text/plain; charset={charset}"
    assert ask(reads, "POST", "/", body, content_type=media).status_code == 200
    assert heard.inputs[0].text == "déjà vu"


@pytest.mark.parametrize("charset", ["klingon", "idna", "zlib", "hex"])
def test_a_charset_that_is_not_known_is_refused(reads: Starlette, charset: str) -> None:
    media = f"text/plain; charset={charset}"
    assert problem(ask(reads, "POST", "/", b"a", content_type=media), 415).detail == (
        f"The charset {charset!r} is not read here. Send the text as UTF-8."
    )


def test_a_text_that_breaks_its_charset_cannot_be_read(reads: Starlette) -> None:
    answer = ask(reads, "POST", "/", b"ab\xff", content_type="text/plain; charset=ascii")
    assert problem(answer, 400).detail == (
        "The text is not ASCII: byte 2 breaks it. Encode it as UTF-8."
    )


def test_json_is_utf8(toy: Starlette) -> None:
    answer = send(toy, {"inputs": []}, content_type="application/json; charset=utf-16")
    assert problem(answer, 415).detail == (
        "The charset 'utf-16' is not read in application/json. JSON is UTF-8."
    )


@pytest.mark.parametrize("value", [2**53, 2**64, -(10**40), 1e300, True, "5", 5.5, None, [1], {}])
def test_an_integer_out_of_its_bounds_is_refused_or_read_exactly(
    reads: Starlette, heard: Heard, value: Any
) -> None:
    answer = send(reads, {"inputs": [{"text": "a", "top_k": value}]})
    if answer.status_code == 200:
        assert heard.inputs[0].top_k == int(value)
    else:
        assert problem(answer, 422).errors[0].pointer == "/inputs/0/top_k"


def test_too_many_inputs_are_refused_with_the_limit(toy: Starlette) -> None:
    found = problem(send(toy, {"inputs": [{"x": 1, "y": 2}] * 4}), 413)
    assert (
        found.detail == "The request has 4 inputs; it takes 1 to 3. Send them in several requests."
    )
    assert (found.errors[0].limit, found.errors[0].actual) == (3, 4)
    assert "it takes 1 to 3" in problem(send(toy, {"inputs": []}), 422).detail


@pytest.mark.parametrize(
    "media", ["text/html", "video/mp4", "multipart/form-data; boundary=x", "?"]
)
def test_an_unknown_content_type_is_told_which_are_read(sees: Starlette, media: str) -> None:
    found = problem(ask(sees, "POST", "/", b"x", content_type=media), 415)
    assert found.detail.endswith("Send application/json or image/*.")


ROW = b'{"inputs": [{"x": 1, "y": 2}]}'


def test_a_body_may_be_gzip_in_one_part_or_several(toy: Starlette) -> None:
    for packed in (gzip.compress(ROW), gzip.compress(ROW[:9]) + gzip.compress(ROW[9:])):
        assert send(toy, packed, content_encoding="GZip").status_code == 200


def test_what_gzip_holds_is_under_the_same_limit_as_any_body(toy: Starlette) -> None:
    assert send(toy, gzip.compress(ROW.ljust(LIMIT)), content_encoding="gzip").status_code == 200
    for bomb in (ROW.ljust(LIMIT + 1), b" " * 10_000_000):
        found = problem(send(toy, gzip.compress(bomb), content_encoding="gzip"), 413)
        assert found.detail.startswith("The body has more than 20,000 bytes when it is unpacked")
        assert found.errors[0].limit == LIMIT


def test_a_gzip_of_very_many_parts_is_unpacked_in_time_that_grows_with_its_length() -> None:
    began = time.perf_counter()
    assert _unpacked(gzip.compress(b"") * 200_000 + gzip.compress(ROW), LIMIT) == ROW
    assert time.perf_counter() - began < 10  # where each part copies the rest it takes a minute


def test_a_body_that_is_no_whole_gzip_or_packed_otherwise_is_refused(toy: Starlette) -> None:
    whole = gzip.compress(ROW)
    for body in (whole[:-9], whole[:5], b"\x1f\x8b", b""):
        found = problem(send(toy, body, content_encoding="gzip"), 400)
        assert found.detail == "The gzip of the body breaks off. Send all of it."
    for body in (ROW, whole[:-2] + b"xx", whole + b"more"):
        found = problem(send(toy, body, content_encoding="gzip"), 400)
        assert found.detail.startswith("The body is no gzip: ")
    found = problem(send(toy, ROW, content_encoding="br"), 415)
    assert found.detail == (
        "The content encoding 'br' is not read here. Send the body as it is, or as gzip."
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [{"text": "a film"}]}', b' \n{"text": "a film"}', b'[{"text": "a film"}]',
        b'\xef\xbb\xbf{"inputs": []}',
    ],
)  # fmt: skip
def test_json_that_is_sent_as_plain_text_is_not_taken_for_a_text(
    reads: Starlette, body: bytes
) -> None:
    found = problem(ask(reads, "POST", "/", body, content_type="text/plain;charset=UTF-8"), 415)
    assert found.detail == (
        "The content type is 'text/plain', but the body is JSON. Send application/json."
    )


@pytest.mark.parametrize("text", ["{braces} in a text", "[1]", "[sic] it said", '"quoted"', "[]"])
def test_a_text_with_brackets_is_a_text(reads: Starlette, heard: Heard, text: str) -> None:
    answer = ask(reads, "POST", "/", text.encode(), content_type="text/plain")
    assert (answer.status_code, heard.inputs[0].text) == (200, text)


@pytest.mark.parametrize("named", [{}, {"content_type": "application/x-www-form-urlencoded"}])
def test_json_needs_no_content_type_and_what_is_none_is_told_to_name_its_own(
    reads: Starlette, heard: Heard, named: dict[str, Any]
) -> None:
    body = b'{"inputs": [{"text": "a film"}]}'
    assert ask(reads, "POST", "/", body, **named).status_code == 200
    assert heard.inputs[0].text == "a film"
    for other in (b"a wonderful film", b"text=a+wonderful+film", b"\x89PNG\r\n"):
        found = problem(ask(reads, "POST", "/", other, **named), 400)
        assert found.detail.endswith("Name another content type, such as text/plain.")


def bomb() -> bytes:
    drawn = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(drawn, "PNG")
    return drawn.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "bytes"),
        (b"GIF89a", ""),
        (b"<svg onload='x'/>", ""),
        (encode(PICTURE)[:-30], "truncated or broken"),
        (bomb(), "The picture has 81,000,000 pixels (9000 x 9000); the limit is 25,000,000."),
    ],
)
def test_a_picture_that_cannot_be_decoded_is_refused_raw_and_in_json(
    sees: Starlette, data: bytes, sentence: str
) -> None:
    raw = problem(ask(sees, "POST", "/", data, content_type="image/png"), 422)
    sent = {"inputs": [{"image": base64.b64encode(data).decode()}]}
    for found in (raw, problem(send(sees, sent), 422)):
        assert [fault.pointer for fault in found.errors] == ["/inputs/0/image"]
        assert sentence in found.detail


@pytest.mark.parametrize(
    "value", ["not base64!", "ünïcode", "YWJj\n", 3, None, [], [[1, 2], [3]], {}, [[0.5]], True]
)
def test_a_picture_that_is_no_base64_is_refused(sees: Starlette, value: Any) -> None:
    found = problem(send(sees, {"inputs": [{"image": value}]}), 422)
    assert [fault.pointer for fault in found.errors] == ["/inputs/0/image"]


def test_a_get_says_which_version_answers(toy: Starlette) -> None:
    assert ask(toy, "GET", "/").json() == {"model": Narrow.name(), "version": "0"}


def test_a_raw_body_fills_the_first_required_field_if_it_is_one() -> None:
    assert raw_input(Classify) == ("image", "image/*")
    assert raw_input(Reads) == ("text", "text/plain")
    assert raw_input(Side) == ("", "")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "x", "y", "image", "text", "top_k", "~/"]), inner
        )
    ),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=60)
    | trees.map(lambda tree: json.dumps(tree).encode())
    | st.lists(trees, max_size=3).map(lambda rows: json.dumps({"inputs": rows}).encode())
)
media_types = st.sampled_from(["application/json", "image/png", "text/plain", "", "x/y"])
queries = st.sampled_from(["", "?top_k=3", "?top_k=", "?image=x", "?text=a&text=b", "?%ff=%00"])


@pytest.mark.slow
@settings(max_examples=150)
@given(body=bodies, media=media_types, query=queries)
def test_no_body_makes_it_fail(body: bytes, media: str, query: str) -> None:
    for task in (Narrow, Reads, Classify):
        answer = ask(build(task, Heard()), "POST", f"/{query}", body, content_type=media)
        assert answer.status_code == 200 or problem(answer, answer.status_code).status < 500


@settings(max_examples=60)
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 200))
@pytest.mark.slow
def test_no_picture_makes_it_fail(place: int, flip: int, cut: int) -> None:
    data = bytearray(encode(PICTURE))
    data[place % len(data)] ^= flip
    answer = ask(build(Classify, Heard()), "POST", "/", bytes(data[: len(data) - cut % 20]),
                 content_type="image/png")  # fmt: skip
    assert answer.status_code in {200, 422}

"""Texts are read in plain characters, and no text holds up the others."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp._plain import MOST, PIECE, plain


@given(st.text(max_size=200))
def test_a_text_is_read_in_the_form_nfkc(text: str) -> None:
    assert plain(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize("character", ["\ufdfa", "\u3316", "é", "a"])
def test_a_long_text_is_read_as_far_as_a_bound(character: str) -> None:
    text = character * MOST
    whole, read = unicodedata.normalize("NFKC", text), plain(text)
    assert whole.startswith(read)
    assert min(len(whole), MOST) <= len(read) <= MOST + 18 * PIECE

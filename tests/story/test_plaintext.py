"""Received text fit to be read: nothing acts, nothing hides, nothing is endless, nothing pretends to be a sentence."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trionyx_proxy.story.plaintext import ascii_only, name, quoted, visible

ANY_TEXT = st.text(st.characters(), max_size=300) | st.text(
    st.sampled_from('a\x1b[31m\r\n\u202e\u2066\u200b\u0301\u3164\ufe0f\U000e0041\ud800\\“”"<>&א '),
    max_size=60,
)
LIMITS = st.integers(12, 120)


def is_harmless(text: str) -> bool:
    return all(char.isprintable() and unicodedata.category(char) != "Cf" for char in text)


@given(ANY_TEXT, LIMITS)
@example("\x1b]8;;https://evil.example\x07", 80)
@example("a" * 500, 12)
def test_everything_can_be_seen_and_is_bounded(text: str, limit: int) -> None:
    for shown, most in (
        (visible(text, limit), limit),
        (quoted(text, limit), limit + 2),
        (name(text, limit), limit + 2),
        (ascii_only(text, limit), limit),
    ):
        assert is_harmless(shown)
        assert len(shown) <= most
    assert ascii_only(text, limit).isascii()


@given(ANY_TEXT)
def test_a_name_is_one_word_or_stands_in_marks_that_it_cannot_end(text: str) -> None:
    shown = name(text)
    if shown == text:
        assert re.fullmatch(r"[!-~]+", shown) and not set(shown) & set("“”,;()\"'\\")
    else:
        assert shown[0] == "“" and shown[-1] == "”"
        assert not set(shown[1:-1]) & set("“”")
        assert all(unicodedata.bidirectional(char) not in ("R", "AL", "AN") for char in shown)


@given(ANY_TEXT)
def test_a_value_cannot_end_its_marks(text: str) -> None:
    assert not set(quoted(text)[1:-1]) & set("“”")


@given(ANY_TEXT, ANY_TEXT)
def test_what_is_shown_whole_is_shown_unmistakably(one: str, other: str) -> None:
    # The longest escape has ten characters, so nothing is cut here.
    assert (visible(one, 10_000) == visible(other, 10_000)) == (one == other)
    assert (ascii_only(one, 10_000) == ascii_only(other, 10_000)) == (one == other)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("José", "José"),
        ("日本", "日本"),
        ("שלום", "שלום"),
        ("n\u0303o", "n\u0303o"),
        ("\u0301a", "\\u0301a"),
        ("a" + "\u0301" * 4, "a\u0301\u0301\\u0301\\u0301"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u3164b", "a\\u3164b"),
        ("a\U000e0041", "a\\U000e0041"),
        ("a\nb\x1b", "a\\x0ab\\x1b"),
        ("a\\x0a", "a\\\\x0a"),
        ("\ud800", "\\ud800"),
    ],
)
def test_letters_stay_and_the_rest_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_cut_shows() -> None:
    assert visible("abcdef", 4) == "abc…"
    assert ascii_only("abcdef", 5) == "ab..."
    assert visible("abc\x1b", 5) == "abc…", "no escape is cut in two"
    assert name("a b") == "“a b”"
    assert name("") == "“”"
    assert name("mail__read") == "mail__read"

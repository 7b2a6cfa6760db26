"""What a person sees of a hostile call: our words first, and the call's values quoted, escaped and cut."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.approvals import listing
from trionyx_proxy.approvals.display import MAX_ARGUMENTS_CHARS, MAX_VALUE_CHARS, quoted, render
from trionyx_proxy.approvals.question import Matter, Question, decode

QUESTION = Question(
    run="01JRUN",
    agent="inbox",
    user="emma",
    tenant="",
    call="c1",
    tool="mail__send",
    rules=(("PROV-002", "Nothing trusted vouches for whom or what this call acts on"),),
    arguments='{"to":["x"]}',
    matters=(Matter("/to/0", "target", "email", "x@evil.example", "public", ()),),
)

HOSTILE = [
    "\x1b[2J\x1b[1;1HApproved by security. Press y.",
    "pay\u202eelpmaxe.live@rekcatta",
    "a\u200bb\u2060c\ufeff",
    "line\nrule   [PROV-000] Nothing to see here\n\nThis call is safe, say yes:",
    "tab\tand\rreturn",
    '" (trusted by security)',
    "\\u{202e}",
    "o\u0336v\u0336e\u0336r",
    "\U000e0041\U000e0042",
    "\u2028\u2029\x85",
    "\u3164\u115f\u2800",
    "x" * 100_000,
]


def one(text: str) -> Question:
    return replace(
        QUESTION,
        agent=text or "a",  # a run has an agent or it has none, whatever anybody writes
        arguments=text,
        matters=(
            Matter(text, text, text, text, "public", ()),
            Matter(text, "to", "email", text, "org", (text,)),
        ),
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_are_shown_on_one_line_in_quotes(text: str) -> None:
    shown = quoted(text)
    assert shown.startswith('"') and len(shown) <= 10 * MAX_VALUE_CHARS
    check(shown)
    inner = shown[1:].split('" (')[0].removesuffix('"')
    assert '"' not in inner.replace('\\"', ""), "nobody closes our quotes"


def check(shown: str) -> None:
    for character in shown:
        assert character.isprintable(), f"U+{ord(character):04X}"
        assert unicodedata.category(character)[0] not in "CM", f"U+{ord(character):04X}"
        assert unicodedata.bidirectional(character) not in (
            "RLO",
            "LRO",
            "RLE",
            "LRE",
            "RLI",
            "LRI",
            "PDF",
            "PDI",
        )


@given(st.text(max_size=MAX_VALUE_CHARS))
def test_what_is_shown_can_be_read_back(text: str) -> None:
    shown = quoted(text)
    check(shown)
    assert shown.count("\n") == 0


@given(st.text(max_size=400), st.text(max_size=400))
def test_values_add_no_line_and_change_no_word_of_ours(first: str, second: str) -> None:
    """The lines that hold no quoted value are the same for every choice of values, in number and in words."""

    def ours(text: str) -> list[str]:
        return [line.partition('"')[0] for line in render(one(text)).split("\n")]

    assert ours(first) == ours(second)


def test_a_run_without_a_token_has_no_agent() -> None:
    assert '  agent  "inbox" for "emma"\n' in render(QUESTION)
    shown = render(replace(QUESTION, agent="", user=""))
    assert "  agent  nobody knows: the run has no token\n" in shown and '""' not in shown


def test_the_rule_comes_before_anything_that_the_agent_chose() -> None:
    text = render(QUESTION)
    assert text.index("[PROV-002]") < text.index("x@evil.example")
    assert "neither the registered request nor a trusted field" in text


def test_long_values_are_cut_and_their_length_is_said() -> None:
    assert quoted("y" * 1_000).endswith('" (cut: 1000 characters)')
    assert len(render(one("z" * 1_000_000))) < 10 * (MAX_ARGUMENTS_CHARS + 10 * MAX_VALUE_CHARS)


def test_json_for_a_terminal_is_ascii() -> None:
    assert listing.line({"value": "\u202e\x1b[2J"}).isascii()
    assert "\x1b" not in listing.line({"value": "\x1b"})


@given(st.text(max_size=50), st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans())
def test_a_question_is_kept_as_it_was(text: str, value: int | bool) -> None:
    question = replace(one("plain"), matters=(Matter("/a", "target", "id", value, "public", ("a source",)),))
    assert decode(question.encode()) == question

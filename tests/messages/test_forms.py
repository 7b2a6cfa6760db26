"""The forms of what runs tell each other: questions and their bits, messages, and who the data says may talk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.core.label import BOTTOM
from trionyx_proxy.messages.peers import CATEGORIES, MessageLimits, Peers
from trionyx_proxy.messages.questions import (
    MAX_NUMBER,
    Question,
    millibits,
    read_answers,
    read_questions,
    stored_questions,
)
from trionyx_proxy.messages.structure import (
    MAX_KEYS,
    MAX_LIST,
    MAX_TEXT_BYTES,
    MessageError,
    leaves,
    read_message,
)
from trionyx_testing.workspace import ANY_DATA

NAMES = st.text("abcXYZ_-09", min_size=1, max_size=8)
BOOLS = st.builds(lambda name: {"name": name, "type": "bool"}, NAMES)
ENUMS = st.builds(
    lambda name, options: {"name": name, "type": "enum", "options": options},
    NAMES,
    st.lists(NAMES, min_size=2, max_size=9, unique=True),
)
INTEGERS = st.builds(
    lambda name, least, size: {"name": name, "type": "integer", "minimum": least, "maximum": least + size},
    NAMES,
    st.integers(-MAX_NUMBER, 0),
    st.integers(1, 40),
)
TYPED = st.lists(
    st.one_of(BOOLS, ENUMS, INTEGERS), min_size=1, max_size=3, unique_by=lambda question: question["name"]
)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
VALUES = st.booleans() | st.integers(-50, 50) | NAMES | st.none()


def accepted(question: Question, candidates: list[Any]) -> set[str]:
    found = set()
    for candidate in candidates:
        try:
            found.add(json.dumps(question.answered(candidate, None)))
        except MessageError:
            continue
    return found


@pytest.mark.guarantee("G34")
@given(TYPED)
def test_there_are_no_more_answers_than_the_bits_that_are_charged_for(given_: list[dict[str, Any]]) -> None:
    questions = read_questions(given_)
    assert stored_questions([question.to_json() for question in questions]) == questions
    answers = 1
    for question in questions:
        near = [*range(question.minimum - 3, question.maximum + 4), True, False, 1.0, None]
        answers *= len(accepted(question, [*near, *question.options, "other", "true", "1"]))
    # Silence is one more answer.
    assert (answers + 1) ** 1000 <= 2 ** millibits(questions)


@pytest.mark.guarantee("G34")
@given(TYPED, st.data())
def test_an_answer_is_of_what_was_asked_or_none(given_: list[dict[str, Any]], data: st.DataObject) -> None:
    questions = read_questions(given_)
    names = st.sampled_from([question.name for question in questions]) | NAMES
    answers = data.draw(
        st.lists(
            st.fixed_dictionaries({"name": names}, optional={"value": VALUES, "text": NAMES}), max_size=4
        )
    )
    try:
        read = read_answers(questions, answers)
    except MessageError:
        return
    assert read.keys() == {question.name for question in questions}
    for question in questions:
        value = read[question.name]
        match question.type:
            case "bool":
                assert value is True or value is False
            case "enum":
                assert value in question.options
            case _:
                assert type(value) is int and question.minimum <= value <= question.maximum


@pytest.mark.parametrize(
    "question",
    [
        {"name": "a", "type": "bool", "words": 3},
        {"name": "a", "type": "enum"},
        {"name": "a", "type": "enum", "options": ["x"]},
        {"name": "a", "type": "enum", "options": ["x", "x"]},
        {"name": "a", "type": "enum", "options": [str(number) for number in range(65)]},
        {"name": "a", "type": "integer", "minimum": 1},
        {"name": "a", "type": "integer", "minimum": 1, "maximum": 1},
        {"name": "a", "type": "integer", "minimum": 0, "maximum": MAX_NUMBER + 1},
        {"name": "a", "type": "text", "words": 13},
        {"name": "a", "type": "text", "words": 0},
        {"name": "a", "type": "summary", "words": 501},
    ],
)
def test_what_has_no_bounds_is_no_question(question: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        read_questions([question])


def test_questions_of_a_kind_are_asked_together_and_no_others() -> None:
    flag, words = {"name": "a", "type": "bool"}, {"name": "b", "type": "text", "words": 2}
    for given_ in ([], [flag, flag], [flag, words], [flag | {"name": str(n)} for n in range(9)]):
        with pytest.raises(MessageError):
            read_questions(given_)


@given(st.text(max_size=40) | JSONS.map(json.dumps))
def test_a_message_is_a_text_or_an_object_as_it_was_sent(text: str) -> None:
    try:
        read = read_message(text)
    except MessageError:
        return
    assert read == text if isinstance(read, str) else read == json.loads(text)
    assert len(list(leaves(read))) <= MAX_KEYS * MAX_LIST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "[1]",
        "{",
        '{"a":1,"a":2}',
        '{"a":NaN}',
        '{"":1}',
        '{"a\\u0000":1}',
        "x" * (MAX_TEXT_BYTES + 1),
        '{"a":' * 6 + "1" + "}" * 6,
        json.dumps({"a": "x" * 1_025}),
        json.dumps({"a": [1] * (MAX_LIST + 1)}),
        json.dumps({str(number): 1 for number in range(MAX_KEYS + 1)}),
        json.dumps({"k" * 129: 1}),
    ],
)
def test_a_message_has_bounds_and_a_refusal_repeats_nothing_of_it(text: str) -> None:
    with pytest.raises(MessageError) as refusal:
        read_message(text)
    assert len(str(refusal.value)) < 250 and "xx" not in str(refusal.value)


@pytest.mark.guarantee("G34")
@given(JSONS, JSONS)
def test_data_that_cannot_be_read_permits_nothing(peers: Any, limits: Any) -> None:
    read = Peers.from_data({"peers": {"a": peers, "b": peers}, "messages": limits})
    listed = isinstance(peers, dict) and all(
        isinstance(peers.get(side), list) and "b" in peers[side] and "a" in peers[side]
        for side in ("send_to", "receive_from")
    )
    assert read.permits("a", "b") is listed
    assert all(read.rate("a", "b", category) == 0 for category in CATEGORIES)
    for bound in ("bits_per_run", "expires_s", "max_depth"):
        value = getattr(read.limits, bound)
        assert type(value) is int and value >= 0
    assert not read.permits("c", "a") and read.clearance("c") == BOTTOM


@pytest.mark.guarantee("G34")
@given(st.booleans(), st.booleans(), st.booleans())
def test_both_sides_are_asked(sends: bool, receives: bool, other_way: bool) -> None:
    def peer(send: bool, receive: bool) -> dict[str, Any]:
        return {"send_to": ["a", "b"] * send, "receive_from": ["a", "b"] * receive, "clearance": ANY_DATA}

    read = Peers.from_data({"peers": {"a": peer(sends, other_way), "b": peer(other_way, receives)}})
    assert read.permits("a", "b") is (sends and receives)
    assert not read.permits("a", "a") and not read.permits("", "a")


def test_a_bound_that_is_no_number_closes() -> None:
    odd = {
        "bits_per_run": True,
        "bits_per_pair": "9",
        "expires_s": -1,
        "max_waiting": 1.5,
        "max_depth": 1 << 40,
    }
    assert MessageLimits.read(odd) == MessageLimits()

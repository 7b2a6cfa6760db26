"""Answers are parsed strictly: one reading, closed shape, known rules, the manifest's packs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_policies.answer import Answer, parse_answer
from trionyx_policies.decision import Rule
from trionyx_policies.errors import EvaluationCode, EvaluationError

pytestmark = pytest.mark.guarantee("G03")

RULES = {
    name: Rule(name, pack, "title", "remedy")
    for name, pack in (("AA-001", "a"), ("AA-002", "a"), ("BB-001", "b"))
}
PACKS = ("a", "b")
LABEL = {"categories": ["x", "c"], "integrity": "org", "level": "secret", "readers": "*"}
ANSWER: dict[str, Any] = {
    "schema": "trionyx.decision/v1",
    "deny": [{"id": "AA-001", "pack": "a", "msg": "seen in the record only"}],
    "approve": [],
    "allow": [{"id": "BB-001", "pack": "b"}],
    "oblige": [{"id": "AA-002", "pack": "a", "type": "drop_arg", "pointer": "/x", "value": None}],
    "label": [{"id": "AA-002", "pack": "a", "label": LABEL}],
    "packs": ["b", "a"],
}


def parse(raw: bytes) -> Answer:
    return parse_answer(raw, rules=RULES, packs=PACKS)


def refused(raw: bytes) -> EvaluationCode:
    with pytest.raises(EvaluationError) as caught:
        parse(raw)
    return caught.value.code


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    answer = copy.deepcopy(ANSWER)
    change(answer)
    return json.dumps(answer).encode()


def test_a_whole_answer_is_read() -> None:
    answer = parse(json.dumps(ANSWER).encode())
    assert answer.deny == {RULES["AA-001"]} and answer.allow == {RULES["BB-001"]}
    assert [(o.rule, o.type, o.pointer, o.value) for o in answer.oblige] == [
        ("AA-002", "drop_arg", "/x", b"null")
    ]
    assert answer.labels == {b'{"categories":["c","x"],"integrity":"org","level":"secret","readers":"*"}'}


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(ANSWER).replace('"allow"', '"allow": [], "allow"').encode(),
        json.dumps(ANSWER).replace('"id": "AA-001"', '"id": "AA-001", "id": "AA-002"').encode(),
        json.dumps(ANSWER).replace('"level"', '"level": "public", "level"').encode(),
    ],
)
def test_a_repeated_member_is_no_answer(raw: bytes) -> None:
    assert refused(raw) is EvaluationCode.DUPLICATE_KEY


@pytest.mark.parametrize("packs", [["a"], ["a", "b2"], ["a", "b", "c"], [], ["a", "a"]])
def test_other_packs_than_the_manifests_are_drift(packs: list[str]) -> None:
    code = refused(changed(lambda answer: answer.update(packs=packs)))
    assert code is (EvaluationCode.ILL_TYPED if packs == ["a", "a"] else EvaluationCode.DRIFT)


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "an unknown member": lambda a: a.update(effect="allow"),
    "another schema": lambda a: a.update(schema="trionyx.decision/v2"),
    "a set that is no list": lambda a: a.update(deny={}),
    "a truth instead of a set": lambda a: a.update(allow=True),
    "an entry without id": lambda a: a["deny"].append({"pack": "a"}),
    "an entry without pack": lambda a: a["deny"].append({"id": "AA-001"}),
    "an entry with more": lambda a: a["deny"].append({"id": "AA-001", "pack": "a", "unless": "x"}),
    "a string for an entry": lambda a: a["deny"].append("AA-001"),
    "an unknown rule": lambda a: a["deny"].append({"id": "AA-003", "pack": "a"}),
    "a rule of another pack": lambda a: a["allow"].append({"id": "AA-001", "pack": "b"}),
    "a rule of the host": lambda a: a["allow"].append({"id": "TRX-DEFAULT", "pack": "host"}),
    "a label with another level": lambda a: a["label"][0]["label"].update(level="top secret"),
    "a label that lacks a member": lambda a: a["label"][0]["label"].pop("readers"),
    "a label that is a string": lambda a: a["label"][0].update(label="secret"),
    "a demand without value": lambda a: a["oblige"][0].pop("value"),
    "a demand that is no pointer": lambda a: a["oblige"][0].update(pointer="x"),
    "a number without canonical form": lambda a: a["oblige"][0].update(value=2**60),
    "a huge number": lambda a: a["oblige"][0].update(value=10**400),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_shape_is_no_answer(name: str) -> None:
    assert refused(changed(WRONG[name])) is EvaluationCode.ILL_TYPED


@pytest.mark.parametrize("key", sorted(ANSWER))
def test_every_member_is_mandatory(key: str) -> None:
    assert refused(changed(lambda answer: answer.pop(key))) is EvaluationCode.ILL_TYPED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'{"allow":true}',
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ]
    + [
        json.dumps(ANSWER).replace("null", word).encode()
        for word in ("NaN", "Infinity", "-Infinity", "1e999")
    ]
    + [b"9" * 5000, json.dumps(ANSWER).encode() + b" {}"],
)
def test_what_is_not_the_document_is_no_answer(raw: bytes) -> None:
    assert refused(raw) is EvaluationCode.ILL_TYPED


def test_an_endless_answer_is_too_large() -> None:
    assert refused(b" " * (1 << 20) + json.dumps(ANSWER).encode()) is EvaluationCode.TOO_LARGE


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE+-tfn \\u', max_size=200).map(str.encode)
)
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    assert isinstance(refused(raw), EvaluationCode)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_spoilt_byte_gives_an_answer_of_known_rules_or_none(place: int, byte: int) -> None:
    raw = bytearray(json.dumps(ANSWER).encode())
    raw[place % len(raw)] = byte
    try:
        answer = parse(bytes(raw))
    except EvaluationError:
        return
    assert answer.deny | answer.approve | answer.allow <= set(RULES.values())

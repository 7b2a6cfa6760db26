"""The policy input: the closed shape, canonical bytes, projected strings, and counters that cannot be raced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.resources import files

import jsonschema_rs
import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.core.account import KEPT_FINGERPRINTS, Tally
from trionyx_proxy.core.document import MAX_STRING_BYTES, History, policy_input, project
from trionyx_proxy.core.effect import AskPolicy
from trionyx_proxy.core.event import CallRequested, Event, RecordStored, ResultArrived, VerdictReached
from trionyx_proxy.core.label import BOTTOM, TOP
from trionyx_proxy.core.request import CallId, Request
from trionyx_proxy.core.run import Run
from trionyx_testing.calls import (
    ALLOW,
    AT_MS,
    DENY,
    IDENTITY,
    OK,
    PROMPT,
    READ,
    SEND,
    new_run,
    request,
)

NOTHING = History(0, 0, 0, {}, 0)


def document(asked: Request, history: History = NOTHING) -> bytes:
    return policy_input(IDENTITY, PROMPT, BOTTOM, history, asked)


def test_the_document_of_a_call() -> None:
    asked = replace(request("a"), facts=b'{"paths":[]}')
    history = History(7, 1, 2, {"egress": 1}, 3)
    assert json.loads(document(asked, history)) == {
        "schema": "trionyx.input/v1",
        "point": "tool.call",
        "run": {
            "id": "01JRUN", "agent": "inbox", "user": "emma", "tenant": "acme", "registered": True,
            "calls": 7, "denied": 1, "in_flight": 2, "by_effect": {"egress": 1}, "same_call": 3,
        },
        "prompt": {
            "sha256": "ab" * 32, "registered": True,
            "emails": ["jonas@corp.example"], "hosts": ["www.corp.example"], "paths": ["/notes/today.md"],
            "implies": [],
        },
        "label": {"categories": [], "integrity": "user", "level": "public", "readers": "*"},
        "tool": {
            "id": "mail__read", "server": "mail", "catalog": "mail", "name": "read", "effect": "read",
            "descriptor_sha256": "ee" * 32,
        },
        "args": {"id": "m1"},
        "args_meta": {"bytes": 11, "sha256": hashlib.sha256(b'{"id":"m1"}').hexdigest()},
        "facts": {"paths": []},
        "approvals": [],
        "time": {"ms": AT_MS, "hour": 1, "weekday": 5},
    }  # fmt: skip


def test_the_document_fits_the_schema_that_the_policies_ship() -> None:
    schema = json.loads(files("trionyx_policies").joinpath("bundle/schemas/input.json").read_bytes())
    facts = b'{"invalid":[],"origins":[],"paths":[],"recipients":[],"text":[],"urls":[]}'
    for label in (BOTTOM, TOP, READ.output):
        asked = replace(request("a"), facts=facts)
        data = policy_input(IDENTITY, PROMPT, label, History(7, 1, 2, {"egress": 1}, 3), asked)
        jsonschema_rs.validator_for(schema).validate(json.loads(data))


@pytest.mark.parametrize(
    ("at_ms", "hour", "weekday"),
    [
        (0, 0, 4),
        (86_399_999, 23, 4),
        (86_400_000, 0, 5),
        (1_763_942_400_000, 0, 1),
        (1_763_942_399_999, 23, 7),
    ],
)
def test_clock_fields_follow_from_the_arrival_time(at_ms: int, hour: int, weekday: int) -> None:
    time = json.loads(document(replace(request("a"), at_ms=at_ms)))["time"]
    assert time == {"ms": at_ms, "hour": hour, "weekday": weekday}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.integers(1365, 1370).map("€".__mul__)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
    | TEXTS | st.sampled_from([4095, 4096, 4097]).map("x".__mul__) | st.just('\\"' * 2049),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def projected(value: object) -> object:
    """The projection over values, the obvious way."""
    match value:
        case str() if len(value.encode()) > MAX_STRING_BYTES:
            return {"bytes": len(value.encode()), "sha256": hashlib.sha256(value.encode()).hexdigest()}
        case list():
            return [projected(item) for item in value]
        case dict():
            return {name: projected(item) for name, item in value.items()}
    return value


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_projection_over_text_equals_projection_over_values(value: dict[str, object]) -> None:
    assert project(rfc8785.dumps(value)) == rfc8785.dumps(projected(value))


@pytest.mark.guarantee("G10")
@given(st.dictionaries(TEXTS, VALUES, max_size=3))
def test_the_document_is_canonical_whatever_the_arguments(value: dict[str, object]) -> None:
    data = document(replace(request("a"), arguments=rfc8785.dumps(value)))
    assert rfc8785.dumps(orjson.loads(data)) == data


def test_a_huge_string_of_escapes_is_projected_in_one_pass() -> None:
    text = '"\\' * 50_000
    arguments = rfc8785.dumps({"body": text, "id": "m1"})
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(project(arguments)) == {"body": {"bytes": 100_000, "sha256": digest}, "id": "m1"}


def asked_documents(run: Run, *events: Event) -> tuple[Run, list[dict[str, object]]]:
    documents = []
    for event in events:
        run, effects = run.receive(event)
        documents += [json.loads(effect.document) for effect in effects if isinstance(effect, AskPolicy)]
    return run, documents


def counters(document: dict[str, object]) -> dict[str, object]:
    run = document["run"]
    assert isinstance(run, dict)
    return {name: run[name] for name in ("calls", "denied", "in_flight", "by_effect", "same_call")}


def test_counters_grow_with_the_calls_before() -> None:
    a, b, c = CallId("a"), CallId("b"), CallId("c")
    run, documents = asked_documents(
        new_run(),
        CallRequested(request("a")),
        VerdictReached(a, ALLOW),
        RecordStored(a, 1),
        ResultArrived(a, OK),
        RecordStored(a, 2),
        CallRequested(request("b")),
        VerdictReached(b, DENY),
        RecordStored(b, 3),
        CallRequested(request("c", READ, b'{"id":"other"}')),
    )
    assert [counters(document) for document in documents] == [
        {"calls": 0, "denied": 0, "in_flight": 0, "by_effect": {}, "same_call": 0},
        {"calls": 1, "denied": 0, "in_flight": 0, "by_effect": {"read": 1}, "same_call": 1},
        {"calls": 2, "denied": 1, "in_flight": 0, "by_effect": {"read": 1}, "same_call": 0},
    ]
    assert run.open[0].id == c


def test_calls_decided_at_once_count_those_that_came_before_them() -> None:
    """Else two of them could both take the last place of a budget."""
    events = [CallRequested(request(call, SEND)) for call in "abc"]
    _, documents = asked_documents(new_run(), *events)
    assert [counters(document) for document in documents] == [
        {"calls": n, "denied": 0, "in_flight": n, "by_effect": {"egress": n} if n else {}, "same_call": n}
        for n in range(3)
    ]


def test_a_call_decided_again_does_not_count_itself() -> None:
    a, b = CallId("a"), CallId("b")
    run, _ = asked_documents(new_run(), CallRequested(request("a")), VerdictReached(a, ALLOW))
    other = replace(request("b"), clearance=TOP, arguments=b'{"id":"m9"}')
    _, documents = asked_documents(run, CallRequested(other), VerdictReached(b, ALLOW), RecordStored(a, 1))
    assert counters(documents[-1]) == {
        "calls": 1, "denied": 0, "in_flight": 1, "by_effect": {"read": 1}, "same_call": 0,
    }  # fmt: skip


def test_fingerprints_tell_calls_apart_and_cannot_be_recomputed_without_the_runs_key() -> None:
    fingerprint = IDENTITY.fingerprint
    same = fingerprint(request("a"))
    assert fingerprint(request("b")) == same
    assert fingerprint(request("a", SEND)) != same
    assert fingerprint(request("a", READ, b'{"id":"m2"}')) != same
    assert replace(IDENTITY, key=b"another key of a run").fingerprint(request("a")) != same
    assert "0123456789abcdef" not in repr(IDENTITY)


def test_a_tally_forgets_the_longest_unused_fingerprint_first() -> None:
    tally = Tally()
    for n in range(KEPT_FINGERPRINTS):
        tally = tally.add(str(n))
    tally = tally.add("0").add("new")
    assert (tally.of("0"), tally.of("new"), tally.of("1"), tally.of("2")) == (2, 1, 0, 1)
    assert len(tally.counts) == KEPT_FINGERPRINTS


def test_tallies_are_equal_only_in_the_same_order() -> None:
    assert Tally().add("a").add("b") == Tally().add("a").add("b")
    assert hash(Tally().add("a")) == hash(Tally().add("a"))
    assert Tally().add("a").add("b") != Tally().add("b").add("a")

"""The records of a call: what they name, what they never show, and the run that comes back from them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.core.effect import StoreRecord
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    Event,
    RecordStored,
    ResultArrived,
    ResultFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.evidence import MAX_ORIGINS, resume
from trionyx_proxy.core.label import BOTTOM, TOP, Label
from trionyx_proxy.core.request import CallId
from trionyx_proxy.core.run import Run
from trionyx_testing.calls import (
    ALLOW,
    ASK,
    CRASHED,
    DENY,
    OK,
    READ,
    SECRET,
    TRANSFORM,
    changed,
    new_run,
    rejection,
    request,
)

A = CallId("a")
MARKER = "s3cr3t-value"
SECRETIVE = replace(request("a", READ, b'{"id":"%s"}' % MARKER.encode()), trace="toolu_01")


def records(*events: Event, run: Run | None = None) -> list[StoreRecord]:
    run = run or new_run()
    stored = []
    for event in events:
        run, effects = run.receive(event)
        stored += [effect for effect in effects if isinstance(effect, StoreRecord)]
    return stored


ALLOWED = (CallRequested(SECRETIVE), VerdictReached(A, ALLOW), RecordStored(A, 1))
LIVES: dict[str, tuple[Event, ...]] = {
    "ok": (*ALLOWED, ResultArrived(A, replace(OK, body=b'{"content":["%s"]}' % MARKER.encode()))),
    "failed": (*ALLOWED, ResultFailed(A, CRASHED)),
    "denied": (CallRequested(SECRETIVE), VerdictReached(A, DENY)),
    "ask": (CallRequested(SECRETIVE), VerdictReached(A, ASK)),
    "engine": (CallRequested(SECRETIVE), VerdictFailed(A, "timeout")),
    "rejected": (CallRejected(rejection("a")),),
    "cancelled": (*ALLOWED[:2], CallCancelled(A), RecordStored(A, 1)),
    "changed": (
        CallRequested(SECRETIVE),
        VerdictReached(A, TRANSFORM),
        ArgumentsTransformed(changed(SECRETIVE)),
        VerdictReached(A, ALLOW),
    ),
}


@pytest.mark.guarantee("G28")
@pytest.mark.parametrize("life", LIVES)
def test_no_argument_and_no_result_is_in_a_record_body(life: str) -> None:
    for record in records(*LIVES[life]):
        assert MARKER.encode() not in record.body
        assert b"m2" not in record.body


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize("life", LIVES)
def test_a_body_is_canonical_and_keeps_to_the_record_profile(life: str) -> None:
    def check(value: object) -> None:
        assert value is not None and not isinstance(value, float)
        match value:
            case dict():
                for name, member in value.items():
                    assert re.fullmatch("[a-z0-9_]+", name)
                    check(member)
            case list():
                for member in value:
                    check(member)

    for record in records(*LIVES[life]):
        value = json.loads(record.body)
        check(value)
        assert rfc8785.dumps(value) == record.body
        assert not set(value) & set(record.payloads), "the log adds a member for each payload"
        assert not set(value) & {"v", "log", "seq", "prev", "kid", "ts", "type"}


def test_an_intent_names_who_which_tool_which_rules_and_which_labels() -> None:
    (intent,) = records(*ALLOWED)
    public = {"categories": [], "integrity": "user", "level": "public", "readers": "*"}
    output = {"categories": [], "integrity": "public", "level": "secret", "readers": ["emma"]}
    body = json.loads(intent.body)
    assert re.fullmatch("[0-9a-f]{32}", body.pop("fingerprint"))
    assert body == {
        "agent": "inbox", "user": "emma", "tenant": "acme", "run": "01JRUN", "call": "a", "attempt": 1,
        "at_ms": 1_763_690_000_000, "trace": "toolu_01",
        "tool": {
            "id": "mail__read", "server": "mail", "catalog": "mail", "name": "read", "effect": "read",
            "descriptor_sha256": "ee" * 32,
        },
        "decision": {"outcome": "allow", "rules": ["CAT-001"], "obligations": [], "revision": 1, "digest": "d1"},
        "clearance": {"categories": "*", "integrity": "public", "level": "secret", "readers": []},
        "label_before": public, "output": output, "label": output,
    }  # fmt: skip
    assert intent.payloads["args"] == SECRETIVE.arguments
    assert json.loads(intent.payloads["input"])["args"] == {"id": MARKER}
    assert intent.label == Label.join(BOTTOM, READ.output)


def test_an_intent_says_in_the_clear_where_arguments_came_from_and_never_what_they_are() -> None:
    origin = {
        "arg": "/id",
        "handle": False,
        "integrity": "system",
        "role": "selector",
        "sources": [{"call": "z", "kind": "result", "pointer": "/0/id", "tool": "mail__list"}],
        "type": "id",
    }
    facts = json.dumps({"origins": [{**origin, "value": MARKER}] * (MAX_ORIGINS + 1)}).encode()
    (intent,) = records(CallRequested(replace(SECRETIVE, facts=facts)), *ALLOWED[1:])
    named = json.loads(intent.body)["origins"]
    assert len(named) == MAX_ORIGINS
    assert named[0] == {name: member for name, member in origin.items() if name != "type"}
    assert MARKER.encode() not in intent.body


def test_an_outcome_names_the_messages_that_the_call_moved() -> None:
    moved = replace(OK, messages=b'[{"id":"m1","run":"01JOTHER"}]')
    outcome = records(*ALLOWED, ResultArrived(A, moved))[-1]
    assert json.loads(outcome.body)["messages"] == [{"id": "m1", "run": "01JOTHER"}]


def test_outcomes_and_denials_say_why() -> None:
    def last(life: str) -> dict[str, object]:
        body: dict[str, object] = json.loads(records(*LIVES[life])[-1].body)
        return {
            name: body[name]
            for name in ("status", "failure", "withheld", "rules", "code", "subject")
            if name in body
        }

    assert last("ok") == {"status": "ok", "withheld": False}
    assert last("failed") == {
        "status": "failed",
        "failure": {"kind": "crashed", "sent": True},
        "withheld": True,
    }
    assert last("cancelled") == {"status": "cancelled", "withheld": True}
    assert last("denied") == {"rules": ["EGR-001"]}
    assert last("ask") == {"rules": ["TRX-ASK", "APP-001"]}
    assert last("engine") == {"rules": ["TRX-ENGINE"], "code": "timeout"}
    assert last("rejected") == {
        "rules": ["TRX-UNKNOWN-TOOL"],
        "code": "unknown_tool",
        "subject": "mail__burn",
    }


def test_a_rejected_message_is_committed_to_by_digest_and_size() -> None:
    (denied,) = records(*LIVES["rejected"])
    assert json.loads(denied.payloads["raw"]) == {"bytes": 40, "sha256": "cd" * 32}
    assert b"cdcd" not in denied.body


def test_a_run_without_tenant_records_none() -> None:
    run = replace(new_run(), identity=replace(new_run().identity, tenant=""))
    (denied,) = records(*LIVES["rejected"], run=run)
    assert "tenant" not in json.loads(denied.body)


def body(label: object = None, **members: object) -> dict[str, object]:
    return {"call": "a", "label": BOTTOM.to_json() if label is None else label, **members}


@pytest.mark.guarantee("G24")
def test_resume_reports_what_is_in_doubt_in_the_order_of_intents() -> None:
    intents = [("call.intent", body(call=call)) for call in "abcd"]
    ends = [
        ("call.outcome", body(call="c")),
        ("call.denied", body(call="a")),
        ("call.intent", body(call="b")),
    ]
    state = resume(intents + ends)
    assert state.dangling == ("b", "d")
    assert (state.usage.calls, state.usage.denied) == (4, 1)


@pytest.mark.guarantee("G24")
def test_resume_starts_at_the_floor_and_passes_over_other_records() -> None:
    assert resume([], SECRET).label == SECRET
    assert resume([("log.open", {}), ("run.open", {"label": "odd"})], SECRET).label == SECRET


@pytest.mark.guarantee("G06")
@pytest.mark.guarantee("G24")
@pytest.mark.parametrize("type_", ["call.intent", "call.outcome", "call.denied", "call.whatever"])
@pytest.mark.parametrize("label", ["*", {}, {**BOTTOM.to_json(), "level": "none"}])
def test_a_call_record_that_cannot_be_read_makes_the_run_top(type_: str, label: object) -> None:
    assert resume([(type_, body(label))]).label == TOP
    assert resume([(type_, {})]).label == TOP


ODD = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["effect", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["call.intent", "call.outcome", "call.denied", "call.other", "log.open"]),
            st.dictionaries(st.sampled_from(["call", "label", "tool", "fingerprint"]), ODD, max_size=4),
        ),
        max_size=6,
    )
)
def test_resume_never_raises(read: list[tuple[str, dict[str, object]]]) -> None:
    state = resume(read)
    assert state.usage.denied <= state.usage.calls

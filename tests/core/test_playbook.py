"""Calls as conversations: what the world tells the run, and what the run asks of the world in return."""

from __future__ import annotations

import json
from typing import Self

import pytest

from trionyx_policies.decision import Decision, Obligation, Outcome
from trionyx_proxy.core.account import PolicyVersion
from trionyx_proxy.core.effect import (
    AskPolicy,
    CancelForward,
    Effect,
    ForwardCall,
    RefuseCall,
    ReturnResult,
    StoreRecord,
    TransformArguments,
)
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    Event,
    PolicyReloaded,
    RecordFailed,
    RecordStored,
    ResultArrived,
    ResultFailed,
    TransformFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.core.request import CallId, Failure, RejectionCode, Request, Result, Tool
from trionyx_proxy.core.run import Run
from trionyx_proxy.errors import ProtocolError
from trionyx_testing.calls import (
    ALLOW,
    ALLOW_HIDING,
    ASK,
    CANCELLED,
    CRASHED,
    DENY,
    DROP,
    FILE,
    HIDDEN_ERROR,
    LABELLED,
    OK,
    READ,
    SECRET,
    SEND,
    TOOL_ERROR,
    TRANSFORM,
    UNSENT,
    changed,
    decision,
    new_run,
    rejection,
    request,
)


def described(effect: Effect) -> str:
    match effect:
        case AskPolicy(call=call):
            return f"ask {call}"
        case TransformArguments(request=asked, obligations=obligations):
            return f"transform {asked.call}" if obligations else f"classify {asked.call}"
        case StoreRecord(call=call, type=type_, body=body):
            members = json.loads(body)
            details = members.get("rules", [members["status"]] if "status" in members else [])
            return " ".join([type_.removeprefix("call."), call, *details])
        case ForwardCall(request=sent):
            return f"forward {sent.call}"
        case CancelForward(call=call):
            return f"withdraw {call}"
        case ReturnResult(call=call):
            return f"return {call}"
        case RefuseCall(call=call, refusal=refusal):
            return " ".join(["refuse", call, *(reason.id for reason in refusal.reasons)])


class Talk:
    """`talk << event >> "effect, effect"`: feed the event, and compare what the run asks for."""

    def __init__(self, run: Run | None = None) -> None:
        self.run = run or new_run()
        self.effects: tuple[Effect, ...] = ()

    def __lshift__(self, event: Event) -> Self:
        assert self.effects == (), f"nobody listened to {[described(effect) for effect in self.effects]}"
        self.run, self.effects = self.run.receive(event)
        return self

    def __rshift__(self, expected: str) -> Self:
        assert ", ".join(described(effect) for effect in self.effects) == expected
        self.effects = ()
        return self


def asks(call: str, of: Tool = READ, arguments: bytes = b'{"id":"m1"}') -> CallRequested:
    return CallRequested(request(call, of, arguments))


def verdict(call: str, decided: Decision = ALLOW) -> VerdictReached:
    return VerdictReached(CallId(call), decided)


def no_verdict(call: str) -> VerdictFailed:
    return VerdictFailed(CallId(call), "timeout")


def transformed(asked: Request) -> ArgumentsTransformed:
    return ArgumentsTransformed(changed(asked))


def stored(call: str) -> RecordStored:
    return RecordStored(CallId(call), 7)


def lost(call: str) -> RecordFailed:
    return RecordFailed(CallId(call))


def result(call: str, of: Result = OK) -> ResultArrived:
    return ResultArrived(CallId(call), of)


def failure(call: str, of: Failure = CRASHED) -> ResultFailed:
    return ResultFailed(CallId(call), of)


def cancel(call: str) -> CallCancelled:
    return CallCancelled(CallId(call))


def forwarded(talk: Talk, call: str, of: Tool = READ) -> Talk:
    return (
        talk
        << asks(call, of)
        >> f"ask {call}"
        << verdict(call)
        >> f"intent {call}"
        << stored(call)
        >> f"forward {call}"
    )


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
def test_an_allowed_call_is_recorded_before_it_is_sent_and_before_it_is_answered() -> None:
    talk = forwarded(Talk(), "a") << result("a") >> "outcome a ok" << stored("a") >> "return a"
    assert talk.run.open == ()


def test_a_tools_own_error_is_delivered_and_taints() -> None:
    harmless = Tool("mail__ping", "mail", "mail", "ping", "read", Label(), "ee")
    asked = Request(CallId("a"), harmless, b"{}", b"{}", SECRET, 0)
    talk = (
        Talk() << CallRequested(asked) >> "ask a" << verdict("a") >> "intent a" << stored("a") >> "forward a"
    )
    assert talk.run.label.integrity is Integrity.USER
    talk << result("a", TOOL_ERROR) >> "outcome a tool_error"
    assert talk.run.label.integrity is Integrity.PUBLIC
    talk << stored("a") >> "return a"


@pytest.mark.guarantee("G03")
def test_a_denied_call_is_recorded_then_refused_in_the_rules_words() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a", DENY) >> "denied a EGR-001" << stored("a")
    (refusal,) = talk.effects
    assert isinstance(refusal, RefuseCall)
    assert refusal.refusal.reasons[0].title == "title of EGR-001"
    talk >> "refuse a EGR-001"


@pytest.mark.guarantee("G03")
def test_a_policy_that_fails_denies() -> None:
    talk = Talk() << asks("a") >> "ask a" << no_verdict("a") >> "denied a TRX-ENGINE"
    talk << stored("a") >> "refuse a TRX-ENGINE"


def test_what_needs_approval_is_denied_while_nobody_can_approve() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a", ASK) >> "denied a TRX-ASK APP-001"
    talk << stored("a") >> "refuse a TRX-ASK APP-001"


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    ("code", "rule"),
    [
        (RejectionCode.MALFORMED, "TRX-MALFORMED"),
        (RejectionCode.UNKNOWN_TOOL, "TRX-UNKNOWN-TOOL"),
        (RejectionCode.UNKNOWN_METHOD, "TRX-UNKNOWN-METHOD"),
        (RejectionCode.SCHEMA, "TRX-SCHEMA"),
        (RejectionCode.UNAVAILABLE, "TRX-UNAVAILABLE"),
        (RejectionCode.OVERLOADED, "TRX-OVERLOADED"),
    ],
)
def test_a_rejected_message_is_recorded_without_asking_the_policy(code: RejectionCode, rule: str) -> None:
    talk = Talk() << CallRejected(rejection("a", code)) >> f"denied a {rule}" << stored("a")
    (refusal,) = talk.effects
    assert isinstance(refusal, RefuseCall)
    assert refusal.refusal.reasons[0].title.endswith("no tool of this name is offered")
    talk >> f"refuse a {rule}" << cancel("a") >> ""


@pytest.mark.guarantee("G07")
def test_what_was_read_may_not_be_sent() -> None:
    talk = forwarded(Talk(), "a") << result("a") >> "outcome a ok" << stored("a") >> "return a"
    (
        talk
        << asks("b", SEND)
        >> "ask b"
        << verdict("b")
        >> "denied b TRX-FLOW"
        << stored("b")
        >> "refuse b TRX-FLOW"
    )


@pytest.mark.guarantee("G07")
def test_a_label_that_rises_while_an_intent_is_recorded_stops_the_release() -> None:
    talk = Talk() << asks("a", SEND) >> "ask a" << verdict("a") >> "intent a"
    talk << asks("b", READ) >> "ask b" << verdict("b") >> "intent b"
    talk << stored("a") >> "denied a TRX-FLOW" << stored("a") >> "refuse a TRX-FLOW"


def test_a_label_that_rises_harmlessly_has_the_call_decided_again() -> None:
    talk = Talk() << asks("a", READ) >> "ask a" << verdict("a") >> "intent a"
    talk << asks("b", FILE) >> "ask b" << cancel("b") >> ""
    talk << asks("c", READ) >> "ask c" << verdict("c") >> "intent c"
    talk << stored("a") >> "ask a" << verdict("a") >> "intent a" << stored("a") >> "forward a"


def test_a_calls_own_output_does_not_count_against_it() -> None:
    """A tool that answers with more than its sink is cleared for can be called; its answer concerns the next call."""
    lookup = Tool("mail__lookup", "mail", "mail", "lookup", "egress", SECRET, "ee")
    first, second = (Request(CallId(call), lookup, b"{}", b"{}", Label(), 0) for call in "ab")
    talk = (
        Talk() << CallRequested(first) >> "ask a" << verdict("a") >> "intent a" << stored("a") >> "forward a"
    )
    talk << CallRequested(second) >> "ask b" << verdict("b") >> "denied b TRX-FLOW"


def test_a_decision_that_arrives_under_a_risen_label_is_taken_again() -> None:
    talk = Talk() << asks("a") >> "ask a" << asks("b") >> "ask b"
    talk << verdict("a") >> "intent a" << verdict("b") >> "ask b" << verdict("b") >> "intent b"


@pytest.mark.guarantee("G03")
def test_a_call_that_is_never_decided_in_time_is_denied() -> None:
    reads = [
        Tool(f"mail__{name}", "mail", "mail", name, "read", Label(categories=frozenset({name})), "ee")
        for name in "abcd"
    ]
    talk = Talk()
    for index, of in enumerate(reads):
        talk << CallRequested(
            Request(CallId(str(index)), of, b"{}", b"{}", Label(categories=frozenset("abcd")), 0)
        )
        talk >> f"ask {index}"
    talk << verdict("0") >> "intent 0" << verdict("3") >> "ask 3"
    talk << verdict("1") >> "ask 1" << verdict("1") >> "intent 1" << verdict("3") >> "ask 3"
    talk << verdict("2") >> "ask 2" << verdict("2") >> "intent 2" << verdict("3") >> "denied 3 TRX-CONTENDED"


def test_another_policy_classifies_and_decides_a_call_again() -> None:
    second = PolicyVersion(2, "d2")
    allowed = decision(Outcome.ALLOW, "CAT-001", policy=second)
    talk = Talk() << asks("a") >> "ask a" << PolicyReloaded(2, "d2") >> "" << verdict("a") >> "classify a"
    talk << ArgumentsTransformed(request("a")) >> "ask a" << verdict("a", allowed) >> "intent a"
    talk << PolicyReloaded(3, "d3") >> "" << stored("a") >> "classify a"
    talk << ArgumentsTransformed(request("a")) >> "ask a"
    (
        talk
        << verdict("a", decision(Outcome.DENY, "EGR-001", policy=PolicyVersion(3, "d3")))
        >> "denied a EGR-001"
    )


def test_an_old_request_is_not_released_by_a_new_policys_word() -> None:
    """The new policy may answer a question asked before the reload; the call was classified by the old one."""
    allowed = decision(Outcome.ALLOW, "CAT-001", policy=PolicyVersion(2, "d2"))
    talk = (
        Talk()
        << asks("a")
        >> "ask a"
        << PolicyReloaded(2, "d2")
        >> ""
        << verdict("a", allowed)
        >> "classify a"
    )
    talk << TransformFailed(CallId("a")) >> "denied a TRX-TRANSFORM"


def test_a_reload_during_the_last_decision_is_contention() -> None:
    talk = Talk() << asks("a") >> "ask a"
    for revision in (2, 3):
        talk << PolicyReloaded(revision, "d") >> ""
        (
            talk
            << verdict("a", decision(Outcome.ALLOW, "CAT-001", policy=PolicyVersion(revision, "d")))
            >> "classify a"
        )
        talk << ArgumentsTransformed(request("a")) >> "ask a"
    talk << verdict("a", decision(Outcome.ALLOW, "CAT-001", policy=PolicyVersion(3, "d"))) >> "intent a"
    talk << PolicyReloaded(4, "d") >> "" << stored("a") >> "denied a TRX-CONTENDED"


@pytest.mark.guarantee("G04")
def test_changed_arguments_are_decided_again_before_they_are_recorded_and_sent() -> None:
    asked = request("a")
    talk = (
        Talk()
        << CallRequested(asked)
        >> "ask a"
        << verdict("a", TRANSFORM)
        >> "transform a"
        << transformed(asked)
    )
    (ask,) = talk.effects
    assert isinstance(ask, AskPolicy)
    assert json.loads(ask.document)["args"] == {"id": "m2"}
    talk >> "ask a" << verdict("a")
    (intent,) = talk.effects
    assert isinstance(intent, StoreRecord)
    assert intent.payloads["args"] == changed(asked).arguments
    assert intent.payloads["original_args"] == asked.arguments
    talk >> "intent a" << stored("a")
    (forward,) = talk.effects
    assert isinstance(forward, ForwardCall)
    assert forward.request == changed(asked)


@pytest.mark.guarantee("G03")
def test_changes_that_cannot_be_made_or_do_not_settle_are_denials() -> None:
    asked = request("a")
    talk = Talk() << CallRequested(asked) >> "ask a" << verdict("a", TRANSFORM) >> "transform a"
    talk << TransformFailed(CallId("a")) >> "denied a TRX-TRANSFORM"
    talk = Talk() << CallRequested(asked) >> "ask a" << verdict("a", TRANSFORM) >> "transform a"
    talk << ArgumentsTransformed(asked) >> "ask a" << verdict("a", TRANSFORM) >> "denied a TRX-OBLIGATION"


def test_changed_arguments_that_can_no_longer_be_decided_are_denied() -> None:
    asked = request("a", FILE)
    kinds = [
        Tool(f"mail__{name}", "mail", "mail", name, "read", Label(categories=frozenset({name})), "ee")
        for name in "xy"
    ]
    talk = Talk() << CallRequested(asked) >> "ask a"
    for call, of in zip("xy", kinds, strict=True):
        talk << CallRequested(Request(CallId(call), of, b"{}", b"{}", SECRET.join(kinds_label(kinds)), 0))
        talk >> f"ask {call}" << verdict(call) >> f"intent {call}"
        moved = Request(asked.call, asked.tool, asked.arguments, b"{}", kinds_label(kinds), 0)
        if call == "x":
            talk << verdict("a", TRANSFORM) >> "ask a"
    talk << verdict("a", TRANSFORM) >> "ask a" << verdict("a", TRANSFORM) >> "transform a"
    talk << ArgumentsTransformed(moved) >> "denied a TRX-CONTENDED"


def kinds_label(kinds: list[Tool]) -> Label:
    label = Label()
    for kind in kinds:
        label = label.join(kind.output)
    return label


def test_the_smallest_result_limit_goes_with_the_call() -> None:
    limits = tuple(Obligation("LIM-001", "max_result_bytes", "", value) for value in (b"900", b"70"))
    talk = Talk() << asks("a") >> "ask a"
    talk << verdict("a", decision(Outcome.ALLOW, "CAT-001", obligations=limits)) >> "intent a" << stored("a")
    (forward,) = talk.effects
    assert isinstance(forward, ForwardCall)
    assert forward.max_result_bytes == 70


@pytest.mark.guarantee("G06")
@pytest.mark.guarantee("G02")
def test_where_text_is_hidden_the_label_rises_with_what_is_shown_before_it_is_delivered() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a", ALLOW_HIDING) >> "intent a"
    assert talk.run.label == BOTTOM
    talk << stored("a")
    (forward,) = talk.effects
    assert isinstance(forward, ForwardCall) and forward.hides_text
    talk.effects = ()
    talk << result("a", LABELLED)
    assert talk.run.label == SECRET
    (record,) = talk.effects
    assert isinstance(record, StoreRecord)
    assert record.label == SECRET
    assert record.payloads["hidden"] == LABELLED.hidden


def test_an_error_whose_text_is_hidden_does_not_taint() -> None:
    talk = (
        Talk()
        << asks("a")
        >> "ask a"
        << verdict("a", ALLOW_HIDING)
        >> "intent a"
        << stored("a")
        >> "forward a"
    )
    talk << result("a", HIDDEN_ERROR) >> "outcome a tool_error"
    assert talk.run.label == BOTTOM


def test_labels_of_the_policy_join_before_the_call_is_released() -> None:
    talk = Talk() << asks("a", SEND) >> "ask a"
    talk << verdict("a", decision(Outcome.ALLOW, "CAT-001", labels=(SECRET,))) >> "intent a"
    assert SECRET.flows_to(talk.run.label)


@pytest.mark.guarantee("G06")
def test_a_label_of_the_policy_that_cannot_be_read_is_top() -> None:
    allowed = Decision(Outcome.ALLOW, ALLOW.rules, (), (b'{"level":"nonsense"}',), 1, "d1")
    talk = Talk() << asks("a", SEND) >> "ask a" << verdict("a", allowed) >> "intent a"
    assert talk.run.label.to_json() == {
        "categories": "*",
        "integrity": "public",
        "level": "secret",
        "readers": [],
    }


@pytest.mark.guarantee("G23")
@pytest.mark.parametrize(("kind", "remedy"), [(CRASHED, "may have taken effect"), (UNSENT, "had no effect")])
def test_a_tool_that_fails_costs_a_record_and_one_clear_refusal(kind: Failure, remedy: str) -> None:
    talk = forwarded(Talk(), "a") << failure("a", kind) >> "outcome a failed" << stored("a")
    (refusal,) = talk.effects
    assert isinstance(refusal, RefuseCall)
    assert refusal.refusal.reasons[0].title.endswith(kind.detail)
    assert remedy in refusal.refusal.reasons[0].remedy
    talk >> "refuse a TRX-UPSTREAM"


@pytest.mark.guarantee("G09")
def test_after_a_lost_record_nothing_begins() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a") >> "intent a" << lost("a") >> "refuse a TRX-AUDIT"
    talk << asks("b") >> "refuse b TRX-AUDIT" << CallRejected(rejection("c")) >> "refuse c TRX-AUDIT"
    assert talk.run.open == ()


@pytest.mark.guarantee("G09")
@pytest.mark.parametrize(
    ("before", "last"),
    [
        ([], verdict("a")),
        ([], verdict("a", DENY)),
        ([], no_verdict("a")),
        ([verdict("a", TRANSFORM)], transformed(request("a"))),
        ([verdict("a", TRANSFORM)], TransformFailed(CallId("a"))),
        ([verdict("a")], stored("a")),
        ([verdict("a"), stored("a")], result("a")),
        ([verdict("a"), stored("a")], failure("a")),
        ([verdict("a"), stored("a"), cancel("a")], result("a")),
        ([verdict("a"), stored("a"), cancel("a")], failure("a", CANCELLED)),
        ([verdict("a"), stored("a"), result("a")], stored("a")),
        ([verdict("a"), stored("a"), result("a")], lost("a")),
    ],
)
def test_after_a_lost_record_nothing_is_forwarded_or_delivered(before: list[Event], last: Event) -> None:
    talk = Talk() << asks("a") >> "ask a"
    for event in before:
        talk.run, _ = talk.run.receive(event)
    talk << CallRejected(rejection("z")) >> "denied z TRX-UNKNOWN-TOOL" << lost("z") >> "refuse z TRX-AUDIT"
    talk << last >> "refuse a TRX-AUDIT"


@pytest.mark.guarantee("G09")
def test_a_denial_that_was_stored_is_told_even_in_a_dead_run() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a", DENY) >> "denied a EGR-001"
    (
        talk
        << asks("b")
        >> "ask b"
        << verdict("b", DENY)
        >> "denied b EGR-001"
        << lost("b")
        >> "refuse b TRX-AUDIT"
    )
    talk << stored("a") >> "refuse a EGR-001"


@pytest.mark.guarantee("G08")
@pytest.mark.parametrize("answer", [verdict("a"), verdict("a", DENY), no_verdict("a")])
def test_a_call_withdrawn_while_it_is_decided_ends_in_a_denial(answer: Event) -> None:
    talk = (
        Talk()
        << asks("a")
        >> "ask a"
        << cancel("a")
        >> ""
        << cancel("a")
        >> ""
        << answer
        >> "denied a TRX-CANCELLED"
    )
    talk << cancel("a") >> "" << stored("a") >> "refuse a TRX-CANCELLED" << cancel("a") >> ""


@pytest.mark.guarantee("G08")
@pytest.mark.parametrize("answer", [transformed(request("a")), TransformFailed(CallId("a"))])
def test_a_call_withdrawn_while_it_is_changed_ends_in_a_denial(answer: Event) -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a", TRANSFORM) >> "transform a" << cancel("a") >> ""
    talk << answer >> "denied a TRX-CANCELLED"


@pytest.mark.guarantee("G08")
def test_a_call_withdrawn_while_its_intent_is_recorded_ends_in_an_outcome() -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a") >> "intent a" << cancel("a") >> "" << stored("a")
    talk >> "outcome a cancelled" << stored("a") >> "refuse a TRX-CANCELLED"


@pytest.mark.guarantee("G08")
@pytest.mark.parametrize("answer", [verdict("a"), no_verdict("a")])
def test_a_call_withdrawn_while_it_is_decided_again_ends_in_an_outcome(answer: Event) -> None:
    talk = Talk() << asks("a") >> "ask a" << verdict("a") >> "intent a"
    talk << asks("b", READ) >> "ask b" << verdict("b") >> "intent b"
    talk << stored("a") >> "ask a" << cancel("a") >> "" << answer >> "outcome a cancelled"


@pytest.mark.guarantee("G08")
def test_a_call_withdrawn_at_the_tool_ends_once_whoever_wins_the_race() -> None:
    talk = forwarded(Talk(), "a") << cancel("a") >> "withdraw a" << cancel("a") >> ""
    talk << failure("a", CANCELLED) >> "outcome a failed" << stored("a") >> "refuse a TRX-CANCELLED"
    talk = forwarded(Talk(), "a") << cancel("a") >> "withdraw a" << result("a")
    (outcome,) = talk.effects
    assert isinstance(outcome, StoreRecord)
    assert json.loads(outcome.body)["withheld"] is True
    talk >> "outcome a ok" << stored("a") >> "refuse a TRX-CANCELLED"


@pytest.mark.guarantee("G08")
def test_a_withdrawal_that_comes_too_late_changes_nothing() -> None:
    talk = (
        forwarded(Talk(), "a")
        << result("a")
        >> "outcome a ok"
        << cancel("a")
        >> ""
        << stored("a")
        >> "return a"
    )
    talk << cancel("a") >> ""


@pytest.mark.parametrize(
    "event",
    [
        asks("a"),
        CallRejected(rejection("a")),
        stored("a"),
        result("a"),
        verdict("b"),
        result("b"),
        PolicyReloaded(1, "d1"),
        PolicyReloaded(0, "d0"),
    ],
)
def test_what_the_table_does_not_hold_is_a_defect_of_the_driver(event: Event) -> None:
    talk = Talk() << asks("a") >> "ask a"
    with pytest.raises(ProtocolError):
        talk.run.receive(event)


def test_a_late_duplicate_is_a_defect_of_the_driver() -> None:
    talk = forwarded(Talk(), "a") << result("a") >> "outcome a ok"
    with pytest.raises(ProtocolError, match="recording outcome"):
        talk.run.receive(result("a"))
    talk << stored("a") >> "return a"
    with pytest.raises(ProtocolError, match="not open"):
        talk.run.receive(stored("a"))


def test_a_transformed_call_is_still_a_call_of_the_same_tool() -> None:
    talk = (
        Talk() << asks("a") >> "ask a" << verdict("a", decision(Outcome.ALLOW, "X-001", obligations=(DROP,)))
    )
    talk >> "transform a"
    with pytest.raises(ProtocolError, match="another tool"):
        talk.run.receive(ArgumentsTransformed(request("a", SEND)))

"""What a person's yes is worth to the core: one call of one run under one policy, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from trionyx_policies.decision import Decision, Outcome
from trionyx_proxy.core.account import Identity, PolicyVersion
from trionyx_proxy.core.approval import Ask, Unapproved
from trionyx_proxy.core.effect import Effect, ForwardCall, RefuseCall, SeekApproval, StoreRecord, WithdrawAsk
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallCancelled,
    CallRequested,
    Event,
    PolicyReloaded,
    RecordStored,
    VerdictReached,
)
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.core.guards import MAX_ASKS, MAX_DECISIONS
from trionyx_proxy.core.request import CallId, Request
from trionyx_proxy.core.run import Run
from trionyx_testing.calls import (
    ALLOW,
    ASK,
    AT_MS,
    DENY,
    DROP,
    FILE,
    IDENTITY,
    POLICY,
    PROMPT,
    READ,
    TTL_MS,
    approval,
    approves,
    changed,
    decision,
    new_run,
    read_body,
    refuses,
    request,
)

A = CallId("a")
ASKED = request("a", READ)
RULES = ["APP-001"]


class Story:
    """Feeds events and remembers every effect."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.told: list[Effect] = []

    def feed(self, *events: Event) -> tuple[Effect, ...]:
        effects: tuple[Effect, ...] = ()
        for event in events:
            self.run, effects = self.run.receive(event)
            self.told += effects
        return effects

    def asked(self, of: Request = ASKED) -> Ask:
        """Bring a call to where a person is asked."""
        (effect,) = self.feed(
            CallRequested(of), VerdictReached(of.call, self.in_force(ASK)), RecordStored(of.call, 1)
        )
        assert isinstance(effect, SeekApproval)
        return effect.ask

    def in_force(self, decided: object = ASK) -> object:
        return replace(decided, revision=self.run.policy.revision, digest=self.run.policy.digest)

    def last(self) -> dict[str, object]:
        record = self.told[-1]
        assert isinstance(record, StoreRecord)
        return read_body(record.body)


def story() -> Story:
    return Story(new_run(approval_ttl_ms=TTL_MS))


def test_an_approved_call_is_classified_and_decided_again_and_released_under_the_approval() -> None:
    told = story()
    ask = told.asked()
    assert ask.expires_ms == AT_MS + TTL_MS and ask.request == ASKED
    assert [reason.title for reason in ask.reasons] == ["title of APP-001"]
    told.feed(approves(ask), ArgumentsTransformed(ASKED), VerdictReached(A, ASK))
    body = told.last()
    assert body["approval"] == {
        "binding": ask.binding,
        "by": "dana",
        "expires_ms": ask.expires_ms,
        "id": "a-a",
    }
    (forward,) = told.feed(RecordStored(A, 2))
    assert isinstance(forward, ForwardCall) and forward.request == ASKED


def test_what_a_person_vouched_for_may_make_the_policy_allow() -> None:
    told = story()
    told.feed(approves(told.asked()), ArgumentsTransformed(ASKED), VerdictReached(A, ALLOW))
    assert told.last()["decision"]["outcome"] == "allow"  # type: ignore[index]


@pytest.mark.guarantee("G05")
def test_no_approval_makes_up_for_a_denial() -> None:
    told = story()
    told.feed(approves(told.asked()), ArgumentsTransformed(ASKED), VerdictReached(A, DENY))
    assert told.last()["rules"] == ["EGR-001"]


def bound(**differing: object) -> str:
    """The binding of the question about ASKED, but for what is named."""
    identity = replace(
        IDENTITY,
        **{name: differing[name] for name in ("run", "agent", "user", "tenant") if name in differing},
    )
    of = ASKED
    if "tool" in differing:
        of = replace(of, tool=replace(of.tool, id=differing["tool"]))
    if "descriptor" in differing:
        of = replace(of, tool=replace(of.tool, descriptor_sha256=differing["descriptor"]))
    if "arguments" in differing:
        of = replace(of, arguments=differing["arguments"])
    return identity.binding(
        of,
        differing.get("policy", POLICY),
        differing.get("rules", RULES),
        differing.get("expires_ms", AT_MS + TTL_MS),
    )


MATRIX: dict[str, dict[str, object]] = {
    "argument": {"arguments": b'{"id":"m2"}'},
    "tool": {"tool": FILE.id},
    "descriptor": {"descriptor": "ff" * 32},
    "policy": {"policy": PolicyVersion(POLICY.revision, "d0")},
    "revision": {"policy": PolicyVersion(POLICY.revision + 1, POLICY.digest)},
    "run": {"run": "01JOTHER"},
    "agent": {"agent": "outbox"},
    "user": {"user": "jonas"},
    "tenant": {"tenant": "evil"},
    "rule": {"rules": ["APP-002"]},
    "expiry": {"expires_ms": AT_MS + 10 * TTL_MS},
}


@pytest.mark.guarantee("G32")
def test_the_matrix_starts_from_what_is_accepted() -> None:
    ask = story().asked()
    assert ask.binding == bound()


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize("differing", MATRIX)
def test_an_approval_of_anything_else_is_refused(differing: str) -> None:
    told = story()
    ask = told.asked()
    forged = replace(ask, binding=bound(**MATRIX[differing]))
    told.feed(approves(forged))
    assert told.last()["rules"] == ["TRX-APPROVAL"]
    assert not [effect for effect in told.told if isinstance(effect, ForwardCall)]


@pytest.mark.guarantee("G32")
def test_an_approval_is_refused_that_says_another_expiry_than_was_bound() -> None:
    told = story()
    ask = told.asked()
    told.feed(approves(replace(ask, expires_ms=ask.expires_ms + 1)))
    assert told.last()["rules"] == ["TRX-APPROVAL"]


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(("late_ms", "is_taken"), [(-1, True), (0, False), (1, False)])
def test_an_approval_counts_until_it_expires(late_ms: int, is_taken: bool) -> None:
    told = story()
    ask = told.asked()
    told.feed(approves(ask, at_ms=ask.expires_ms + late_ms))
    assert isinstance(told.told[-1], StoreRecord) is not is_taken


@pytest.mark.guarantee("G32")
def test_an_approval_serves_one_call() -> None:
    told = story()
    ask = told.asked()
    told.feed(approves(ask, "q7"), ArgumentsTransformed(ASKED), VerdictReached(A, ASK))
    again = told.asked(request("b", READ))
    assert again.binding == ask.binding, "the same call, so that only the use tells them apart"
    told.feed(approves(again, "q7"))
    assert told.last()["rules"] == ["TRX-APPROVAL"]


@pytest.mark.guarantee("G32")
@pytest.mark.guarantee("G24")
def test_an_approval_that_was_used_before_a_restart_is_used() -> None:
    told = story()
    told.feed(approves(told.asked(), "q7"), ArgumentsTransformed(ASKED), VerdictReached(A, ASK))
    records = [
        (effect.type, read_body(effect.body)) for effect in told.told if isinstance(effect, StoreRecord)
    ]
    state = resume(records)
    assert state.spent == {"q7"}
    later = Story(Run.resume(IDENTITY, PROMPT, POLICY, state, approval_ttl_ms=TTL_MS))
    later.feed(approves(later.asked(request("b", READ)), "q7"))
    assert later.last()["rules"] == ["TRX-APPROVAL"]


@pytest.mark.guarantee("G32")
def test_arguments_that_change_after_the_approval_are_another_question() -> None:
    told = story()
    told.feed(approves(told.asked()), ArgumentsTransformed(changed(ASKED)), VerdictReached(A, ASK))
    record = told.told[-1]
    assert isinstance(record, StoreRecord) and record.type == "call.asked"


@pytest.mark.guarantee("G32")
def test_another_rule_that_asks_is_another_question() -> None:
    told = story()
    both = decision(Outcome.ASK, "APP-001", "APP-002")
    told.feed(approves(told.asked()), ArgumentsTransformed(ASKED), VerdictReached(A, both))
    record = told.told[-1]
    assert isinstance(record, StoreRecord) and record.type == "call.asked"


def test_a_person_is_not_asked_more_than_twice_about_one_call() -> None:
    told = story()
    told.asked()
    for number in range(MAX_ASKS):
        seek = told.told[-1]
        assert isinstance(seek, SeekApproval)
        told.feed(
            approves(seek.ask, f"q{number}"),
            ArgumentsTransformed(ASKED),
            VerdictReached(A, decision(Outcome.ASK, f"APP-10{number}")),
        )
        if number < MAX_ASKS - 1:
            told.feed(RecordStored(A, 1))
    assert told.last()["rules"] == ["TRX-CONTENDED"]


def test_a_person_is_asked_about_the_arguments_that_the_policy_wants() -> None:
    told = story()
    wants = decision(Outcome.ASK, "APP-001", obligations=(DROP,))
    told.feed(CallRequested(ASKED), VerdictReached(A, wants), ArgumentsTransformed(changed(ASKED)))
    (seek,) = told.feed(VerdictReached(A, ASK), RecordStored(A, 1))
    assert isinstance(seek, SeekApproval) and seek.ask.request.arguments == changed(ASKED).arguments


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    ("why", "rule", "question"),
    [
        (Unapproved.REJECTED, "TRX-REJECTED", ""),
        (Unapproved.EXPIRED, "TRX-EXPIRED", ""),
        (Unapproved.PENDING, "TRX-PENDING", "q1"),
        (Unapproved.UNANSWERABLE, "TRX-ASK", ""),
        (Unapproved.VOID, "TRX-APPROVAL", ""),
    ],
)
def test_without_a_yes_the_call_is_denied_and_says_why(why: Unapproved, rule: str, question: str) -> None:
    told = story()
    told.feed(refuses(told.asked(), why))
    assert told.last()["rules"] == [rule, "APP-001"]
    assert told.last()["approval"] == {"id": "q1", "why": why.value}
    (refused,) = told.feed(RecordStored(A, 2))
    assert isinstance(refused, RefuseCall) and refused.refusal.approval == question


@pytest.mark.guarantee("G32")
def test_a_reload_makes_the_question_void_and_the_new_policy_decides() -> None:
    told = story()
    ask = told.asked()
    (withdrawn,) = told.feed(PolicyReloaded(2, "d2"))
    assert withdrawn == WithdrawAsk(A)
    told.feed(approves(ask), ArgumentsTransformed(ASKED))
    told.feed(VerdictReached(A, told.in_force(ASK)))  # type: ignore[arg-type]
    record = told.told[-1]
    assert isinstance(record, StoreRecord) and record.type == "call.asked", "the old yes does not count"


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(("later", "approved"), [(ASK, ("APP-001",)), (ALLOW, ())])
def test_a_call_that_is_sent_says_what_was_approved_of_it(later: Decision, approved: tuple[str, ...]) -> None:
    told = story()
    told.feed(approves(told.asked()), ArgumentsTransformed(ASKED), VerdictReached(A, later))
    (forward,) = told.feed(RecordStored(A, 2))
    assert isinstance(forward, ForwardCall) and forward.approved == approved


def test_a_question_withdrawn_by_a_reload_leaves_the_call_to_the_new_policy() -> None:
    told = story()
    ask = told.asked()
    told.feed(PolicyReloaded(2, "d2"), refuses(ask, Unapproved.VOID), ArgumentsTransformed(ASKED))
    told.feed(VerdictReached(A, told.in_force(ALLOW)))  # type: ignore[arg-type]
    record = told.told[-1]
    assert isinstance(record, StoreRecord) and record.type == "call.intent"


def test_a_no_stands_whatever_the_new_policy_says() -> None:
    told = story()
    ask = told.asked()
    told.feed(PolicyReloaded(2, "d2"), refuses(ask))
    assert told.last()["rules"] == ["TRX-REJECTED", "APP-001"]


@pytest.mark.parametrize("answer", [approves, refuses])
def test_a_withdrawn_call_is_never_released_whatever_the_answer(answer: Callable[[Ask], Event]) -> None:
    told = story()
    ask = told.asked()
    assert told.feed(CallCancelled(A)) == (WithdrawAsk(A),)
    assert told.feed(CallCancelled(A)) == ()
    told.feed(answer(ask))
    assert told.last()["rules"] == ["TRX-CANCELLED"]


def test_waiting_for_a_person_uses_up_no_decision() -> None:
    told = story()
    ask = told.asked()
    told.feed(approves(ask))
    for _ in range(MAX_DECISIONS - 1):
        told.feed(ArgumentsTransformed(ASKED))
        revision = told.run.policy.revision + 1
        stale = told.in_force(ALLOW)
        told.feed(PolicyReloaded(revision, f"d{revision}"), VerdictReached(A, stale))  # type: ignore[arg-type]
    told.feed(ArgumentsTransformed(ASKED), VerdictReached(A, told.in_force(ALLOW)))  # type: ignore[arg-type]
    record = told.told[-1]
    assert isinstance(record, StoreRecord) and record.type == "call.intent"


@pytest.mark.guarantee("G28")
def test_a_binding_cannot_be_guessed_without_the_runs_key() -> None:
    other = Identity(**{**{name: getattr(IDENTITY, name) for name in IDENTITY.__slots__}, "key": b"x" * 32})
    args = (ASKED, POLICY, RULES, AT_MS)
    assert IDENTITY.binding(*args) != other.binding(*args)
    assert approval(story().asked()).binding != json.dumps(RULES)

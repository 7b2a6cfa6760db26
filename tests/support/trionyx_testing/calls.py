"""A small world for the policy core: tools, requests, decisions, and a witness of what must never happen.

The witness is an independent reading of the properties C1–C8: it looks at events and effects only, never at the
core's own bookkeeping, and it is immutable and hashable, so that a search can carry one in each state.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace

from trionyx_policies.decision import Decision, Obligation, Outcome, Rule
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState
from trionyx_proxy.core.approval import Approval, Ask, Unapproved
from trionyx_proxy.core.effect import (
    AskPolicy,
    CancelForward,
    Effect,
    ForwardCall,
    RefuseCall,
    ReturnResult,
    SeekApproval,
    StoreRecord,
    TransformArguments,
    WithdrawAsk,
)
from trionyx_proxy.core.event import (
    ApprovalGiven,
    ApprovalRefused,
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
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level, parse_label
from trionyx_proxy.core.request import (
    CallId,
    Failure,
    FailureKind,
    Rejection,
    RejectionCode,
    Request,
    Result,
    ResultStatus,
    Tool,
)
from trionyx_proxy.core.run import Run

IDENTITY = Identity("01JRUN", "inbox", "emma", "acme", True, b"0123456789abcdef")
PROMPT = Prompt("ab" * 32, True, ("jonas@corp.example",), ("www.corp.example",), ("/notes/today.md",))
POLICY = PolicyVersion(1, "d1")
ERROR = Label(integrity=Integrity.PUBLIC)
AT_MS = 1_763_690_000_000  # Friday 2025-11-21 01:53:20 UTC

INTERNAL = Label(Integrity.PUBLIC, Level.INTERNAL)
SECRET = Label(Integrity.PUBLIC, Level.SECRET)


def tool(name: str, effect: str, output: Label) -> Tool:
    return Tool(f"mail__{name}", "mail", "mail", name, effect, output, "ee" * 32)


READ = tool("read", "read", Label(Integrity.PUBLIC, Level.SECRET, frozenset({"emma"})))
"""Its result is secret and anybody may have written it."""
SEND = tool("send", "egress", BOTTOM)
"""Sends to a recipient who is cleared for what is internal."""
FILE = tool("file", "local", Label(Integrity.ORG, Level.INTERNAL))
"""Writes where only trusted data may go, and answers with internal data."""

CLEARANCES = {READ.id: TOP, SEND.id: INTERNAL, FILE.id: Label(Integrity.ORG, Level.SECRET, frozenset())}


def request(call: str, of: Tool = READ, arguments: bytes = b'{"id":"m1"}') -> Request:
    return Request(CallId(call), of, arguments, b"{}", CLEARANCES[of.id], AT_MS)


def rejection(call: str, code: RejectionCode = RejectionCode.UNKNOWN_TOOL) -> Rejection:
    return Rejection(
        CallId(call), code, "mail__burn", "no tool of this name is offered", "cd" * 32, 40, AT_MS
    )


def changed(asked: Request) -> Request:
    return replace(asked, arguments=b'{"id":"m2"}')


HIDE = Obligation("FLOW-100", "hide_text")
DROP = Obligation("LIM-002", "drop_arg", "/bcc")


def decision(
    outcome: Outcome,
    *rules: str,
    obligations: tuple[Obligation, ...] = (),
    labels: tuple[Label, ...] = (),
    policy: PolicyVersion = POLICY,
) -> Decision:
    named = tuple(Rule(rule, "catalog", f"title of {rule}", f"remedy of {rule}") for rule in rules)
    return Decision(
        outcome, named, obligations, tuple(label.encode() for label in labels), policy.revision, policy.digest
    )


ALLOW = decision(Outcome.ALLOW, "CAT-001")
DENY = decision(Outcome.DENY, "EGR-001")
ASK = decision(Outcome.ASK, "APP-001")
ALLOW_HIDING = decision(Outcome.ALLOW, "CAT-001", obligations=(HIDE,))
TRANSFORM = decision(Outcome.ALLOW, "CAT-001", obligations=(DROP,))

OK = Result(ResultStatus.OK, b'{"content":[]}')
LABELLED = Result(ResultStatus.OK, b'{"content":[]}', SECRET, b'{"h1":"x"}')
"""Its fields were read, and part of it is hidden."""
HIDDEN_ERROR = Result(ResultStatus.TOOL_ERROR, b'{"content":[],"isError":true}', BOTTOM, b'{"h1":"x"}')
TOOL_ERROR = Result(ResultStatus.TOOL_ERROR, b'{"content":[],"isError":true}')
CRASHED = Failure(FailureKind.CRASHED, "the tool's server ended", True)
UNSENT = Failure(FailureKind.UNAVAILABLE, "the tool's server is not running", False)
CANCELLED = Failure(FailureKind.CANCELLED, "the call was withdrawn", True)


TTL_MS = 600_000


def new_run(floor: Label = BOTTOM, *, approval_ttl_ms: int = 0) -> Run:
    return Run.resume(IDENTITY, PROMPT, POLICY, RunState(floor), approval_ttl_ms=approval_ttl_ms)


def approval(ask: Ask, id_: str = "") -> Approval:
    """What a person gives who says yes."""
    rules = tuple(reason.id for reason in ask.reasons)
    return Approval(id_ or f"a-{ask.request.call}", "dana", rules, ask.expires_ms, ask.binding)


def approves(ask: Ask, id_: str = "", at_ms: int = AT_MS + 1_000) -> ApprovalGiven:
    return ApprovalGiven(ask.request.call, approval(ask, id_), at_ms)


def refuses(ask: Ask, why: Unapproved = Unapproved.REJECTED, id_: str = "q1") -> ApprovalRefused:
    return ApprovalRefused(ask.request.call, why, id_)


def call_of(event: Event | Effect) -> CallId:
    match event:
        case CallRequested(request=asked) | ArgumentsTransformed(request=asked):
            return asked.call
        case TransformArguments(request=asked) | ForwardCall(request=asked):
            return asked.call
        case CallRejected(rejection=rejected):
            return rejected.call
        case PolicyReloaded():
            return CallId("")
        case _:
            return event.call


@functools.lru_cache(maxsize=65_536)
def read_body(body: bytes) -> dict[str, object]:
    """Read a record body; a search meets the same ones again and again."""
    value: dict[str, object] = json.loads(body)
    return value


_PAST = CallId("")

ANSWERS = {
    AskPolicy: (VerdictReached, VerdictFailed),
    TransformArguments: (ArgumentsTransformed, TransformFailed),
    StoreRecord: (RecordStored, RecordFailed),
    SeekApproval: (ApprovalGiven, ApprovalRefused),
    ForwardCall: (ResultArrived, ResultFailed),
}


@dataclass(frozen=True, slots=True)
class Witness:
    """What happened so far, as far as C1–C8 speak of it; `saw` checks one step and gives the next witness.

    Args:
        floor: label the run began with.
        awaited: for each call the effect whose answer is due.
        ended: calls that were answered to the agent.
        doomed: calls that may never be forwarded: denied, failed, or withdrawn.
        waiting: calls that may not be forwarded until a person has approved them, as they then are.
        approved: the binding of the approval that was given to a call.
        used: ids of approvals that an intent names, with its call; none may serve a second call.
        forwarded: calls that were sent to a tool.
        durable: calls whose intent is acknowledged.
        closed: calls whose outcome or denial is acknowledged.
        added: what each call may have brought the run, by emitted intents and failures.
        stored: join of the labels in acknowledged records.
        told: join of what was delivered to the agent.
        lost: a record was lost.
    """

    floor: Label = BOTTOM
    awaited: frozenset[Effect] = frozenset()
    requested: frozenset[CallId] = frozenset()
    ended: frozenset[CallId] = frozenset()
    doomed: frozenset[CallId] = frozenset()
    waiting: frozenset[CallId] = frozenset()
    approved: frozenset[tuple[CallId, str]] = frozenset()
    used: frozenset[tuple[str, CallId]] = frozenset()
    forwarded: frozenset[CallId] = frozenset()
    durable: frozenset[CallId] = frozenset()
    closed: frozenset[CallId] = frozenset()
    added: tuple[tuple[CallId, Label], ...] = ()
    stored: Label = BOTTOM
    told: Label = BOTTOM
    lost: bool = False

    def saw(self, before: Run, event: Event, after: Run, effects: tuple[Effect, ...]) -> Witness:
        """Check one step of the run; fails with the property's name."""
        assert before.label.flows_to(after.label), "C3 the run's label never falls"
        now = self._heard(event)
        for effect in effects:
            now = now._asked(event, effect, self)
        awaited = [call_of(effect) for effect in now.awaited]
        open_ = {call.id for call in after.open}
        assert len(awaited) == len(set(awaited)), "C6 one answer at a time is due for a call"
        assert set(awaited) == open_, "C6 an open call waits for exactly one answer, an ended one for none"
        assert now.requested == now.ended | open_, "C6 a call is open or it has ended"
        assert after.poisoned == now.lost, "C7 a lost record poisons the run"
        total = now.floor
        for _, label in now.added:
            total = total.join(label)
        assert total == after.label, "C3 the label is what the calls brought, no less and no more"
        return now

    def _heard(self, event: Event) -> Witness:
        call = call_of(event)
        due = next((effect for effect in self.awaited if call_of(effect) == call), None)
        answered = due is not None and isinstance(event, ANSWERS[type(due)])
        now = replace(self, awaited=self.awaited - {due}) if due and answered else self
        match event, due:
            case ((CallRequested() | CallRejected()), _):
                return replace(now, requested=now.requested | {call})
            case VerdictReached(decision=decided), _ if decided.outcome is Outcome.ASK:
                return replace(now, waiting=now.waiting | {call})
            case VerdictReached(decision=decided), _ if decided.outcome is Outcome.ALLOW:
                return replace(now, waiting=now.waiting - {call})
            case VerdictReached(), _:
                return replace(now, doomed=now.doomed | {call})
            case ApprovalGiven(approval=given, at_ms=at_ms), SeekApproval(ask=ask) if (
                given.binding == ask.binding and at_ms < given.expires_ms
            ):
                return replace(now, approved=now.approved | {(call, given.binding)})
            case ApprovalRefused(why=Unapproved.REJECTED), _:
                return replace(now, doomed=now.doomed | {call})
            case ((VerdictFailed() | TransformFailed() | CallCancelled()), _):
                # A cancelled call that is with the tool already was not forwarded after the cancellation.
                return replace(now, doomed=now.doomed | {call})
            case RecordFailed(), _:
                return replace(now, lost=True)
            case RecordStored(), StoreRecord(type="call.intent", label=label):
                return replace(now, durable=now.durable | {call}, stored=now.stored.join(label))
            case RecordStored(), StoreRecord(type="call.asked", label=label):
                return replace(now, stored=now.stored.join(label))
            case RecordStored(), StoreRecord(label=label):
                return replace(now, closed=now.closed | {call}, stored=now.stored.join(label))
            case ResultArrived(result=Result(label=Label() as label)), _ if not self.lost:
                return now._adding(call, label)
            case ResultArrived(result=Result(status=ResultStatus.TOOL_ERROR)), _ if not self.lost:
                return now._adding(call, ERROR)
            case ResultFailed(), _ if not self.lost:
                return now._adding(call, ERROR)
        return now

    def _adding(self, call: CallId, label: Label) -> Witness:
        added = dict(self.added)
        added[call] = added.get(call, BOTTOM).join(label)
        return replace(self, added=tuple(sorted(added.items(), key=lambda item: item[0])))

    def _asked(self, event: Event, effect: Effect, before: Witness) -> Witness:
        call = call_of(effect)
        due = next((asked for asked in before.awaited if call_of(asked) == call), None)
        match effect:
            case AskPolicy() | TransformArguments():
                return replace(self, awaited=self.awaited | {effect})
            case StoreRecord(type=type_, body=body, payloads=payloads):
                if type_ == "call.intent":
                    document = json.loads(payloads["input"])
                    digest = hashlib.sha256(payloads["args"]).hexdigest()
                    assert document["args_meta"]["sha256"] == digest, (
                        "C1 what was decided is what is recorded"
                    )
                    assert call not in self.doomed, "C2 what is denied gets no intent"
                    used = self._consented(call, effect)
                    output = parse_label(read_body(body)["output"])
                    return replace(self, awaited=self.awaited | {effect}, used=used)._adding(call, output)
                return replace(self, awaited=self.awaited | {effect})
            case ForwardCall(request=sent):
                assert isinstance(event, RecordStored), "C1 only a stored record releases a call"
                assert isinstance(due, StoreRecord) and due.type == "call.intent", (
                    "C1 and only its own intent"
                )
                assert due.payloads["args"] == sent.arguments, "C1 the recorded bytes are the sent bytes"
                assert call not in self.forwarded | self.ended, "C1 nothing is sent twice"
                assert call not in self.doomed, "C2 what was denied or withdrawn is not sent"
                self._consented(call, due)
                assert not self.lost, "C7 nothing is sent after a lost record"
                seen = self.floor
                for other, label in self.added:
                    seen = seen if other == call else seen.join(label)
                assert seen.flows_to(sent.clearance), "C4 at release the label flows to the sink"
                return replace(self, awaited=self.awaited | {effect}, forwarded=self.forwarded | {call})
            case SeekApproval(ask=ask):
                assert isinstance(event, RecordStored), "C1 only a stored record leads to a question"
                assert isinstance(due, StoreRecord) and due.type == "call.asked", "C1 and only its own"
                assert due.payloads["args"] == ask.request.arguments, (
                    "C1 the recorded bytes are the shown bytes"
                )
                assert not self.lost, "C7 nobody is asked after a lost record"
                return replace(self, awaited=self.awaited | {effect})
            case WithdrawAsk():
                held = [asked for asked in before.awaited if call_of(asked) == call]
                assert any(isinstance(asked, SeekApproval) for asked in held), (
                    "only a question can be withdrawn"
                )
                return self
            case CancelForward():
                assert isinstance(due, ForwardCall), "only a forwarded call can be withdrawn"
                return self
            case ReturnResult(result=result):
                assert isinstance(event, RecordStored), "C1 only a stored record releases a result"
                assert isinstance(due, StoreRecord) and due.type == "call.outcome", (
                    "C1 and only its own outcome"
                )
                assert due.payloads["result"] == result.body, "C1 the recorded bytes are the delivered bytes"
                assert not self.lost, "C7 nothing is delivered after a lost record"
                told = self.told.join(dict(self.added)[call])
                assert told.flows_to(self.stored), "C1 what is told is durably labelled"
                return replace(self._ending(call), told=told)
            case RefuseCall(refusal=refusal):
                assert refusal.reasons, "a refusal gives a reason"
                if not self.lost:
                    assert call in self.closed, "C6 a refusal is on record before it is told"
                return self._ending(call)

    def _consented(self, call: CallId, intent: StoreRecord) -> frozenset[tuple[str, CallId]]:
        """C2 for what is up to a person: the intent names an approval, and it was given for exactly this."""
        body = read_body(intent.body)
        decided, given = body["decision"], body.get("approval")
        assert isinstance(decided, dict)
        assert (decided["outcome"] == "ask") == (call in self.waiting), "C2 the record says who decided"
        if call not in self.waiting:
            return self.used
        assert isinstance(given, dict), "C2 what is up to a person is not released without one"
        tool = body["tool"]
        assert isinstance(tool, dict)
        sent = Request(
            call,
            Tool(tool["id"], "", "", "", "", BOTTOM, tool["descriptor_sha256"]),
            intent.payloads["args"],
            b"",
            TOP,
            0,
        )
        policy = PolicyVersion(decided["revision"], decided["digest"])
        binding = IDENTITY.binding(sent, policy, decided["rules"], given["expires_ms"])
        assert given["binding"] == binding, "C2 an approval holds for these bytes, this tool and this policy"
        assert (call, binding) in self.approved, "C2 a person gave it, to this call"
        assert not any(id_ == given["id"] and other != call for id_, other in self.used), "C2 and to no other"
        return self.used | {(given["id"], call)}

    def _ending(self, call: CallId) -> Witness:
        assert call in self.requested, "C6 only what was asked for ends"
        assert call not in self.ended, "C6 each call ends once"
        # What an ended call did is kept only in sum: no property asks for more, and searches meet fewer states.
        added = dict(self.added)
        past = added.pop(_PAST, BOTTOM).join(added.pop(call, BOTTOM))
        return replace(
            self,
            ended=self.ended | {call},
            doomed=self.doomed - {call},
            waiting=self.waiting - {call},
            approved=frozenset(held for held in self.approved if held[0] != call),
            forwarded=self.forwarded - {call} if call in self.durable else self.forwarded,
            durable=self.durable - {call} if call in self.closed else self.durable,
            closed=self.closed - {call},
            added=tuple(sorted({_PAST: past, **added}.items(), key=lambda item: item[0])),
        )

    def check_crash(self, records: tuple[tuple[str, bytes], ...]) -> RunState:
        """Check what a later process would resume with, if this one died here with these records durable."""
        state = resume(((type_, read_body(body)) for type_, body in records), self.floor)
        assert self.told.flows_to(state.label), "after a crash the label covers what was delivered"
        assert state.label == self.stored.join(self.floor), "after a crash the label is that of the records"
        assert self.forwarded <= self.durable, "what was sent has a durable intent"
        assert set(state.dangling) == self.durable - self.closed, (
            "after a crash the calls in doubt are reported"
        )
        return state

"""A run: the frozen state of all its open calls, its label and its counters, moved forward by events.

`Run.receive` executes the rows of `lifecycle`; it is deterministic, and total on the table. It knows no
clock, no signing key, no socket and no policy engine: the driver performs the effects and feeds the answers
back.

The label a call is checked against is `OpenCall.seen`: the run's label without what that call itself will
add. A declared output joins the run's label when the intent is recorded, before anything is forwarded, so that
no other call can be released on the strength of a label that is about to rise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from trionyx_proxy.core import document, evidence
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState, Usage
from trionyx_proxy.core.approval import Ask, Unapproved
from trionyx_proxy.core.call import OpenCall, State
from trionyx_proxy.core.copying import replace
from trionyx_proxy.core.effect import (
    AskPolicy,
    CancelForward,
    Effect,
    ForwardCall,
    RefuseCall,
    ReturnResult,
    SeekApproval,
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
    ResultArrived,
    ResultFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.guards import GUARDS, is_bound
from trionyx_proxy.core.label import BOTTOM, Integrity, Label, decode_label
from trionyx_proxy.core.lifecycle import TABLE, CallEvent, Row, Step
from trionyx_proxy.core.refusal import reasons
from trionyx_proxy.core.request import CallId, Refusal
from trionyx_proxy.core.verdict import HostRule, judge
from trionyx_proxy.errors import ProtocolError

ERROR_LABEL: Final = Label(integrity=Integrity.PUBLIC)
"""What an error adds to the run's label: anybody may have written its text."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's complete state.

    Args:
        policy: the policy in force.
        label: join of the floor and of everything the run's calls brought or may yet bring; only rises.
        usage: counters; like the label a function of the records.
        open: calls that have not ended, in order of arrival; ended ones leave only label and counters.
        poisoned: a record was lost; nothing is forwarded or delivered from then on.
        spent: ids of approvals that were adopted; none is adopted twice.
        approval_ttl_ms: how long a question may be answered, from the call's arrival; 0 if nobody can be asked.
    """

    identity: Identity
    prompt: Prompt
    policy: PolicyVersion
    label: Label = BOTTOM
    usage: Usage = field(default_factory=Usage)
    open: tuple[OpenCall, ...] = ()
    poisoned: bool = False
    spent: frozenset[str] = frozenset()
    approval_ttl_ms: int = 0

    @classmethod
    def resume(
        cls,
        identity: Identity,
        prompt: Prompt,
        policy: PolicyVersion,
        state: RunState,
        *,
        approval_ttl_ms: int = 0,
    ) -> Self:
        """Begin a run in this process, new (`RunState(floor)`) or with what its records say.

        Does not end dangling calls: nobody waits for them, and their effect stays in doubt.
        """
        return cls(
            identity,
            prompt,
            policy,
            state.label,
            state.usage,
            spent=state.spent,
            approval_ttl_ms=approval_ttl_ms,
        )

    def receive(self, event: Event) -> tuple[Run, tuple[Effect, ...]]:
        """Give the next state, and the effects to perform in order.

        Raises:
            ProtocolError: the table has no row for this event in the call's state, the call is unknown, or a
                policy's revision does not rise: a defect of the driver. The run must then be given up.
        """
        if isinstance(event, PolicyReloaded):
            if event.revision <= self.policy.revision:
                raise ProtocolError(f"policy revision {event.revision} does not rise")
            # What a person was asked in the name of the old policy is void.
            void = tuple(
                WithdrawAsk(call.id)
                for call in self.open
                if call.state is State.AWAITING_APPROVAL and not call.cancelled
            )
            return replace(
                self,
                policy=PolicyVersion(event.revision, event.digest),
                prompt=replace(self.prompt, implies=event.implies),
            ), void
        call = self._addressed(event)
        rows = TABLE.get((call.state, type(event)))
        if rows is None:
            raise ProtocolError(f"`{call.id}` is {call.state}, where {type(event).__name__} has no meaning")
        run, call = self, _noted(self, call, event)
        row = next(row for row in rows if GUARDS[row.guard](run, call))
        effects: tuple[Effect, ...] = ()
        for step in row.steps:
            run, call, effect = _STEPS[step](run, call, row)
            effects += effect
        return run._with(call, row.next), effects

    def _addressed(self, event: CallEvent) -> OpenCall:
        """Give the open call that the event is about, or a new one for an event that begins one."""
        id_ = _call_id(event)
        known = next((call for call in self.open if call.id == id_), None)
        if known is not None:
            return known
        match event:
            case CallRequested(request):
                return OpenCall(id_, request, self.label, fingerprint=self.identity.fingerprint(request))
            case CallRejected(rejection):
                return OpenCall(id_, rejection, self.label)
            case CallCancelled():
                return OpenCall(id_, None, self.label)
        raise ProtocolError(f"{type(event).__name__} for `{id_}`, which is not open")

    def _with(self, call: OpenCall, state: State) -> Run:
        """Put a call in its place: in order of arrival while it is open, nowhere once it is done."""
        if state is State.DONE:
            return replace(self, open=tuple(known for known in self.open if known.id != call.id))
        begins, call = call.state is State.NEW, replace(call, state=state)
        if begins:
            return replace(self, open=(*self.open, call))
        return replace(self, open=tuple(call if known.id == call.id else known for known in self.open))

    def _raised(self, added: Label, by: CallId) -> Run:
        """Join a label into the run, and into what every other open call sees."""
        open_ = tuple(
            call if call.id == by or added.flows_to(call.seen) else replace(call, seen=call.seen.join(added))
            for call in self.open
        )
        return replace(self, label=self.label.join(added), open=open_)


def _call_id(event: CallEvent) -> CallId:
    match event:
        case CallRequested(request) | ArgumentsTransformed(request):
            return request.call
        case CallRejected(rejection):
            return rejection.call
        case _:
            return event.call


def _noted(run: Run, call: OpenCall, event: CallEvent) -> OpenCall:
    """Note the facts an event brings, before any guard asks about them."""
    match event:
        case VerdictReached(decision=decision):
            verdict = judge(decision, label=call.seen, clearance=call.request.clearance)
            return replace(call, decision=decision, verdict=verdict)
        case VerdictFailed(code=code):
            return replace(call, engine_code=code)
        case ArgumentsTransformed(request):
            if request.tool.id != call.request.tool.id:
                raise ProtocolError(f"`{call.id}` was transformed into a call of another tool")
            return replace(call, changed=request)
        case ApprovalGiven(approval=approval, at_ms=at_ms):
            return replace(call, given=approval if at_ms < approval.expires_ms else None)
        case ApprovalRefused(why=why, approval=question):
            return replace(call, unapproved=why, question=question)
        case ResultArrived(result=result):
            return replace(call, result=result)
        case ResultFailed(failure=failure):
            return replace(call, failure=failure)
        case _:
            return call


# Steps. A step gives the run and the call after it, and the effects it asks for.

_Stepped = tuple[Run, OpenCall, tuple[Effect, ...]]


def _ask(run: Run, call: OpenCall, row: Row) -> _Stepped:
    history = document.history(run.usage, run.open, call)
    asked = document.policy_input(run.identity, run.prompt, call.seen, history, call.request)
    call = replace(
        call,
        document=asked,
        asked=(call.seen, run.policy),
        decisions=call.decisions + 1,
        decision=None,
        verdict=None,
    )
    return run, call, (AskPolicy(call.id, asked),)


def _transform(run: Run, call: OpenCall, row: Row) -> _Stepped:
    transforms = call.verdict.transforms if call.verdict else ()
    return run, replace(call, transformed=True), (TransformArguments(call.request, transforms),)


def _reclassify(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, call, (TransformArguments(call.request, ()),)


def _adopt(run: Run, call: OpenCall, row: Row) -> _Stepped:
    original = call.original
    if not original and call.changed and call.changed.arguments != call.request.arguments:
        original = call.request.arguments
    return run, replace(call, subject=call.changed, original=original), ()


def _record_ask(run: Run, call: OpenCall, row: Row) -> _Stepped:
    reasons_ = call.verdict.determining if call.verdict else ()
    rules = [reason.id for reason in reasons_]
    expires_ms = call.request.at_ms + run.approval_ttl_ms
    binding = run.identity.binding(call.request, run.policy, rules, expires_ms)
    subject = run.identity.binding(call.request, run.policy, rules, 0)
    ask = Ask(call.request, reasons_, expires_ms, binding, subject)
    call = replace(call, ask=ask, asks=call.asks + 1, approval=None, unapproved=None, question="")
    return run, call, (evidence.asked_record(run.identity, call, ask, run.label),)


def _seek(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, replace(call, ask=None), (SeekApproval(call.id, call.question_put),)


def _withdraw_ask(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, call, (WithdrawAsk(call.id),)


def _adopt_approval(run: Run, call: OpenCall, row: Row) -> _Stepped:
    given = call.approval_given
    run = replace(run, spent=run.spent | {given.id})
    # A person takes longer than label and policy stay as they are: what follows is decided with a budget of its own.
    return run, replace(call, approval=given, given=None, decisions=0), ()


def _record_intent(run: Run, call: OpenCall, row: Row) -> _Stepped:
    # Where untrusted text is hidden, the label of what is shown is known only when the result is there.
    hides_text = call.verdict is not None and call.verdict.hides_text
    output = BOTTOM if hides_text else call.request.tool.output
    for label in call.decision.labels if call.decision else ():
        output = output.join(decode_label(label))
    run = run._raised(output, call.id)
    counted = call.counted
    if not call.intents:
        counted = call.request.tool.effect
        run = replace(run, usage=run.usage.with_intent(call.fingerprint, counted))
    call = replace(call, intents=call.intents + 1, counted=counted)
    return run, call, (evidence.intent_record(run.identity, call, output=output, label=run.label),)


def _record_denial(run: Run, call: OpenCall, row: Row) -> _Stepped:
    usage = run.usage.with_denial(call.fingerprint, intended=call.intents > 0)
    run = replace(run, usage=usage)
    pending = row.rule is HostRule.ASK and call.unapproved is Unapproved.PENDING
    refusal = Refusal(reasons(call, row.rule), call.question if pending else "")
    record = evidence.denied_record(run.identity, call, refusal.reasons, run.label)
    return run, call.ending(refusal), (record,)


def _record_outcome(run: Run, call: OpenCall, row: Row) -> _Stepped:
    if call.result is not None and call.result.label is not None:
        run = run._raised(call.result.label, call.id)
    elif evidence.failed(call):
        run = run._raised(ERROR_LABEL, call.id)
    refusal = Refusal(reasons(call, row.rule)) if row.rule else None
    record = evidence.outcome_record(run.identity, call, withheld=refusal is not None, label=run.label)
    return run, call.ending(refusal), (record,)


def _forward(run: Run, call: OpenCall, row: Row) -> _Stepped:
    verdict = call.judged
    # What was approved otherwise than the verdict now asks is no approval of what is sent.
    approved = call.approval.rules if call.approval and is_bound(run, call, call.approval) else ()
    is_tainted = call.seen.integrity is Integrity.PUBLIC
    forward = ForwardCall(call.request, verdict.max_result_bytes, is_tainted, verdict.hides_text, approved)
    return run, call.forwarded(), (forward,)


def _note_withdrawal(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, replace(call, cancelled=True), ()


def _withdraw(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, call, (CancelForward(call.id),)


def _return(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return run, call, (ReturnResult(call.id, call.answer),)


def _refuse(run: Run, call: OpenCall, row: Row) -> _Stepped:
    refusal = Refusal(reasons(call, row.rule)) if row.rule or not call.refusal else call.refusal
    return run, call, (RefuseCall(call.id, refusal),)


def _poison(run: Run, call: OpenCall, row: Row) -> _Stepped:
    return replace(run, poisoned=True), call, ()


_STEPS: Final[Mapping[Step, Callable[[Run, OpenCall, Row], _Stepped]]] = MappingProxyType(
    {
        Step.ASK: _ask,
        Step.TRANSFORM: _transform,
        Step.RECLASSIFY: _reclassify,
        Step.ADOPT: _adopt,
        Step.RECORD_ASK: _record_ask,
        Step.SEEK: _seek,
        Step.WITHDRAW_ASK: _withdraw_ask,
        Step.ADOPT_APPROVAL: _adopt_approval,
        Step.RECORD_INTENT: _record_intent,
        Step.RECORD_DENIAL: _record_denial,
        Step.RECORD_OUTCOME: _record_outcome,
        Step.FORWARD: _forward,
        Step.NOTE_WITHDRAWAL: _note_withdrawal,
        Step.WITHDRAW: _withdraw,
        Step.RETURN: _return,
        Step.REFUSE: _refuse,
        Step.POISON: _poison,
    }
)

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
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from trionyx_proxy.core import document, evidence
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState, Usage
from trionyx_proxy.core.call import OpenCall, State
from trionyx_proxy.core.effect import (
    AskPolicy,
    CancelForward,
    Effect,
    ForwardCall,
    RefuseCall,
    ReturnResult,
    TransformArguments,
)
from trionyx_proxy.core.event import (
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
from trionyx_proxy.core.label import BOTTOM, Integrity, Label, decode_label
from trionyx_proxy.core.lifecycle import TABLE, CallEvent, Guard, Row, Step
from trionyx_proxy.core.refusal import reasons
from trionyx_proxy.core.request import CallId, Refusal
from trionyx_proxy.core.verdict import Stance, judge
from trionyx_proxy.errors import ProtocolError

MAX_DECISIONS: Final = 3
"""Decisions per call; label or policy moving under each of them is contention, and so a denial."""

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
    """

    identity: Identity
    prompt: Prompt
    policy: PolicyVersion
    label: Label = BOTTOM
    usage: Usage = field(default_factory=Usage)
    open: tuple[OpenCall, ...] = ()
    poisoned: bool = False

    @classmethod
    def resume(cls, identity: Identity, prompt: Prompt, policy: PolicyVersion, state: RunState) -> Self:
        """Begin a run in this process, new (`RunState(floor)`) or with what its records say.

        Does not end dangling calls: nobody waits for them, and their effect stays in doubt.
        """
        return cls(identity, prompt, policy, state.label, state.usage)

    def receive(self, event: Event) -> tuple[Run, tuple[Effect, ...]]:
        """Give the next state, and the effects to perform in order.

        Raises:
            ProtocolError: the table has no row for this event in the call's state, the call is unknown, or a
                policy's revision does not rise: a defect of the driver. The run must then be given up.
        """
        if isinstance(event, PolicyReloaded):
            if event.revision <= self.policy.revision:
                raise ProtocolError(f"policy revision {event.revision} does not rise")
            return replace(self, policy=PolicyVersion(event.revision, event.digest)), ()
        call = self._addressed(event)
        rows = TABLE.get((call.state, type(event)))
        if rows is None:
            raise ProtocolError(f"`{call.id}` is {call.state}, where {type(event).__name__} has no meaning")
        run, call = self, _noted(self, call, event)
        row = next(row for row in rows if _GUARDS[row.guard](run, call))
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
        case ResultArrived(result=result):
            return replace(call, result=result)
        case ResultFailed(failure=failure):
            return replace(call, failure=failure)
        case _:
            return call


# Guards. A guard reads the run and the call with the event's facts noted; it changes nothing.


def _is_label_moved(run: Run, call: OpenCall) -> bool:
    return call.asked is None or call.asked[0] != call.seen


def _is_policy_moved(run: Run, call: OpenCall) -> bool:
    # The policy that classified the call, the one that decided it and the one in force must be one.
    decision = call.decision
    return (
        call.asked is None
        or call.asked[1] != run.policy
        or decision is None
        or PolicyVersion(decision.revision, decision.digest) != run.policy
    )


def _is_stale_too_often(run: Run, call: OpenCall) -> bool:
    stale = _is_label_moved(run, call) or _is_policy_moved(run, call)
    return stale and call.decisions >= MAX_DECISIONS


def _is_forbidden(run: Run, call: OpenCall) -> bool:
    # INVARIANT: what is neither permitted nor up to a person is forbidden, also a stance nobody thought of.
    return call.verdict is None or call.verdict.stance not in (Stance.PERMIT, Stance.ASK)


def _wants_transforms(call: OpenCall) -> bool:
    return call.verdict is not None and bool(call.verdict.transforms)


_GUARDS: Final[Mapping[Guard, Callable[[Run, OpenCall], bool]]] = MappingProxyType(
    {
        Guard.ALWAYS: lambda run, call: True,
        Guard.POISONED: lambda run, call: run.poisoned,
        Guard.CANCELLED: lambda run, call: call.cancelled,
        Guard.CANCELLED_AFTER_INTENT: lambda run, call: call.cancelled and call.intents > 0,
        Guard.FORBIDDEN: _is_forbidden,
        Guard.NEEDS_APPROVAL: lambda run, call: (
            call.verdict is not None and call.verdict.stance is Stance.ASK
        ),
        Guard.STALE_TOO_OFTEN: _is_stale_too_often,
        Guard.POLICY_MOVED: _is_policy_moved,
        Guard.LABEL_MOVED: _is_label_moved,
        Guard.TRANSFORMS: lambda run, call: _wants_transforms(call),
        Guard.TRANSFORMS_AGAIN: lambda run, call: _wants_transforms(call) and call.transformed,
        Guard.ASKED_TOO_OFTEN: lambda run, call: call.decisions >= MAX_DECISIONS,
        Guard.NOT_CLEARED: lambda run, call: not call.seen.flows_to(call.request.clearance),
        Guard.REFUSED: lambda run, call: call.refusal is not None,
    }
)


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
    refusal = Refusal(reasons(call, row.rule))
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
    verdict = call.verdict
    if verdict is None:
        return run, call.forwarded(), (ForwardCall(call.request, 0, hides_text=True),)
    forward = ForwardCall(call.request, verdict.max_result_bytes, verdict.hides_text)
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

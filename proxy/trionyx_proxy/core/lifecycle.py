"""The life of a call as a table: in which state which event leads to which effects, and why.

`run` executes these rows and has no others; the README's diagram is drawn from them. For a state and an event
the first row whose guard holds is taken, so the order of rows is part of their meaning: what forbids comes
before what permits. A pair of state and event without a row is a defect of the driver (`ProtocolError`).

This module knows names only. What a guard asks and what a step does is in `run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from trionyx_proxy.core.call import State
from trionyx_proxy.core.event import (
    ApprovalGiven,
    ApprovalRefused,
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    RecordFailed,
    RecordStored,
    ResultArrived,
    ResultFailed,
    TransformFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.verdict import HostRule

CallEvent = (
    CallRequested
    | CallRejected
    | VerdictReached
    | VerdictFailed
    | ArgumentsTransformed
    | TransformFailed
    | RecordStored
    | RecordFailed
    | ApprovalGiven
    | ApprovalRefused
    | ResultArrived
    | ResultFailed
    | CallCancelled
)
"""Every event about one call, that is, every event but PolicyReloaded."""


class Guard(StrEnum):
    """A question about run and call, after the event's facts were noted."""

    ALWAYS = "always"
    POISONED = "run poisoned"
    CANCELLED = "cancelled"
    CANCELLED_AFTER_INTENT = "cancelled after an intent"
    FORBIDDEN = "forbidden"
    UNASKABLE = "needs approval, nobody to ask"
    ASKED_PEOPLE_TOO_OFTEN = "needs approval, people asked twice"
    NEEDS_APPROVAL = "needs approval"
    NOT_BOUND = "approval not for this call"
    REJECTED = "a person said no"
    STALE_TOO_OFTEN = "label or policy moved, asked 3 times"
    POLICY_MOVED = "policy moved"
    LABEL_MOVED = "label moved"
    TRANSFORMS = "arguments to be changed"
    TRANSFORMS_AGAIN = "to be changed again"
    ASKED_TOO_OFTEN = "asked 3 times"
    NOT_CLEARED = "label does not flow"
    REFUSED = "refusal due"


class Step(StrEnum):
    """What a row does, in order. Named for the effect where there is one."""

    ASK = "AskPolicy"
    TRANSFORM = "TransformArguments"
    RECLASSIFY = "TransformArguments(nothing)"
    ADOPT = "take the changed arguments"
    RECORD_ASK = "StoreRecord(asked)"
    SEEK = "SeekApproval"
    WITHDRAW_ASK = "WithdrawAsk"
    ADOPT_APPROVAL = "take the approval"
    RECORD_INTENT = "StoreRecord(intent)"
    RECORD_DENIAL = "StoreRecord(denied)"
    RECORD_OUTCOME = "StoreRecord(outcome)"
    FORWARD = "ForwardCall"
    NOTE_WITHDRAWAL = "note the withdrawal"
    WITHDRAW = "CancelForward"
    RETURN = "ReturnResult"
    REFUSE = "RefuseCall"
    POISON = "poison the run"


@dataclass(frozen=True, slots=True)
class Row:
    """One transition.

    Args:
        rule: the host rule behind this row's refusal; None where policy or message give the reason.
        reason: why the row is as it is, one line.
    """

    state: State
    event: type[CallEvent]
    guard: Guard
    steps: tuple[Step, ...]
    next: State
    reason: str
    rule: HostRule | None = None


def _dead_run(state: State, event: type[CallEvent], reason: str) -> Row:
    return Row(state, event, Guard.POISONED, (Step.REFUSE,), State.DONE, reason, HostRule.AUDIT)


def _withdrawn(state: State, event: type[CallEvent]) -> tuple[Row, Row]:
    """Rows for an answer that comes to a call the agent has withdrawn meanwhile."""
    return (
        Row(
            state, event, Guard.CANCELLED_AFTER_INTENT, (Step.RECORD_OUTCOME,), State.RECORDING_OUTCOME,
            "an intent is on record, so its outcome must be: withdrawn, never forwarded", HostRule.CANCELLED,
        ),
        Row(
            state, event, Guard.CANCELLED, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
            "a withdrawn call ends in a record like any other", HostRule.CANCELLED,
        ),
    )  # fmt: skip


def _lost_record(state: State) -> Row:
    return Row(
        state, RecordFailed, Guard.ALWAYS, (Step.POISON, Step.REFUSE), State.DONE,
        "what is not on record did not happen; after one lost record nothing may", HostRule.AUDIT,
    )  # fmt: skip


# One row per line group, columns as in `Row`; a table reads best as a table.
# fmt: off
ROWS: Final[tuple[Row, ...]] = (
    _dead_run(State.NEW, CallRequested, "nothing can be recorded any more, so nothing may begin"),
    Row(State.NEW, CallRequested, Guard.ALWAYS, (Step.ASK,), State.DECIDING,
        "every call is decided"),
    _dead_run(State.NEW, CallRejected, "refused in any case; there is no log left to say so"),
    Row(State.NEW, CallRejected, Guard.ALWAYS, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "what has no single meaning is denied without asking, and recorded"),
    Row(State.NEW, CallCancelled, Guard.ALWAYS, (), State.DONE,
        "the withdrawal crossed the end of the call; there is nothing left to end"),

    _dead_run(State.DECIDING, VerdictReached, "nothing is released after a lost record"),
    *_withdrawn(State.DECIDING, VerdictReached),
    Row(State.DECIDING, VerdictReached, Guard.FORBIDDEN, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "forbid trumps permit, an error forbids, and what no rule permits is denied"),
    Row(State.DECIDING, VerdictReached, Guard.UNASKABLE, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "nobody is there to approve", HostRule.ASK),
    Row(State.DECIDING, VerdictReached, Guard.ASKED_PEOPLE_TOO_OFTEN, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "people are not worn down by one call", HostRule.CONTENDED),
    Row(State.DECIDING, VerdictReached, Guard.STALE_TOO_OFTEN, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "a decision that never catches up is no decision", HostRule.CONTENDED),
    Row(State.DECIDING, VerdictReached, Guard.POLICY_MOVED, (Step.RECLASSIFY,), State.TRANSFORMING,
        "another policy may classify the call differently, before it decides"),
    Row(State.DECIDING, VerdictReached, Guard.LABEL_MOVED, (Step.ASK,), State.DECIDING,
        "the answer is about a label that no longer holds"),
    Row(State.DECIDING, VerdictReached, Guard.TRANSFORMS_AGAIN, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "changes that do not settle at once are a defect of the policy", HostRule.OBLIGATION),
    Row(State.DECIDING, VerdictReached, Guard.TRANSFORMS, (Step.TRANSFORM,), State.TRANSFORMING,
        "the policy permits other arguments, not these"),
    Row(State.DECIDING, VerdictReached, Guard.NEEDS_APPROVAL, (Step.RECORD_ASK,), State.RECORDING_ASK,
        "what a person is asked is on record before anybody is asked"),
    Row(State.DECIDING, VerdictReached, Guard.ALWAYS, (Step.RECORD_INTENT,), State.RECORDING_INTENT,
        "permitted and cleared; what the call may bring joins the run's label from here on"),
    _dead_run(State.DECIDING, VerdictFailed, "nothing is released after a lost record"),
    *_withdrawn(State.DECIDING, VerdictFailed),
    Row(State.DECIDING, VerdictFailed, Guard.ALWAYS, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "no answer permits nothing", HostRule.ENGINE),
    Row(State.DECIDING, CallCancelled, Guard.ALWAYS, (Step.NOTE_WITHDRAWAL,), State.DECIDING,
        "the answer is due soon and is awaited, so that none comes late"),

    _dead_run(State.TRANSFORMING, ArgumentsTransformed, "nothing is released after a lost record"),
    *_withdrawn(State.TRANSFORMING, ArgumentsTransformed),
    Row(State.TRANSFORMING, ArgumentsTransformed, Guard.ASKED_TOO_OFTEN, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "changed arguments must be decided, and the decisions are used up",
        HostRule.CONTENDED),
    Row(State.TRANSFORMING, ArgumentsTransformed, Guard.ALWAYS, (Step.ADOPT, Step.ASK), State.DECIDING,
        "the decided bytes are the sent bytes, so changed ones are decided again"),
    _dead_run(State.TRANSFORMING, TransformFailed, "nothing is released after a lost record"),
    *_withdrawn(State.TRANSFORMING, TransformFailed),
    Row(State.TRANSFORMING, TransformFailed, Guard.ALWAYS, (Step.RECORD_DENIAL,), State.RECORDING_DENIAL,
        "the policy permits only arguments that the tool does not take", HostRule.TRANSFORM),
    Row(State.TRANSFORMING, CallCancelled, Guard.ALWAYS, (Step.NOTE_WITHDRAWAL,), State.TRANSFORMING,
        "the answer is due soon and is awaited, so that none comes late"),

    _dead_run(State.RECORDING_INTENT, RecordStored, "nothing is forwarded after a lost record"),
    Row(State.RECORDING_INTENT, RecordStored, Guard.CANCELLED, (Step.RECORD_OUTCOME,),
        State.RECORDING_OUTCOME, "an intent is on record, so its outcome must be: withdrawn, never forwarded",
        HostRule.CANCELLED),
    Row(State.RECORDING_INTENT, RecordStored, Guard.NOT_CLEARED, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "the label rose while the intent was being recorded", HostRule.FLOW),
    Row(State.RECORDING_INTENT, RecordStored, Guard.STALE_TOO_OFTEN, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "a decision that never catches up is no decision", HostRule.CONTENDED),
    Row(State.RECORDING_INTENT, RecordStored, Guard.POLICY_MOVED, (Step.RECLASSIFY,), State.TRANSFORMING,
        "another policy may classify the call differently, before it decides"),
    Row(State.RECORDING_INTENT, RecordStored, Guard.LABEL_MOVED, (Step.ASK,), State.DECIDING,
        "the recorded decision is about a label that no longer holds"),
    Row(State.RECORDING_INTENT, RecordStored, Guard.ALWAYS, (Step.FORWARD,), State.FORWARDED,
        "decided, cleared and durably recorded: the only way to the tool"),
    _lost_record(State.RECORDING_INTENT),
    Row(State.RECORDING_INTENT, CallCancelled, Guard.ALWAYS, (Step.NOTE_WITHDRAWAL,), State.RECORDING_INTENT,
        "the record is under way; what it says is ended by another"),

    _dead_run(State.RECORDING_ASK, RecordStored, "nobody is asked about what can no longer be released"),
    *_withdrawn(State.RECORDING_ASK, RecordStored),
    Row(State.RECORDING_ASK, RecordStored, Guard.POLICY_MOVED, (Step.RECLASSIFY,), State.TRANSFORMING,
        "another policy may not ask, and nobody is asked in the name of one that is gone"),
    Row(State.RECORDING_ASK, RecordStored, Guard.ALWAYS, (Step.SEEK,), State.AWAITING_APPROVAL,
        "the question is durable: the only way to a person"),
    _lost_record(State.RECORDING_ASK),
    Row(State.RECORDING_ASK, CallCancelled, Guard.ALWAYS, (Step.NOTE_WITHDRAWAL,), State.RECORDING_ASK,
        "the record is under way; nobody will be asked"),

    _dead_run(State.AWAITING_APPROVAL, ApprovalGiven, "nothing is released after a lost record"),
    *_withdrawn(State.AWAITING_APPROVAL, ApprovalGiven),
    Row(State.AWAITING_APPROVAL, ApprovalGiven, Guard.POLICY_MOVED, (Step.RECLASSIFY,), State.TRANSFORMING,
        "an approval holds under the policy that asked; another one decides for itself"),
    Row(State.AWAITING_APPROVAL, ApprovalGiven, Guard.NOT_BOUND, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "an approval holds for one call of one run, once", HostRule.APPROVAL),
    Row(State.AWAITING_APPROVAL, ApprovalGiven, Guard.ALWAYS, (Step.ADOPT_APPROVAL, Step.RECLASSIFY),
        State.TRANSFORMING, "what the person vouched for counts now, and the call is decided again"),
    _dead_run(State.AWAITING_APPROVAL, ApprovalRefused, "nothing is released after a lost record"),
    *_withdrawn(State.AWAITING_APPROVAL, ApprovalRefused),
    Row(State.AWAITING_APPROVAL, ApprovalRefused, Guard.REJECTED, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "a person's no needs no policy", HostRule.ASK),
    Row(State.AWAITING_APPROVAL, ApprovalRefused, Guard.POLICY_MOVED, (Step.RECLASSIFY,), State.TRANSFORMING,
        "the question went with its policy; the new one decides"),
    Row(State.AWAITING_APPROVAL, ApprovalRefused, Guard.ALWAYS, (Step.RECORD_DENIAL,),
        State.RECORDING_DENIAL, "without a person's yes the call is denied", HostRule.ASK),
    Row(State.AWAITING_APPROVAL, CallCancelled, Guard.CANCELLED, (), State.AWAITING_APPROVAL,
        "withdrawn already"),
    Row(State.AWAITING_APPROVAL, CallCancelled, Guard.ALWAYS, (Step.NOTE_WITHDRAWAL, Step.WITHDRAW_ASK),
        State.AWAITING_APPROVAL, "nobody needs to answer any more; an answer may have won the race"),

    _dead_run(State.FORWARDED, ResultArrived, "a result that cannot be recorded is withheld"),
    Row(State.FORWARDED, ResultArrived, Guard.ALWAYS, (Step.RECORD_OUTCOME,), State.RECORDING_OUTCOME,
        "an error text makes the label rise now, before anybody reads it"),
    _dead_run(State.FORWARDED, ResultFailed, "refused in any case; there is no log left to say so"),
    Row(State.FORWARDED, ResultFailed, Guard.ALWAYS, (Step.RECORD_OUTCOME,), State.RECORDING_OUTCOME,
        "the intent is on record, so its failure must be", HostRule.UPSTREAM),
    Row(State.FORWARDED, CallCancelled, Guard.ALWAYS, (Step.WITHDRAW,), State.WITHDRAWING,
        "the tool is told; whether it listens will be seen"),

    _dead_run(State.WITHDRAWING, ResultArrived, "a result that cannot be recorded is withheld"),
    Row(State.WITHDRAWING, ResultArrived, Guard.ALWAYS, (Step.RECORD_OUTCOME,), State.RECORDING_OUTCOME,
        "the result won the race: it happened and is recorded, but nobody waits for it", HostRule.CANCELLED),
    _dead_run(State.WITHDRAWING, ResultFailed, "refused in any case; there is no log left to say so"),
    Row(State.WITHDRAWING, ResultFailed, Guard.ALWAYS, (Step.RECORD_OUTCOME,), State.RECORDING_OUTCOME,
        "withdrawn at the tool, or failed on the way; the record says which", HostRule.CANCELLED),
    Row(State.WITHDRAWING, CallCancelled, Guard.ALWAYS, (), State.WITHDRAWING,
        "withdrawn already"),

    _dead_run(State.RECORDING_OUTCOME, RecordStored, "nothing is delivered after a lost record"),
    Row(State.RECORDING_OUTCOME, RecordStored, Guard.REFUSED, (Step.REFUSE,), State.DONE,
        "there is no result, or nobody waits for it"),
    Row(State.RECORDING_OUTCOME, RecordStored, Guard.ALWAYS, (Step.RETURN,), State.DONE,
        "result and label are durable: the only way to the agent"),
    _lost_record(State.RECORDING_OUTCOME),
    Row(State.RECORDING_OUTCOME, CallCancelled, Guard.ALWAYS, (), State.RECORDING_OUTCOME,
        "too late: the outcome is being recorded and stands"),

    Row(State.RECORDING_DENIAL, RecordStored, Guard.ALWAYS, (Step.REFUSE,), State.DONE,
        "a denial is durable before the agent learns of it"),
    _lost_record(State.RECORDING_DENIAL),
    Row(State.RECORDING_DENIAL, CallCancelled, Guard.ALWAYS, (), State.RECORDING_DENIAL,
        "it is being refused already"),
)
# fmt: on


def _index() -> Mapping[tuple[State, type[CallEvent]], tuple[Row, ...]]:
    rows: dict[tuple[State, type[CallEvent]], tuple[Row, ...]] = {}
    for row in ROWS:
        rows[row.state, row.event] = (*rows.get((row.state, row.event), ()), row)
    return MappingProxyType(rows)


TABLE: Final = _index()
"""The rows by state and event, in the order in which their guards are asked. The last is always ALWAYS."""


def diagram() -> str:
    """Draw the table as a Mermaid state diagram.

    One arrow per pair of states, a line per row: `event [guard] / steps`. Rows without steps are not drawn.
    """
    arrows: dict[tuple[State, State], list[str]] = {}
    for row in ROWS:
        if row.steps:
            guard = "" if row.guard is Guard.ALWAYS else f" [{row.guard}]"
            line = f"{row.event.__name__}{guard} / {', '.join(row.steps)}"
            arrows.setdefault((row.state, row.next), []).append(line)
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state}" as {state.name}' for state in State if state is not State.NEW]
    for (state, following), labels in arrows.items():
        source = "[*]" if state is State.NEW else state.name
        lines.append(f"    {source} --> {following.name} : {'<br/>'.join(labels)}")
    lines.append(f"    {State.DONE.name} --> [*]")
    return "\n".join(lines) + "\n"

"""What the core asks of the world. The driver performs each and answers with the event named here.

An effect is a request, not a suggestion: the driver adds, drops and reorders nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trionyx_policies.decision import Obligation
from trionyx_proxy.core.approval import Ask
from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import CallId, Refusal, Request, Result


@dataclass(frozen=True, slots=True)
class AskPolicy:
    """Evaluate `document` (canonical JSON, `trionyx.input/v1`). Answer: VerdictReached or VerdictFailed."""

    call: CallId
    document: bytes


@dataclass(frozen=True, slots=True)
class TransformArguments:
    """Apply the obligations to a copy of the arguments, check the schema, recompute facts and clearance.

    Answer: ArgumentsTransformed or TransformFailed.
    """

    request: Request
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True)
class StoreRecord:
    """Append a record and wait until it is durable. Answer: RecordStored or RecordFailed.

    Args:
        type: record type, `call.asked`, `call.intent`, `call.outcome`, `call.denied`.
        body: RFC 8785 form of the record's own members (an object; the log adds seq, prev, time, key id).
        payloads: named byte strings the body commits to without holding them.
        label: the run's label as of this record; what a later process resumes with.
    """

    call: CallId
    type: str
    body: bytes
    payloads: Mapping[str, bytes] = field(hash=False, compare=True)
    label: Label


@dataclass(frozen=True, slots=True)
class SeekApproval:
    """Ask a person. Answer: ApprovalGiven or ApprovalRefused, within the limits of `ask` and configuration."""

    call: CallId
    ask: Ask


@dataclass(frozen=True, slots=True)
class WithdrawAsk:
    """The answer to `SeekApproval` is of no use any more. Answer: ApprovalRefused(void), or the one that won."""

    call: CallId


@dataclass(frozen=True, slots=True)
class ForwardCall:
    """Send exactly `request.arguments` to the tool. Answer: ResultArrived or ResultFailed, within the deadline.

    Args:
        max_result_bytes: the smallest limit an obligation set, or 0 for the configured one.
        is_tainted: whoever makes the call had been shown untrusted text, not counting what it will bring itself.
        hides_text: untrusted text of the result must become handles.
        approved: ids of the rules that a person was told of who approved this very call; () where no rule asks for
            approval of what is sent.
    """

    request: Request
    max_result_bytes: int
    is_tainted: bool
    hides_text: bool = False
    approved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelForward:
    """Withdraw a forwarded call from the upstream. Answer: ResultFailed(cancelled), or the result that won the race."""

    call: CallId


@dataclass(frozen=True, slots=True)
class ReturnResult:
    """Deliver `result.body` to the agent. No answer: the call is over."""

    call: CallId
    result: Result


@dataclass(frozen=True, slots=True)
class RefuseCall:
    """Tell the agent why there is no result. No answer: the call is over."""

    call: CallId
    refusal: Refusal


Effect = (
    AskPolicy
    | TransformArguments
    | StoreRecord
    | SeekApproval
    | WithdrawAsk
    | ForwardCall
    | CancelForward
    | ReturnResult
    | RefuseCall
)

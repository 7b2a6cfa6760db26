"""What the world tells the core. Each event names the effect (`core.effect`) that it answers.

Events carry facts only; no event carries a clock, a connection or an exception.
"""

from __future__ import annotations

from dataclasses import dataclass

from trionyx_policies.decision import Decision
from trionyx_proxy.core.approval import Approval, Unapproved
from trionyx_proxy.core.request import CallId, Failure, Rejection, Request, Result


@dataclass(frozen=True, slots=True)
class CallRequested:
    """The agent asks for a well-formed call of a known tool."""

    request: Request


@dataclass(frozen=True, slots=True)
class CallRejected:
    """The agent sent something that has no single meaning here; it is recorded and refused."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class VerdictReached:
    """The policy answered `AskPolicy`, and the answer passed the decision schema."""

    call: CallId
    decision: Decision


@dataclass(frozen=True, slots=True)
class VerdictFailed:
    """`AskPolicy` brought no valid answer: `code` is timeout, crash, undefined, ill_typed, drift, breaker …"""

    call: CallId
    code: str


@dataclass(frozen=True, slots=True)
class ArgumentsTransformed:
    """`TransformArguments` gave a request whose arguments fit the pinned schema again."""

    request: Request


@dataclass(frozen=True, slots=True)
class TransformFailed:
    """`TransformArguments` could not be applied, or its outcome does not fit the schema."""

    call: CallId


@dataclass(frozen=True, slots=True)
class RecordStored:
    """The record of `StoreRecord` is signed and durable."""

    call: CallId
    seq: int


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """The record of `StoreRecord` is not known to be durable: error, full disk, or deadline."""

    call: CallId


@dataclass(frozen=True, slots=True)
class ApprovalGiven:
    """A person answered `SeekApproval` with yes, and no other process can use that answer any more.

    Args:
        at_ms: wall clock, Unix milliseconds; an approval that is over by then does not count.
    """

    call: CallId
    approval: Approval
    at_ms: int


@dataclass(frozen=True, slots=True)
class ApprovalRefused:
    """`SeekApproval` brought no approval.

    Args:
        approval: id of the question, for a later answer or for the record; "" if nobody was asked.
    """

    call: CallId
    why: Unapproved
    approval: str = ""


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """The upstream answered `ForwardCall`."""

    call: CallId
    result: Result


@dataclass(frozen=True, slots=True)
class ResultFailed:
    """The upstream did not answer `ForwardCall` in a usable way, or in time."""

    call: CallId
    failure: Failure


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The agent withdrew the call; it still ends exactly once, in a record."""

    call: CallId


@dataclass(frozen=True, slots=True)
class PolicyReloaded:
    """Another policy is in force from now on; its load is already recorded.

    Args:
        implies: effects that the prompt implies by this policy's lists, sorted.
    """

    revision: int
    digest: str
    implies: tuple[str, ...] = ()


Event = (
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
    | PolicyReloaded
)

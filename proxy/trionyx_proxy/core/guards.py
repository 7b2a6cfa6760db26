"""The questions that the lifecycle table asks of run and call, with the event's facts noted; none changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from trionyx_proxy.core.account import Identity, PolicyVersion
from trionyx_proxy.core.approval import Approval, Unapproved
from trionyx_proxy.core.call import OpenCall
from trionyx_proxy.core.lifecycle import Guard
from trionyx_proxy.core.verdict import Stance

MAX_DECISIONS: Final = 3
"""Decisions per call; label or policy moving under each of them is contention, and so a denial."""

MAX_ASKS: Final = 2
"""Questions to a person per call; a call that still needs another approval then is denied."""


class Standing(Protocol):
    """What guards read of a run (`run.Run`)."""

    @property
    def identity(self) -> Identity: ...  # noqa: D102
    @property
    def policy(self) -> PolicyVersion: ...  # noqa: D102
    @property
    def poisoned(self) -> bool: ...  # noqa: D102
    @property
    def spent(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def approval_ttl_ms(self) -> int: ...  # noqa: D102


def _is_label_moved(run: Standing, call: OpenCall) -> bool:
    return call.asked is None or call.asked[0] != call.seen


def _is_policy_moved(run: Standing, call: OpenCall) -> bool:
    # The policy that classified the call, the one that decided it and the one in force must be one.
    decision = call.decision
    return (
        call.asked is None
        or call.asked[1] != run.policy
        or decision is None
        or PolicyVersion(decision.revision, decision.digest) != run.policy
    )


def _is_stale_too_often(run: Standing, call: OpenCall) -> bool:
    stale = _is_label_moved(run, call) or _is_policy_moved(run, call)
    return stale and call.decisions >= MAX_DECISIONS


def _is_forbidden(run: Standing, call: OpenCall) -> bool:
    # INVARIANT: what is neither permitted nor up to a person is forbidden, also a stance nobody thought of.
    return call.verdict is None or call.verdict.stance not in (Stance.PERMIT, Stance.ASK)


def _needs_approval(run: Standing, call: OpenCall) -> bool:
    asks = call.verdict is not None and call.verdict.stance is Stance.ASK
    return asks and not is_bound(run, call, call.approval)


def is_bound(run: Standing, call: OpenCall, approval: Approval | None) -> bool:
    """Tell whether an approval is for this very call, under the policy in force, and told of each rule that asks."""
    if approval is None or call.verdict is None:
        return False
    rules = {reason.id for reason in call.verdict.determining}
    binding = run.identity.binding(call.request, run.policy, approval.rules, approval.expires_ms)
    return rules <= set(approval.rules) and approval.binding == binding


def _is_unusable(run: Standing, call: OpenCall) -> bool:
    return call.given is None or call.given.id in run.spent or not is_bound(run, call, call.given)


def _wants_transforms(call: OpenCall) -> bool:
    return call.verdict is not None and bool(call.verdict.transforms)


GUARDS: Final[Mapping[Guard, Callable[[Standing, OpenCall], bool]]] = MappingProxyType(
    {
        Guard.ALWAYS: lambda run, call: True,
        Guard.POISONED: lambda run, call: run.poisoned,
        Guard.CANCELLED: lambda run, call: call.cancelled,
        Guard.CANCELLED_AFTER_INTENT: lambda run, call: call.cancelled and call.intents > 0,
        Guard.FORBIDDEN: _is_forbidden,
        Guard.UNASKABLE: lambda run, call: not run.approval_ttl_ms and _needs_approval(run, call),
        Guard.ASKED_PEOPLE_TOO_OFTEN: lambda run, call: call.asks >= MAX_ASKS and _needs_approval(run, call),
        Guard.NEEDS_APPROVAL: _needs_approval,
        Guard.NOT_BOUND: _is_unusable,
        Guard.REJECTED: lambda run, call: call.unapproved is Unapproved.REJECTED,
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

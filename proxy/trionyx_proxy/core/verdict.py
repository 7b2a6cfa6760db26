"""One verdict from the policy's decision and the host's own checks: forbid trumps permit, error forbids.

Pure combination of values; neither evaluates a policy nor computes a clearance. The theorems of Cedar's
authorizer hold (cedar-spec, `Cedar/Thm/Authorization.lean`), with one difference on purpose: Cedar skips a
rule that errs, here it forbids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import orjson

from trionyx_policies.decision import Decision, Obligation, Outcome
from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import Reason, RejectionCode


class HostRule(StrEnum):
    """Ids of the rules that the proxy itself enforces, whatever the policy says."""

    FLOW = "TRX-FLOW"
    DEFAULT = "TRX-DEFAULT"
    ASK = "TRX-ASK"
    PENDING = "TRX-PENDING"
    REJECTED = "TRX-REJECTED"
    EXPIRED = "TRX-EXPIRED"
    APPROVAL = "TRX-APPROVAL"
    ENGINE = "TRX-ENGINE"
    OBLIGATION = "TRX-OBLIGATION"
    TRANSFORM = "TRX-TRANSFORM"
    CONTENDED = "TRX-CONTENDED"
    CANCELLED = "TRX-CANCELLED"
    UPSTREAM = "TRX-UPSTREAM"
    AUDIT = "TRX-AUDIT"
    MALFORMED = "TRX-MALFORMED"
    SCHEMA = "TRX-SCHEMA"
    UNKNOWN_TOOL = "TRX-UNKNOWN-TOOL"
    UNKNOWN_METHOD = "TRX-UNKNOWN-METHOD"
    UNAVAILABLE = "TRX-UNAVAILABLE"
    OVERLOADED = "TRX-OVERLOADED"


_TEXTS: Final = {
    HostRule.FLOW: (
        "what this run has seen may not flow to where this call would send it",
        "choose a recipient or place that is cleared for it, or do this in a fresh run",
    ),
    HostRule.DEFAULT: (
        "no rule of the policy allows this call",
        "ask the policy's owner for a rule that allows it",
    ),
    HostRule.ASK: (
        "this call needs a person's approval, and no approver is connected",
        "connect an approver, or do without this call",
    ),
    HostRule.PENDING: (
        "this call needs a person's approval; a person was asked and has not answered yet",
        "repeat exactly this call later, or do without it",
    ),
    HostRule.REJECTED: ("a person was asked about this call and said no", "do without this call"),
    HostRule.EXPIRED: (
        "this call needs a person's approval, and nobody answered in time",
        "repeat the call to ask again, or do without it",
    ),
    HostRule.APPROVAL: (
        "the approval is not for this call, was used before, or is over",
        "repeat the call to ask again, or do without it",
    ),
    HostRule.ENGINE: (
        "the policy could not be evaluated, so nothing allows this call",
        "try again; if it happens again, tell the operator",
    ),
    HostRule.OBLIGATION: (
        "the policy demands something that the proxy cannot fulfil",
        "tell the policy's owner",
    ),
    HostRule.TRANSFORM: (
        "the arguments that the policy demands do not fit the tool",
        "name the arguments as the policy wants them, or tell the policy's owner",
    ),
    HostRule.CONTENDED: (
        "the run's label or the policy kept changing while this call was decided",
        "make fewer calls at once and try again",
    ),
    HostRule.CANCELLED: ("the call was withdrawn", ""),
    HostRule.UPSTREAM: ("the tool gave no usable result", ""),
    HostRule.AUDIT: (
        "this call cannot be recorded, so it is not carried out or its result is not shown",
        "the run is over; tell the operator",
    ),
    HostRule.MALFORMED: (
        "the message has no single meaning",
        "send well-formed JSON without repeated members",
    ),
    HostRule.SCHEMA: ("the arguments do not fit the tool's schema", "correct the arguments"),
    HostRule.UNKNOWN_TOOL: ("no such tool is known here", "use one of the listed tools"),
    HostRule.UNKNOWN_METHOD: ("this method is not served here", "list and call tools only"),
    HostRule.UNAVAILABLE: ("the tool's server is not running", "try again later"),
    HostRule.OVERLOADED: ("too many calls are under way", "wait for results, then try again"),
}

HOST_REASONS: Final = MappingProxyType(
    {rule: Reason(rule.value, title, remedy) for rule, (title, remedy) in _TEXTS.items()}
)
"""What the agent is told for each host rule: title, and remedy where there is one."""

REJECTION_RULES: Final = MappingProxyType(
    {
        RejectionCode.MALFORMED: HostRule.MALFORMED,
        RejectionCode.UNKNOWN_TOOL: HostRule.UNKNOWN_TOOL,
        RejectionCode.UNKNOWN_METHOD: HostRule.UNKNOWN_METHOD,
        RejectionCode.SCHEMA: HostRule.SCHEMA,
        RejectionCode.UNAVAILABLE: HostRule.UNAVAILABLE,
        RejectionCode.OVERLOADED: HostRule.OVERLOADED,
    }
)

TRANSFORMS: Final = frozenset({"replace_arg", "drop_arg"})
"""Obligation types that change the arguments; the changed call is decided again."""

LIMIT: Final = "max_result_bytes"

HIDE_TEXT: Final = "hide_text"
"""Obligation type: untrusted text of the result is shown as handles only."""


class Stance(StrEnum):
    """What one contribution is for."""

    PERMIT = "permit"
    ASK = "ask"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One rule that takes part: the policy's or the host's.

    Args:
        errs: it could not be evaluated or understood; its stance is then moot.
    """

    reason: Reason
    stance: Stance
    errs: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a call, and because of which rules.

    Args:
        stance: PERMIT, ASK or FORBID of the whole.
        determining: the rules with that stance, sorted by id; for a default denial, the host's.
        erroring: rules that erred, sorted by id; with any of them the stance is FORBID.
        transforms: what to change in the arguments before the call is decided again; not with FORBID.
        max_result_bytes: the smallest limit demanded, 0 for none.
        hides_text: untrusted text of the result must become handles.
    """

    stance: Stance
    determining: tuple[Reason, ...]
    erroring: tuple[Reason, ...] = ()
    transforms: tuple[Obligation, ...] = ()
    max_result_bytes: int = 0
    hides_text: bool = False

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The rules to name to the agent and in the record."""
        return self.determining + self.erroring


def combine(contributions: Iterable[Contribution]) -> Verdict:
    """Combine contributions; their order and number do not matter, only which there are.

    An error forbids, a forbid trumps an ask, an ask trumps a permit, and nothing at all is a denial.
    """
    held: dict[Stance, set[Reason]] = {Stance.FORBID: set(), Stance.ASK: set(), Stance.PERMIT: set()}
    erring: set[Reason] = set()
    for contribution in contributions:
        (erring if contribution.errs else held[contribution.stance]).add(contribution.reason)
    erroring = _sorted(erring)
    if held[Stance.FORBID] or erring:
        return Verdict(Stance.FORBID, _sorted(held[Stance.FORBID]), erroring)
    if held[Stance.ASK]:
        return Verdict(Stance.ASK, _sorted(held[Stance.ASK]))
    if held[Stance.PERMIT]:
        return Verdict(Stance.PERMIT, _sorted(held[Stance.PERMIT]))
    return Verdict(Stance.FORBID, (HOST_REASONS[HostRule.DEFAULT],))


def judge(decision: Decision, *, label: Label, clearance: Label) -> Verdict:
    """Combine the policy's decision with the host's checks of flow and obligations.

    While arguments are still to be transformed the flow is not checked: the changed call has its own
    clearance and comes back here.

    Args:
        decision: the policy's.
        label: the run's label as the call sees it.
        clearance: the most restrictive label that may flow into the call's sink.
    """
    contributions = [
        Contribution(Reason(rule.id, rule.title, rule.remedy), _STANCES[decision.outcome])
        for rule in decision.rules
    ]
    transforms: list[Obligation] = []
    limits: list[int] = []
    hides_text = False
    for obligation in decision.obligations:
        limit = _parse_limit(obligation)
        if obligation.type in TRANSFORMS:
            transforms.append(obligation)
        elif obligation.type == HIDE_TEXT:
            hides_text = True
        elif limit > 0:
            limits.append(limit)
        else:
            contributions.append(_forbid(HostRule.OBLIGATION, errs=True))
    if not transforms and not label.flows_to(clearance):
        contributions.append(_forbid(HostRule.FLOW))
    verdict = combine(contributions)
    if verdict.stance is Stance.FORBID:
        return verdict
    # Also of an ask: a person is asked about the changed arguments, and an approved call keeps its limits.
    return replace(
        verdict,
        transforms=tuple(transforms),
        max_result_bytes=min(limits, default=0),
        hides_text=hides_text,
    )


_STANCES: Final = {Outcome.ALLOW: Stance.PERMIT, Outcome.DENY: Stance.FORBID, Outcome.ASK: Stance.ASK}


def _forbid(rule: HostRule, *, errs: bool = False) -> Contribution:
    return Contribution(HOST_REASONS[rule], Stance.FORBID, errs)


def _sorted(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: (reason.id, reason.title, reason.remedy)))


def _parse_limit(obligation: Obligation) -> int:
    """Give the limit in bytes, or 0 if this is no limit that can be understood."""
    if obligation.type != LIMIT:
        return 0
    try:
        limit: object = orjson.loads(obligation.value)
    except orjson.JSONDecodeError:
        return 0
    return limit if type(limit) is int and limit > 0 else 0

"""Why a call is refused, in static words: the row's host rule, else the rejection's, else the policy's rules.

Holds no argument and no result value: every text here is a rule author's or the host's own.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from trionyx_proxy.core.approval import Unapproved
from trionyx_proxy.core.call import OpenCall
from trionyx_proxy.core.request import Reason, Rejection
from trionyx_proxy.core.verdict import HOST_REASONS, REJECTION_RULES, HostRule

_IN_DOUBT: Final = "it may have taken effect; look before you try again"
_NOT_SENT: Final = "it had no effect; try again later"
_UNAPPROVED: Final = MappingProxyType(
    {
        Unapproved.REJECTED: HostRule.REJECTED,
        Unapproved.EXPIRED: HostRule.EXPIRED,
        Unapproved.PENDING: HostRule.PENDING,
        Unapproved.VOID: HostRule.APPROVAL,
    }
)


def reasons(call: OpenCall, rule: HostRule | None) -> tuple[Reason, ...]:
    """Give the reasons of a refusal; never none.

    Args:
        call: the call that is refused.
        rule: the host rule of the lifecycle row, if it names one.
    """
    if rule is None:
        if isinstance(call.subject, Rejection):
            return (_detailed(REJECTION_RULES[call.subject.code], call.subject.detail),)
        return call.verdict.reasons if call.verdict else (HOST_REASONS[HostRule.DEFAULT],)
    if rule is HostRule.ASK and call.verdict is not None:
        rule = _UNAPPROVED.get(call.unapproved, rule) if call.unapproved else rule
        return (HOST_REASONS[rule], *call.verdict.reasons)
    if rule is HostRule.UPSTREAM and call.failure is not None:
        remedy = _IN_DOUBT if call.failure.sent else _NOT_SENT
        return (replace(_detailed(rule, call.failure.detail), remedy=remedy),)
    return (HOST_REASONS[rule],)


def _detailed(rule: HostRule, detail: str) -> Reason:
    reason = HOST_REASONS[rule]
    return replace(reason, title=f"{reason.title}: {detail}") if detail else reason

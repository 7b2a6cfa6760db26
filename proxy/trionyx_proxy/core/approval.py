"""What a person is asked about a call, and what a person's answer is worth: one call, one run, one policy, once.

Values only. Who may answer, how long an answer is waited for, and where it is kept is the edge's matter; the core
believes no answer whose binding it does not compute itself (`account.Identity.binding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trionyx_proxy.core.request import Reason, Request


class Unapproved(StrEnum):
    """Why a question to a person brought no approval."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    PENDING = "pending"
    UNANSWERABLE = "unanswerable"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a person.

    Args:
        request: the exact call.
        reasons: the rules that ask, in their authors' static words.
        expires_ms: Unix milliseconds from which no answer to it counts.
        binding: digest of everything an approval holds for.
        subject: the same without the expiry, so that a repeated call finds the question that was asked before.
    """

    request: Request
    reasons: tuple[Reason, ...]
    expires_ms: int
    binding: str
    subject: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one call.

    Args:
        id: names it in state file and records.
        by: who gave it.
        rules: ids of the rules the person was told of; a call that another rule asks about is another question.
        expires_ms: as in the question.
        binding: as in the question.
    """

    id: str
    by: str
    rules: tuple[str, ...]
    expires_ms: int
    binding: str

"""The rows of the approvals file as values, and the proofs that bind them to its key."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trionyx_proxy.approvals.question import Question


class Standing(StrEnum):
    """Where a question stands. Only `approved` can become `used`, once; nothing leaves the other three."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    USED = "used"


class Scope(StrEnum):
    """How far an endorsement reaches: the call that was asked about, its run, or every run of its tenant."""

    ONCE = "once"
    RUN = "run"
    ALWAYS = "always"


ANY_TOOL = "*"


@dataclass(frozen=True, slots=True)
class Entry:
    """One question and its answer.

    Args:
        id: ULID.
        subject, binding: as in `core.approval.Ask`.
        rules: ids of the rules that asked.
        expires_ms: Unix milliseconds from which neither an answer nor an approval counts.
        standing: see there; `pending` and `approved` may be over by the clock.
        by: who answered, or "".
        reason: a person's words on a rejection; for records and operators, never for the agent.
        proof: of the answer, by whoever gave it.
    """

    id: str
    run: str
    subject: str
    binding: str
    rules: tuple[str, ...]
    asked_ms: int
    expires_ms: int
    standing: Standing
    by: str
    decided_ms: int
    reason: str
    proof: bytes
    question: Question

    @property
    def claims(self) -> tuple[str | int, ...]:
        """What the proof of an answer covers."""
        return answer_claims(
            self.id,
            self.run,
            self.subject,
            self.binding,
            self.expires_ms,
            is_yes=self.standing in (Standing.APPROVED, Standing.USED),
            by=self.by,
            decided_ms=self.decided_ms,
        )


def answer_claims(
    id_: str,
    run: str,
    subject: str,
    binding: str,
    expires_ms: int,
    *,
    is_yes: bool,
    by: str,
    decided_ms: int,
) -> tuple[str | int, ...]:
    """Return the members that the proof of an answer covers."""
    return ("answer", id_, run, subject, binding, expires_ms, int(is_yes), by, decided_ms)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A value that a person vouched for, for one role.

    Args:
        id: ULID.
        approval: id of the question that it came with.
        run: in which it was given; the only one it counts in, unless the scope is ALWAYS.
        tenant: in which it counts.
        kind: as in the catalog, such as `email`.
        role: as in the catalog, such as `target`.
        tool: offered name of the one tool it counts for, or `*`.
        value: as the person was shown it.
        digest: keyed digest of tenant, kind, role and the value's normal form.
        revoked_ms: Unix milliseconds, 0 while it counts.
    """

    id: str
    approval: str
    run: str
    tenant: str
    kind: str
    role: str
    tool: str
    scope: Scope
    value: str | int | float | bool
    digest: str
    by: str
    given_ms: int
    revoked_ms: int
    revoked_by: str
    proof: bytes

    @property
    def claims(self) -> tuple[str | int, ...]:
        """What the proof of an endorsement covers; its revocation needs none."""
        return (
            "endorsement", self.id, self.approval, self.run, self.tenant, self.kind, self.role, self.tool,
            self.scope.value, self.digest, self.by, self.given_ms,
        )  # fmt: skip

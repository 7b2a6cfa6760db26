"""A message as it lies in the mailbox: an envelope in the clear, what it holds sealed to exactly this envelope.

Whoever changes a label, an addressee or a time in the file makes the message unreadable, and what cannot be read is
not delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from trionyx_proxy.approvals.sealing import Seal
from trionyx_proxy.arguments import canonical
from trionyx_proxy.core.label import Label, decode_label
from trionyx_proxy.errors import StateError

KEY_NAME = "messages.key"
"""Lies beside the mailbox, readable by its owner only."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who says something to whom, and at which label.

    Args:
        id: ULID.
        tenant: of both sides.
        user: on whose behalf the sender acts.
        kind: `message`, `question` or `answer`.
        from_agent: who sent it.
        from_run: its run.
        to_agent: whom it is for.
        to_run: the one run that it is for, or "" for any of the agent's.
        question: id of what is asked or answered, or "".
        label: of the content.
        sent_ms: Unix milliseconds.
        expires_ms: Unix milliseconds.
    """

    id: str
    tenant: str
    user: str
    kind: str
    from_agent: str
    from_run: str
    to_agent: str
    to_run: str
    question: str
    label: Label
    sent_ms: int
    expires_ms: int

    def columns(self) -> tuple[str | bytes | int, ...]:
        """Give the members in the order of the file."""
        return (
            *(self.id, self.tenant, self.user, self.kind, self.from_agent, self.from_run, self.to_agent),
            *(self.to_run, self.question, self.label.encode(), self.sent_ms, self.expires_ms),
        )

    @property
    def bound(self) -> str:
        """What the content is sealed to."""
        return _bound(self.columns())


@dataclass(frozen=True, slots=True)
class Message:
    """One message, question or answer on its way.

    Args:
        envelope: see there.
        content: canonical JSON.
        vouched: canonical JSON, by the number of the leaf: the kind it is read as, and how far it is trusted.
    """

    envelope: Envelope
    content: bytes
    vouched: bytes

    def sealed(self, seal: Seal) -> bytes:
        """Give what the file holds of the content."""
        whole = canonical({"content": orjson.loads(self.content), "vouched": orjson.loads(self.vouched)})
        return seal.close(whole, self.envelope.bound)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked.

    Args:
        id: ULID.
        tenant: of both sides.
        user: on whose behalf the asking run acts.
        asker_agent: who asked.
        asker_run: its run, the only one that gets the answer.
        answerer_agent: whose runs may answer.
        category: see `messages.peers.CATEGORIES`.
        millibits: thousandths of bits, counted whether or not there is an answer.
        asked_ms: Unix milliseconds.
        expires_ms: Unix milliseconds.
        is_tainted: whether the asking run had been shown untrusted text by then.
        questions: canonical JSON.
    """

    id: str
    tenant: str
    user: str
    asker_agent: str
    asker_run: str
    answerer_agent: str
    category: int
    millibits: int
    asked_ms: int
    expires_ms: int
    is_tainted: bool
    questions: bytes

    def columns(self) -> tuple[str | int, ...]:
        """Give the members in the order of the file, without the questions themselves."""
        return (
            *(self.id, self.tenant, self.user, self.asker_agent, self.asker_run, self.answerer_agent),
            *(self.category, self.millibits, self.asked_ms, self.expires_ms, int(self.is_tainted)),
        )

    def sealed(self, seal: Seal) -> bytes:
        """Give what the file holds of the questions."""
        return seal.close(self.questions, _bound(self.columns()))


_ENVELOPE = tuple(member.name for member in fields(Envelope))
_ASKED = tuple(member.name for member in fields(Asked) if member.name != "questions")


def read_envelope(row: Sequence[Any]) -> Envelope:
    """Read the members in the order of the file; a label that cannot be read is TOP."""
    members: dict[str, Any] = dict(zip(_ENVELOPE, row, strict=True))
    return Envelope(**members | {"label": decode_label(members["label"])})


def read_message(row: Sequence[Any], seal: Seal) -> Message | None:
    """Read an envelope and what was sealed to it; None if that is not what was sealed."""
    *head, sealed = row
    try:
        whole = orjson.loads(seal.open(sealed, _bound(head)))
        return Message(read_envelope(head), canonical(whole["content"]), canonical(whole["vouched"]))
    except (StateError, ValueError, KeyError, TypeError):
        return None


def read_asked(row: Sequence[Any], seal: Seal) -> Asked | None:
    """Read what was asked; None if that is not what was sealed."""
    *head, sealed = row
    try:
        questions = seal.open(sealed, _bound(head))
    except (StateError, TypeError):
        return None
    members: dict[str, Any] = dict(zip(_ASKED, head, strict=True))
    return Asked(**members | {"is_tainted": bool(members["is_tainted"])}, questions=questions)


def _bound(columns: Sequence[Any]) -> str:
    shown = [column.decode("latin-1") if isinstance(column, bytes) else column for column in columns]
    return orjson.dumps(shown).decode()

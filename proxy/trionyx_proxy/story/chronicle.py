"""What the records of one run say, as values: calls, what was decided on them, how they ended, how labels rose.

Holds what was recorded, as it was recorded: nothing here is checked, joined up or made fit to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from trionyx_proxy.core.label import Integrity, Label

MAX_ACTS: Final = 1_000
"""Acts of people that are kept; a run has a handful."""

MAX_SEQS: Final = 32
"""Records of one call that are named; a call that people were asked about and that was decided again has ten."""


class Ending(StrEnum):
    """How far a call came, by its last record."""

    OPEN = "open"
    ASKED = "asked"
    OK = "ok"
    TOOL_ERROR = "tool_error"
    FAILED = "failed"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the log gives it.

    Args:
        seq: place in the log.
        type: record type.
        body: all members, the log's own (`ts`) among them.
    """

    seq: int
    type: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Source:
    """Who vouches for an argument: `prompt`, `result`, `handle` or `endorsement`, and where that is."""

    kind: str
    call: str = ""
    tool: str = ""
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one argument came from; `handle` where the agent named hidden text without having seen it."""

    argument: str
    role: str
    integrity: str
    handle: bool
    sources: tuple[Source, ...]

    @property
    def is_trusted(self) -> bool:
        """Whether somebody trusted vouches for it; what stands behind a handle has a source, and may be anybody's."""
        return bool(self.sources) and self.integrity in ("user", "system", "org")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy answered; obligations are rule, type and argument."""

    outcome: str
    rules: tuple[str, ...]
    obligations: tuple[tuple[str, str, str], ...]
    revision: int
    digest: str


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's part in a call: `id` of the question or approval, who gave it, or why there is none."""

    id: str = ""
    by: str = ""
    why: str = ""
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """A record of types `approval.…` or `endorsement.…`: what a person, or an operator's rule, did."""

    seq: int
    ts: str
    type: str
    call: str
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    """A message, question or answer that a call sent or received.

    Args:
        sent: or else received.
        kind: `message`, `question`, `answer`.
        agent: on the other side.
        run: on the other side; "" where it was for any run of the agent.
        label: of the run that said it; None if the record does not say.
    """

    id: str
    sent: bool
    kind: str
    agent: str
    run: str
    label: Label | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call, from all its records.

    Args:
        number: from 1, in the order in which calls first occur in the log.
        seqs: its records, at most MAX_SEQS.
        ts: when the first was written.
        caller: agent, user, tenant.
        tool: the name that the agent used; "" for a message that never became a call.
        deciding_seq: its last record that holds a decision, or -1.
        attempts: how often it was decided for release.
        refused_by: rules of its denial.
        code, subject: of a rejected message, or why the policy gave no answer.
        questions: how often a person was asked.
        status: `status` and `failure` of the outcome in the record's words.
        hidden_bytes: size of what the agent got handles for.
        messages: that it sent or received.
        seen: the run's label that it was decided under, without its own part; None if no record says.
        sink: the most restrictive label that may flow into it; None if no record says.
    """

    id: str
    number: int
    seqs: tuple[int, ...] = ()
    ts: str = ""
    caller: tuple[str, str, str] = ("", "", "")
    tool: str = ""
    effect: str = ""
    trace: str = ""
    deciding_seq: int = -1
    attempts: int = 0
    decision: Decision | None = None
    origins: tuple[Origin, ...] = ()
    refused_by: tuple[str, ...] = ()
    code: str = ""
    subject: str = ""
    questions: int = 0
    consent: Consent = field(default_factory=Consent)
    ending: Ending = Ending.OPEN
    failure: str = ""
    sent: bool = False
    withheld: bool = False
    hidden_bytes: int = 0
    messages: tuple[Message, ...] = ()
    seen: Label | None = None
    sink: Label | None = None


@dataclass(frozen=True, slots=True)
class Rise:
    """One record with which the run's label rose; `call` is "" where it was no call."""

    seq: int
    type: str
    call: str
    before: Label
    after: Label


@dataclass(frozen=True, slots=True)
class Chronicle:
    """One run.

    Args:
        run: its id.
        start: the label it began with.
        registered: whether its prompt was registered; None if no record says.
        calls: by id, in order.
        rises: in order.
        acts: of people, in order, at most MAX_ACTS.
        records: their number, those of other runs included.
        foreign: records that name another run, and were passed over.
        parent: run and agent of the run that this one is a child of; both "" for none.
    """

    run: str
    start: Label
    registered: bool | None
    calls: Mapping[str, Call]
    rises: tuple[Rise, ...]
    acts: tuple[Act, ...]
    records: int
    foreign: int
    parent: tuple[str, str] = ("", "")

    @property
    def label(self) -> Label:
        """The run's label after its last record."""
        return self.rises[-1].after if self.rises else self.start

    def taints(self) -> tuple[Rise, ...]:
        """Return the rise that brought text of unknown writers: one, or none if there was none since the start."""
        return tuple(
            rise
            for rise in self.rises
            if rise.after.integrity is Integrity.PUBLIC and rise.before.integrity is not Integrity.PUBLIC
        )

    def find(self, wanted: str) -> Call | None:
        """Return the call of that id, or else of that number."""
        call = self.calls.get(wanted)
        if call is None and wanted.isascii() and wanted.isdecimal() and len(wanted) < 10:
            return next((call for call in self.calls.values() if call.number == int(wanted)), None)
        return call

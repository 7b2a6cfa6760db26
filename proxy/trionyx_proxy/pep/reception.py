"""Receiving messages: what of them a run may have, what is shown, at which label, and which values are vouched for.

The receiver's label takes on each message's before anything of it is delivered. Text of a run that had read untrusted
text becomes a handle, like any other untrusted text; its typed answers are shown, within the bounds of the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import orjson
import structlog

from trionyx_proxy.arguments import JSON, canonical, pointer
from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.core.request import Request
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages.letter import Envelope, Message
from trionyx_proxy.messages.mailbox import Mailbox
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.messages.structure import leaves
from trionyx_proxy.pep.ledger import EXTRACTED
from trionyx_proxy.pep.replies import Told, recorded, secrecy, structured, untrusting
from trionyx_proxy.provenance import Handles, Hidden, Index, Leaf, Reading, Source

MAX_RECEIVED: Final = 8
"""Messages that one call receives, so that its record fits its line."""

MAX_RECEIVED_BYTES: Final = 96 << 10
"""Of all messages of one call but the first."""

_ROOM_FOR_META: Final = 256
"""Bytes of what delivery adds to a result."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What is shown of one message."""

    shown: JSON
    label: Label
    leaves: tuple[Leaf, ...] = ()
    hidden: tuple[Hidden, ...] = ()


class Reception:
    """One run's incoming side.

    Args:
        identity: of the run.
        mailbox: shared with all runs.
        label: gives the run's label as it is now.
        index: knows what the run wrote.
        handles: mints handles.
    """

    def __init__(
        self,
        identity: Identity,
        mailbox: Mailbox,
        *,
        label: Callable[[], Label],
        index: Index,
        handles: Handles,
    ) -> None:
        self._identity = identity
        self._mailbox = mailbox
        self._label = label
        self._index = index
        self._handles = handles
        self._under_way: dict[str, anyio.Event] = {}
        self._holding: set[str] = set()

    async def receive(self, request: Request, peers: Peers, *, max_bytes: int, hides_text: bool) -> Told:
        """Take what waits for the run, and read it, as far as it fits into one result.

        Args:
            request: the decided call.
            peers: what the policy in force says.
            max_bytes: limit on what is shown.
            hides_text: untrusted text becomes handles.

        Raises:
            StateError: the mailbox cannot be used.
        """
        # One after the other: what a withdrawn call gives back must not be missed by the next.
        while self._under_way:
            await next(iter(self._under_way.values())).wait()
        self._under_way[request.call] = anyio.Event()
        taken = await anyio.to_thread.run_sync(lambda: self._take(request, peers))
        parts: list[_Part] = []
        for message in taken:
            part = self._read(request, message, f"/messages/{len(parts)}", hides_text)
            if not _fits([*parts, part], max_bytes) and not parts:
                # Nothing that is sent may keep a run from what is sent after it.
                part = self._hidden(message, f"/messages/{len(parts)}")
            elif not _fits([*parts, part], max_bytes):
                break
            parts.append(part)
        rest = [message.envelope.id for message in taken[len(parts) :]]
        if rest:
            await anyio.to_thread.run_sync(
                lambda: self._mailbox.release(rest, run=self._identity.run, call=request.call)
            )
        label = BOTTOM
        for part in parts:
            label = label.join(part.label)
        reading = Reading(
            _shown(parts),
            label,
            # What this run wrote comes back no better by way of another run.
            self._index.relabel([leaf for part in parts for leaf in part.leaves]),
            tuple(hidden for part in parts for hidden in part.hidden),
        )
        received = taken[: len(parts)]
        return Told(reading, tuple(recorded(message.envelope, "received") for message in received))

    def ended(self, call: str, *, is_delivered: bool) -> None:
        """Note that a call is over, and let wait again what it took and the agent did not get."""
        over = self._under_way.pop(call, None)
        if over is None:
            return
        over.set()
        # A mailbox that gave nothing is not asked again: it may be locked, and this waits for it.
        is_holding = call in self._holding
        self._holding.discard(call)
        if is_holding and not is_delivered:
            try:
                self._mailbox.release_call(self._identity.run, call)
            except StateError:
                # The next process of the run gives it back.
                structlog.get_logger("trionyx.messages").warning("messages wait for the run's next process")

    def _take(self, request: Request, peers: Peers) -> tuple[Message, ...]:
        me = self._identity
        user = None if peers.any_user(me.agent) else me.user
        now_ms = time.time_ns() // 1_000_000
        waiting = self._mailbox.waiting(me.tenant, me.agent, me.run, user=user, now_ms=now_ms)
        chosen: list[str] = []
        total = 0
        for envelope, size in waiting:
            if not self._may_receive(envelope, peers):
                continue
            total += size
            if len(chosen) == MAX_RECEIVED or (chosen and total > MAX_RECEIVED_BYTES):
                break
            chosen.append(envelope.id)
        if not chosen:
            return ()
        taken = self._mailbox.take(chosen, run=me.run, call=request.call)
        self._holding.add(request.call)
        if len(taken) < len(chosen):
            log = structlog.get_logger("trionyx.messages")
            log.warning(
                "messages were taken by another run or cannot be read", count=len(chosen) - len(taken)
            )
        return taken

    def _may_receive(self, envelope: Envelope, peers: Peers) -> bool:
        """Ask at delivery what was asked when it was sent: policy and clearance may have changed since."""
        me = self._identity.agent
        clearance = peers.clearance(me)
        if envelope.kind == "answer":
            asked = self._mailbox.asked(envelope.question)
            if asked is None or asked.asker_run != self._identity.run:
                return False
            # Who may ask has to be allowed to; the answer comes back by the question's leave.
            if not peers.permits(me, envelope.from_agent):
                return False
            if asked.category == 1:
                return secrecy(envelope.label).flows_to(untrusting(clearance))
        elif envelope.to_run:
            if envelope.to_run != self._identity.run or envelope.kind != "message":
                return False
        elif not peers.permits(envelope.from_agent, me):
            return False
        return envelope.label.flows_to(clearance)

    def _read(self, request: Request, message: Message, place: str, hides_text: bool) -> _Part:
        envelope, label = message.envelope, message.envelope.label
        content: JSON = orjson.loads(message.content)
        head = _head(envelope)
        if envelope.kind == "answer":
            part = self._typed(request, envelope, content, head, place)
            if part is not None:
                return part
        if hides_text and label.integrity is Integrity.PUBLIC:
            return self._hidden(message, place)
        vouched = _leaves(message, content, place)
        return _Part(head | {envelope.kind: content}, label, tuple(vouched))

    def _hidden(self, message: Message, place: str) -> _Part:
        envelope = message.envelope
        content: JSON = orjson.loads(message.content)
        text = content if isinstance(content, str) else canonical(content).decode()
        at = f"{place}/{envelope.kind}"
        hidden = Hidden(self._handles.mint(), at, ArgumentType.TEXT, envelope.label, text)
        # Without place and size: how long its text is, whoever wrote it could choose.
        token = f"\u27e6trx:{hidden.handle}\u27e7"
        return _Part(_head(envelope) | {envelope.kind: token}, secrecy(envelope.label), (), (hidden,))

    def _typed(
        self,
        request: Request,
        envelope: Envelope,
        content: JSON,
        head: Mapping[str, JSON],
        place: str,
    ) -> _Part | None:
        """Read typed answers. None for answers in words.

        An integer counts as the organisation's word in what a call says, not for what it acts on, and only if the run
        that asked was untainted all along. A choice has the origin of the option, or none.
        """
        asked = self._mailbox.asked(envelope.question)
        if asked is None or asked.category != 1:
            return None
        is_tainted = asked.is_tainted or self._label().integrity is Integrity.PUBLIC
        for path, value in leaves(content):
            if not is_tainted and isinstance(value, int) and not isinstance(value, bool):
                source = Source("result", request.call, request.tool.id, f"{place}/answer{pointer(path)}")
                for role in EXTRACTED:
                    self._index.endorse(ArgumentType.INTEGER, value, role, source)
        return _Part({**head, "answer": content}, secrecy(envelope.label))


def _leaves(message: Message, content: JSON, place: str) -> Iterator[Leaf]:
    """Give the values that the sender's run vouched for, no more trusted than the message."""
    vouched = orjson.loads(message.vouched)
    envelope = message.envelope
    label = envelope.label
    for number, (path, value) in enumerate(leaves(content)):
        if str(number) in vouched:
            kind, integrity = vouched[str(number)]
            trust = max(Integrity[integrity.upper()], label.integrity)
            own = Label(trust, label.level, label.readers, label.categories)
            yield Leaf(f"{place}/{envelope.kind}{pointer(path)}", value, ArgumentType(kind), own)


def _head(envelope: Envelope) -> dict[str, JSON]:
    head: dict[str, JSON] = {"from": envelope.from_agent, "id": envelope.id, "kind": envelope.kind}
    if envelope.question:
        head["question_id"] = envelope.question
    return head


def _shown(parts: Sequence[_Part]) -> dict[str, Any]:
    return structured({"messages": [part.shown for part in parts]})


def _fits(parts: Sequence[_Part], max_bytes: int) -> bool:
    return len(canonical(_shown(parts))) + _ROOM_FOR_META <= max_bytes

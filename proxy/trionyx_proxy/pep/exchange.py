"""One forwarded call: sent to its server, its answer cleaned, read and made ready for delivery.

Knows which server answers which tool and how long that may take. It does not record, decide or retry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from trionyx_proxy.arguments import canonical
from trionyx_proxy.core.effect import ForwardCall
from trionyx_proxy.core.request import CallId, Failure, FailureKind, Request, Result
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages.wording import SPEAKING
from trionyx_proxy.pep.admission import Admission
from trionyx_proxy.pep.delivery import clean_result
from trionyx_proxy.pep.ledger import NATIVE, Ledger
from trionyx_proxy.pep.replies import Told
from trionyx_proxy.pep.upstream import OnProgress
from trionyx_proxy.provenance import Reading

CATCH_UP_AFTER_S: Final = 0.0005
"""So long after a record, a request or a result went its way, it is written, and the loop waits for others."""


class ToolServer(Protocol):
    """What answers calls: an upstream process, or the proxy's own tools."""

    async def call(
        self, name: str, arguments: bytes, *, timeout_s: float, on_progress: OnProgress | None
    ) -> Mapping[str, Any] | Reading | Failure:
        """Send one decided call and return the raw result, or a reading of its own, or why there is none."""


class Speaker(Protocol):
    """The part of `pep.conversation.Conversation` that an exchange needs."""

    async def call(
        self, request: Request, *, max_bytes: int, hides_text: bool, approved: Collection[str]
    ) -> Told:
        """Carry out one decided call of a tool for messages."""

    def ended(self, call: str, *, is_delivered: bool) -> None:
        """Note that a call is over."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Limits on what is sent and what comes back.

    Args:
        timeout_s: limit on one upstream call, seconds.
        max_result_bytes: limit on one canonical result.

    """

    timeout_s: float
    max_result_bytes: int


class Exchange:
    """The servers of one run.

    Args:
        servers: by alias.
        admission: knows what the catalog says of each tool.
        ledger: is told what leaves, and reads what comes back.
        forwarding: limits.
        conversation: answers the tools for messages; None where the run talks to nobody.

    """

    def __init__(
        self,
        servers: Mapping[str, ToolServer],
        *,
        admission: Admission,
        ledger: Ledger,
        forwarding: Forwarding,
        conversation: Speaker | None = None,
    ) -> None:
        self._conversation = conversation
        self._servers = servers
        self._admission = admission
        self._ledger = ledger
        self._forwarding = forwarding

    def foresee(self, request: Request) -> None:
        """Prepare for a call that is about to be carried, in a moment in which nobody waits for the run.

        Every such call must end in `ended`, carried or not.
        """
        entry = self._admission.entry(request.tool.id)
        if entry is not None:
            self._ledger.foresee(request, entry)

    async def carry(
        self, effect: ForwardCall, *, tainted: bool, on_progress: OnProgress | None
    ) -> Result | Failure:
        """Carry one released call to its server and its answer back.

        Args:
            effect: the call, whose intent is on record.
            tainted: the run is, with what this call may bring.
            on_progress: receives progress and total.
        """
        request = effect.request
        server = self._servers.get(request.tool.server)
        entry = self._admission.entry(request.tool.id)
        if server is None or entry is None:
            return Failure(FailureKind.UNAVAILABLE, "the tool is not configured any more", sent=False)
        # INVARIANT: what leaves is remembered before it leaves; the answer to another call may already echo it.
        try:
            self._ledger.sent(request, entry, tainted=effect.is_tainted, brings_taint=tainted)
        except StateError:
            return Failure(
                FailureKind.UNAVAILABLE, "what the call writes cannot be kept track of", sent=False
            )
        limit = self._forwarding.max_result_bytes
        if effect.max_result_bytes:
            limit = min(limit, effect.max_result_bytes)
        if request.tool.server == NATIVE and request.tool.name in SPEAKING:
            return await self._speak(effect, limit)
        # While the server works, and later while the result is recorded, nobody waits for what is learnt for later.
        loop = asyncio.get_running_loop()
        loop.call_later(CATCH_UP_AFTER_S, self._ledger.catch_up)
        received = await server.call(
            request.tool.name,
            request.arguments,
            timeout_s=self._forwarding.timeout_s,
            on_progress=on_progress,
        )
        if isinstance(received, Failure):
            return received
        if isinstance(received, Reading):
            return self._ledger.deliver(request, received, max_bytes=limit)
        cleaned = clean_result(received)
        if isinstance(cleaned, Failure):
            return cleaned
        try:
            result = self._ledger.read(request, entry, cleaned, hides_text=effect.hides_text, max_bytes=limit)
        except StateError:
            return Failure(FailureKind.GARBAGE, "what the tool read cannot be kept track of", sent=True)
        loop.call_later(CATCH_UP_AFTER_S, self._ledger.catch_up)
        return result

    def ended(self, call: CallId, *, is_delivered: bool) -> None:
        """Note that a call is over, and whether the agent got its result."""
        self._ledger.ended(call)
        if self._conversation is not None:
            self._conversation.ended(call, is_delivered=is_delivered)

    async def _speak(self, effect: ForwardCall, limit: int) -> Result | Failure:
        if self._conversation is None:
            return Failure(FailureKind.UNAVAILABLE, "this run talks to nobody", sent=False)
        try:
            told = await self._conversation.call(
                effect.request,
                max_bytes=limit,
                hides_text=effect.hides_text,
                approved=effect.approved,
            )
        except StateError:
            return Failure(FailureKind.UNAVAILABLE, "the mailbox cannot be used", sent=True)
        result = self._ledger.deliver(effect.request, told.reading, max_bytes=limit)
        if isinstance(result, Failure) or not told.messages:
            return result
        return replace(result, messages=canonical([dict(message) for message in told.messages]))

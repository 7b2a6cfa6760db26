"""Questions to people that are under way: one task each, which the core may withdraw at any time.

Who is asked, and how, is `trionyx_proxy.approvals`; this only waits and passes the answer on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

import anyio

from trionyx_proxy.core.approval import Ask, Unapproved
from trionyx_proxy.core.effect import SeekApproval
from trionyx_proxy.core.event import ApprovalGiven, ApprovalRefused
from trionyx_proxy.core.request import CallId

Elicit = Callable[[str], Awaitable[bool | None]]
"""Puts a text before the person at the agent's client; True and False are that person's yes and no, None neither."""

Answer = ApprovalGiven | ApprovalRefused


class Approver(Protocol):
    """Asks people."""

    async def seek(self, ask: Ask, elicit: Elicit | None) -> Answer:
        """Return a person's answer, or that there is none in time; cancelled when none is of use any more."""

    def ended(self, call: CallId) -> None:
        """Take note that a call which was asked about is over."""


class Seeking:
    """The questions of one run.

    Args:
        approver: None where nobody can be asked.
        feed: receives each question's one answer.
    """

    def __init__(self, approver: Approver | None, feed: Callable[[Answer], None]) -> None:
        self._approver = approver
        self._feed = feed
        self._scopes: dict[CallId, anyio.CancelScope] = {}
        self._asked: set[CallId] = set()

    def begin(self, effect: SeekApproval, elicit: Elicit | None) -> Coroutine[None, None, None]:
        """Return what to run; the question can be withdrawn from now on, before that has begun."""
        scope = self._scopes[effect.call] = anyio.CancelScope()
        self._asked.add(effect.call)
        return self._seek(effect, elicit, scope)

    def withdraw(self, call: CallId) -> None:
        """Give up a question; its answer is then that it is void, or the one that came first."""
        if call in self._scopes:
            self._scopes[call].cancel()

    def ended(self, call: CallId) -> None:
        """Tell the approver that a call is over."""
        if call in self._asked:
            self._asked.discard(call)
            if self._approver is not None:
                self._approver.ended(call)

    async def _seek(self, effect: SeekApproval, elicit: Elicit | None, scope: anyio.CancelScope) -> None:
        answer: Answer = ApprovalRefused(effect.call, Unapproved.UNANSWERABLE)
        try:
            with scope:
                if self._approver is not None:
                    answer = await self._approver.seek(effect.ask, elicit)
        finally:
            self._scopes.pop(effect.call, None)
        if scope.cancelled_caught:
            answer = ApprovalRefused(effect.call, Unapproved.VOID)
        self._feed(answer)

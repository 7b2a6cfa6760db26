"""Questions to people that are under way: one task each, which the core may withdraw at any time.

Who is asked, and how, is `trionyx_proxy.approvals`; this only waits and passes the answer on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Question:
    scope: anyio.CancelScope | None = None
    is_withdrawn: bool = False


class Seeking:
    """The questions of one run.

    Args:
        approver: None where nobody can be asked.
        feed: receives each question's one answer.
    """

    def __init__(self, approver: Approver | None, feed: Callable[[Answer], None]) -> None:
        self._approver = approver
        self._feed = feed
        self._open: dict[CallId, _Question] = {}
        self._asked: set[CallId] = set()

    def begin(self, effect: SeekApproval, elicit: Elicit | None) -> Coroutine[None, None, None]:
        """Return what to run; the question can be withdrawn from now on, before that has begun."""
        question = self._open[effect.call] = _Question()
        self._asked.add(effect.call)
        return self._seek(effect, elicit, question)

    def withdraw(self, call: CallId) -> None:
        """Give up a question; its answer is then that it is void, or the one that came first."""
        question = self._open.get(call)
        if question is not None:
            question.is_withdrawn = True
            if question.scope is not None:
                question.scope.cancel()

    def ended(self, call: CallId) -> None:
        """Tell the approver that a call is over."""
        if call in self._asked:
            self._asked.discard(call)
            if self._approver is not None:
                self._approver.ended(call)

    async def _seek(self, effect: SeekApproval, elicit: Elicit | None, question: _Question) -> None:
        answer: Answer = ApprovalRefused(effect.call, Unapproved.UNANSWERABLE)
        with anyio.CancelScope() as scope:
            question.scope = scope
            if question.is_withdrawn:
                scope.cancel()
            if self._approver is not None:
                answer = await self._approver.seek(effect.ask, elicit)
        del self._open[effect.call]
        if scope.cancelled_caught:
            answer = ApprovalRefused(effect.call, Unapproved.VOID)
        self._feed(answer)

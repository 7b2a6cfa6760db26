"""The serving process's side of approvals: asks, waits, records each answer, and only then lets it count.

People answer in other processes, which write rows and nothing else (`store`), or in the agent's client where the
operator vouches for it (elicitation). This is the one place that turns a row into an event of the core.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import structlog

from trionyx_proxy.approvals.display import render
from trionyx_proxy.approvals.journal import Journal
from trionyx_proxy.approvals.question import compose
from trionyx_proxy.approvals.rows import ANY_TOOL, Endorsement, Entry, Scope, Standing
from trionyx_proxy.approvals.store import ApprovalStore, now_ms
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.approval import Approval, Ask, Unapproved
from trionyx_proxy.core.event import ApprovalGiven, ApprovalRefused
from trionyx_proxy.core.request import CallId
from trionyx_proxy.errors import StateError

POLL_S = 0.1
"""How long an answer by another process may go unnoticed while a call waits for it, seconds."""

POLL_REGULARLY_S = 0.25
"""How long an endorsement or a revocation by another process may go unnoticed, seconds."""

MAX_PENDING = 16
"""Open questions of one run; an agent cannot bury the one that matters among more."""

AT_CLIENT = "client of "
"""Begins the name under which an answer from the agent's client is kept; no name of an approver begins so."""

Elicit = Callable[[str], Awaitable[bool | None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """How people are asked.

    Args:
        wait_s: how long a call waits for an answer, seconds; it is refused then, and the question stays.
        approvers: names of those whose answers count.
        is_elicitable: the operator says that a person sees the client's dialogs and the agent cannot answer them.
    """

    wait_s: float
    approvers: frozenset[str]
    is_elicitable: bool


class Approvals:
    """The questions and endorsements of one run. For one event loop.

    Args:
        store: of the state directory.
        identity: of the run.
        journal: of the run's log.
        settings: see there.
        on_endorsed, on_revoked: told of each endorsement that counts from now on, or no more.
    """

    def __init__(
        self,
        store: ApprovalStore,
        identity: Identity,
        journal: Journal,
        settings: DeskSettings,
        *,
        on_endorsed: Callable[[Endorsement], None] = lambda endorsement: None,
        on_revoked: Callable[[Endorsement], None] = lambda endorsement: None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._store = store
        self._identity = identity
        self._journal = journal
        self._settings = settings
        self._on_endorsed = on_endorsed
        self._on_revoked = on_revoked
        self._clock = clock
        self._lock = anyio.Lock()
        self._counting: dict[str, Endorsement] = {}
        self._once: dict[CallId, tuple[Endorsement, ...]] = {}
        self._version = -1
        self._out = structlog.get_logger("trionyx.approvals").bind(run=identity.run)

    # What counts.

    def endorsements(self) -> tuple[Endorsement, ...]:
        """Return what people have vouched for in this run and not taken back, each already on record."""
        return tuple(self._counting.values())

    def vouches(
        self, kind: str, value: str | int | float | bool, role: str, *, tool: str, call: CallId
    ) -> Endorsement | None:
        """Return the endorsement of a whole value for one role in one call, or None.

        Args:
            kind: as in the catalog, and so `role`.
            value: one argument.
            role: its part in the call.
            tool: offered name of the tool that is called.
            call: for which an endorsement of scope ONCE may have been given.
        """
        candidates = (*self._once.get(call, ()), *self._counting.values())
        if not candidates:
            return None
        digest = self._store.digest(self._identity.tenant, kind, role, value)
        if digest is None:
            return None
        return next(
            (found for found in candidates if found.digest == digest and found.tool in (ANY_TOOL, tool)), None
        )

    # Asking.

    async def seek(self, ask: Ask, elicit: Elicit | None = None) -> ApprovalGiven | ApprovalRefused:
        """Return a person's answer to a question of the core, or that there is none in time; never raises."""
        call = ask.request.call
        try:
            return await self._seek(ask, elicit if self._settings.is_elicitable else None)
        except StateError as error:
            self._out.error("nobody can be asked", reason=str(error))
            return ApprovalRefused(call, Unapproved.UNANSWERABLE)

    def ended(self, call: CallId) -> None:
        """Forget what was vouched for in one call only."""
        for endorsement in self._once.pop(call, ()):
            self._on_revoked(endorsement)

    async def _seek(self, ask: Ask, elicit: Elicit | None) -> ApprovalGiven | ApprovalRefused:
        call = ask.request.call
        deadline = anyio.current_time() + self._settings.wait_s
        while True:
            entry = await self._question(ask)
            if entry is None:
                return ApprovalRefused(call, Unapproved.UNANSWERABLE)
            entry = await self._answer(entry, deadline, elicit)
            await self.refresh()
            match entry.standing:
                case Standing.APPROVED | Standing.USED:
                    approval = await self._take(entry, call)
                    if approval is not None:
                        return ApprovalGiven(call, approval, self._clock())
                    # It served another call, or whoever gave it may not: this call needs an approval of its own.
                case Standing.REJECTED:
                    return ApprovalRefused(call, Unapproved.REJECTED, entry.id)
                case Standing.PENDING:
                    return ApprovalRefused(call, Unapproved.PENDING, entry.id)
                case Standing.EXPIRED:
                    return ApprovalRefused(call, Unapproved.EXPIRED, entry.id)

    async def _question(self, ask: Ask) -> Entry | None:
        """Return the question that is open about a call, or put a new one; None if that is not possible."""
        async with self._lock:
            await _thread(self._store.expire, self._identity.run)
            for known in self._store.find(self._identity.run, ask.subject):
                if known.standing is Standing.PENDING or self._counts(known):
                    return known
            waiting = [entry for entry in self._store.all(run=self._identity.run) if _is_pending(entry)]
            if len(waiting) >= MAX_PENDING:
                self._out.warning("too many questions wait for an answer", waiting=len(waiting))
                return None
            entry = self._store.draft(
                compose(ask, self._identity),
                subject=ask.subject,
                binding=ask.binding,
                rules=[reason.id for reason in ask.reasons],
                expires_ms=ask.expires_ms,
            )
            if entry is None or not await self._journal.asked(entry, ask.request.call):
                return None
            await _thread(self._store.put, entry)
            self._out.info("a person is asked", approval=entry.id, tool=ask.request.tool.id)
            return entry

    async def _answer(self, entry: Entry, deadline: float, elicit: Elicit | None) -> Entry:
        """Wait until a question is answered or over, or the call has waited long enough."""
        async with anyio.create_task_group() as tasks:
            if elicit is not None and entry.standing is Standing.PENDING:
                tasks.start_soon(self._elicit, entry, elicit)
            while entry.standing is Standing.PENDING and (left := deadline - anyio.current_time()) > 0:
                await anyio.sleep(min(POLL_S, left))
                entry = self._store.get(entry.id) or replace(entry, standing=Standing.EXPIRED)
            tasks.cancel_scope.cancel()
        return entry

    async def _elicit(self, entry: Entry, elicit: Elicit) -> None:
        """Put a question before the person at the agent's client; no answer there leaves it to the others."""
        try:
            said = await elicit(render(entry.question, conceals=True))
            if said is not None:
                if said:
                    await _thread(self._store.approve, entry.id, self._at_client)
                else:
                    await _thread(self._store.reject, entry.id, self._at_client)
        except StateError:
            self._out.info("a question was answered elsewhere first", approval=entry.id)
        except Exception as error:
            self._out.warning("the client could not ask", error_type=type(error).__name__)

    async def _take(self, entry: Entry, call: CallId) -> Approval | None:
        """Use an approval up for one call; None if it was used before, or whoever gave it may not."""
        async with self._lock:
            if not self._counts(entry) or not await _thread(self._store.claim, entry):
                return None
            if not await self._journal.used(entry, call):
                return None  # it is gone all the same: what is not on record does not happen
            once = [
                found
                for found in self._store.endorsements(approval=entry.id)
                if found.scope is Scope.ONCE and self._is_valid(found)
            ]
            for endorsement in once:
                if await self._journal.given_now(endorsement):
                    self._once[call] = (*self._once.get(call, ()), endorsement)
                    self._on_endorsed(endorsement)
        return Approval(entry.id, entry.by, entry.rules, entry.expires_ms, entry.binding)

    # Keeping up with the file.

    async def poll_regularly(self) -> None:
        """Poll until cancelled."""
        while True:
            await anyio.sleep(POLL_REGULARLY_S)
            await self.poll()

    async def poll(self) -> None:
        """Take note of what other processes changed, if they did; never raises."""
        try:
            if self._store.version != self._version:
                await self.refresh()
        except StateError as error:
            self._out.error("approvals cannot be read", reason=str(error))

    async def refresh(self) -> None:
        """Record each change of this run's questions and endorsements, and let it count then.

        Raises:
            StateError: the file cannot be read; what counted before still does.
        """
        async with self._lock:
            self._version = self._store.version
            for entry in self._store.all(run=self._identity.run):
                if not self._journal.is_noted(entry) and not self._journal.was_used(entry.id):
                    await self._journal.answered(entry)
            for endorsement in self._store.endorsements(tenant=self._identity.tenant):
                await self._note(endorsement)

    async def void(self, asked_before_ms: int) -> None:
        """Give up the open questions of another policy than the one in force; never raises.

        Args:
            asked_before_ms: when the policy changed, Unix milliseconds.
        """
        try:
            await _thread(partial(self._store.expire, self._identity.run, asked_before_ms=asked_before_ms))
            await self.refresh()
        except StateError as error:
            self._out.error("questions could not be given up", reason=str(error))

    async def _note(self, endorsement: Endorsement) -> None:
        reaches = endorsement.scope is Scope.ALWAYS or (
            endorsement.scope is Scope.RUN and endorsement.run == self._identity.run
        )
        counts, id_ = endorsement.id in self._counting, endorsement.id
        if endorsement.revoked_ms and (counts or id_ in self._journal.given):
            # INVARIANT: a right ends before its end is on record, and begins after its beginning is.
            if self._counting.pop(id_, None) is not None:
                self._on_revoked(endorsement)
            await self._journal.revoked(endorsement)
        elif reaches and not counts and self._is_valid(endorsement):
            if id_ in self._journal.given or await self._journal.given_now(endorsement):
                self._counting[id_] = endorsement
                self._on_endorsed(endorsement)

    def _is_valid(self, endorsement: Endorsement) -> bool:
        return not endorsement.revoked_ms and self._may_answer(endorsement.by)

    def _counts(self, entry: Entry) -> bool:
        """Tell whether an answer is by somebody who may give it, proven, and not used by the log's account."""
        return (
            self._store.is_proven(entry)
            and self._may_answer(entry.by)
            and not self._journal.was_used(entry.id)
            and entry.run == self._identity.run
        )

    def _may_answer(self, by: str) -> bool:
        return by in self._settings.approvers or (self._settings.is_elicitable and by == self._at_client)

    @property
    def _at_client(self) -> str:
        return f"{AT_CLIENT}{self._identity.user}"


def _is_pending(entry: Entry) -> bool:
    return entry.standing is Standing.PENDING


async def _thread(work: Callable[..., T], *args: Any) -> T:
    """Run what waits for the disk beside the event loop."""
    return await anyio.to_thread.run_sync(work, *args)

"""The only place that performs effects: each one the core asks for, each answer fed back as an event.

The driver decides nothing. It adds no effect, drops none, and stops feeding when the core reports a defect: then the
run is closed, and everything open or new is refused, each with a record that the driver makes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never

import anyio
import structlog

from trionyx_policies.decision import Decision, Obligation
from trionyx_policies.errors import EvaluationError
from trionyx_proxy.core import evidence
from trionyx_proxy.core.effect import (
    AskPolicy,
    CancelForward,
    Effect,
    ForwardCall,
    RefuseCall,
    ReturnResult,
    SeekApproval,
    StoreRecord,
    TransformArguments,
    WithdrawAsk,
)
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    Event,
    PolicyReloaded,
    RecordFailed,
    RecordStored,
    ResultArrived,
    ResultFailed,
    TransformFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.label import Integrity
from trionyx_proxy.core.request import CallId, Failure, FailureKind, Reason, Refusal, Request, Result
from trionyx_proxy.core.run import Run
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.pep import milestones
from trionyx_proxy.pep.exchange import CATCH_UP_AFTER_S, Exchange
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.pep.seeking import Approver, Elicit, Seeking
from trionyx_proxy.pep.upstream import OnProgress

CLOSED = Refusal(
    (Reason("TRX-INTERNAL", "the proxy stopped after an internal error; nothing more is carried out"),)
)
"""Answer to everything after the core reported a defect."""


class DecisionPoint(Protocol):
    """The part of `trionyx_policies.point.PolicyPoint` that a run needs."""

    def begin(self, document: bytes) -> Decision | Coroutine[None, None, Decision]:
        """Return the host's effect of the policy's answer, or what to await for it; or raise EvaluationError."""


Ending = Result | Refusal
Transform = Callable[[Request, tuple[Obligation, ...]], Request]
OnStored = Callable[[Run, int], None]


@dataclass(slots=True)
class _Open:
    """What the driver holds for a call between its first event and its ending."""

    ending: asyncio.Future[Ending]
    on_progress: OnProgress | None
    request: Request | None = None
    elicit: Elicit | None = None
    forward: anyio.CancelScope | None = None
    is_withdrawn: bool = False
    last_record: str = ""
    """Type of the last record asked for, durable or not."""


class Driver:
    """Drives one run: events in through `call`, effects out to policy, log and upstreams.

    INVARIANT: `Run.receive` is called from the event loop only, one event at a time, and its new state is in place
    before any of its effects starts.
    """

    def __init__(
        self,
        run: Run,
        *,
        point: DecisionPoint,
        recorder: Recorder,
        exchange: Exchange,
        transform: Transform,
        on_stored: OnStored,
        approver: Approver | None = None,
    ) -> None:
        self.run = run
        self.point = point
        self._recorder = recorder
        self._exchange = exchange
        self._transform = transform
        self._on_stored = on_stored
        self._seeking = Seeking(approver, self._feed)
        self._open: dict[CallId, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_broken = False
        """Whether a defect ended the run: everything is refused from then on."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger("trionyx.driver")

    @property
    def is_tainted(self) -> bool:
        """Whether the run has been shown untrusted text."""
        return self.run.label.integrity is Integrity.PUBLIC

    @property
    def in_flight(self) -> int:
        """Number of calls that have not ended."""
        return len(self._open)

    async def call(
        self,
        event: CallRequested | CallRejected,
        *,
        on_progress: OnProgress | None = None,
        elicit: Elicit | None = None,
    ) -> Ending:
        """Carry one call through its life and return how it ended.

        Cancelling the awaiting task withdraws the call; the core still ends it, in a record.
        """
        request: Request | None = None
        match event:
            case CallRequested(request):
                call = request.call
            case CallRejected():
                call = event.rejection.call
        opened = _Open(asyncio.get_running_loop().create_future(), on_progress, request, elicit)
        self._open[call] = opened
        self._idle.clear()
        if self.is_broken:
            self._give_up(call, opened)
        self._feed(event)
        try:
            return await opened.ending
        except asyncio.CancelledError:
            if self._open.get(call) is opened:
                self._feed(CallCancelled(call))
            raise

    def reload(self, point: DecisionPoint, event: PolicyReloaded) -> None:
        """Put another policy in force; calls decided under the old one and not yet released are decided again."""
        self.point = point
        self._feed(event)

    async def drain(self, limit_s: float) -> bool:
        """Withdraw every open call and wait for their records; return whether all ended in time."""
        for call, opened in list(self._open.items()):
            if not opened.ending.done():
                self._feed(CallCancelled(call))
        with anyio.move_on_after(limit_s):
            await self._idle.wait()
            return True
        return False

    def _feed(self, event: Event) -> None:
        if self.is_broken:
            return
        try:
            self.run, effects = self.run.receive(event)
        except Exception:
            # Any exception here is a defect; going on would mean acting on a state that is not understood.
            self._log.critical("the core refused an event", event_type=type(event).__name__, exc_info=True)
            self._break()
            return
        try:
            for effect in effects:
                self._perform(effect)
        except Exception:
            self._give_up_run()

    def _give_up_run(self) -> None:
        self._log.critical("an effect could not be performed", exc_info=True)
        self._break()

    def _break(self) -> None:
        """Refuse every open call: the state is not understood, but what was asked for must still be on record."""
        if self.is_broken:
            return
        self.is_broken = True
        for call, opened in list(self._open.items()):
            self._give_up(call, opened)

    def _give_up(self, call: CallId, opened: _Open) -> None:
        self._cancel_forward(call)
        self._start(self._refuse_after_defect(call, opened))

    async def _refuse_after_defect(self, call: CallId, opened: _Open) -> None:
        """Record the end of a call in place of the core, unless its last record is under way; then refuse it.

        With an intent on record nobody knows any more whether the tool was reached.
        """
        identity, label = self.run.identity, self.run.label
        try:
            match opened.last_record:
                case evidence.INTENT:
                    body = milestones.in_doubt(identity, call, label)
                    await self._recorder.store(evidence.OUTCOME, body, {})
                case "":
                    body = milestones.denied_by_defect(identity, call, CLOSED, label)
                    await self._recorder.store(evidence.DENIED, body, {})
                case _:
                    pass
        except Exception:
            self._log.critical("a refusal could not be recorded", exc_info=True)
        finally:
            self._end(call, CLOSED)

    def _end(self, call: CallId, ending: Ending) -> None:
        opened = self._open.pop(call, None)
        self._seeking.ended(call)
        is_delivered = False
        if opened is not None and not opened.ending.done():
            opened.ending.set_result(ending)
            is_delivered = isinstance(ending, Result)
        self._exchange.ended(call, is_delivered=is_delivered)
        if not self._open:
            self._idle.set()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case AskPolicy():
                self._ask(effect)
            case TransformArguments():
                self._feed_transform(effect)
            case StoreRecord():
                self._store(effect)
            case SeekApproval():
                opened = self._open.get(effect.call)
                self._start(self._seeking.begin(effect, opened.elicit if opened else None))
            case WithdrawAsk():
                self._seeking.withdraw(effect.call)
            case ForwardCall():
                self._start(self._forward(effect))
            case CancelForward():
                self._cancel_forward(effect.call)
            case ReturnResult():
                self._end(effect.call, effect.result)
            case RefuseCall():
                self._end(effect.call, effect.refusal)
            case _:
                assert_never(effect)

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:
            self._give_up_run()

    def _ask(self, effect: AskPolicy) -> None:
        """Ask the policy; a decision that is there at once is fed at once, without a task's trips round the loop."""
        try:
            begun = self.point.begin(effect.document)
        except EvaluationError as error:
            self._feed(VerdictFailed(effect.call, error.code))
            return
        if isinstance(begun, Decision):
            self._feed(VerdictReached(effect.call, begun))
        else:
            self._start(self._await_decision(effect.call, begun))

    async def _await_decision(self, call: CallId, begun: Awaitable[Decision]) -> None:
        try:
            decision = await begun
        except EvaluationError as error:
            self._feed(VerdictFailed(call, error.code))
        else:
            self._feed(VerdictReached(call, decision))

    def _feed_transform(self, effect: TransformArguments) -> None:
        try:
            request = self._transform(effect.request, effect.obligations)
        except ArgumentError:
            self._feed(TransformFailed(effect.request.call))
        else:
            self._feed(ArgumentsTransformed(request))

    def _store(self, effect: StoreRecord) -> None:
        opened = self._open.get(effect.call)
        if opened is not None and effect.type != evidence.ASKED:  # a question ends nothing and begins nothing
            opened.last_record = effect.type
        self._recorder.begin(effect.type, effect.body, effect.payloads, partial(self._told, effect))
        if effect.type == evidence.INTENT:
            asyncio.get_running_loop().call_later(CATCH_UP_AFTER_S, self._foresee, effect.call)

    def _foresee(self, call: CallId) -> None:
        """Use the time that an intent takes to the disk; a call that was sent or ended meanwhile needs nothing."""
        opened = self._open.get(call)
        if opened is not None and opened.request is not None and opened.forward is None:
            self._exchange.foresee(opened.request)

    def _told(self, effect: StoreRecord, seq: int | None) -> None:
        """Go on after a record: it is durable under `seq`, or lost."""
        if seq is None:
            self._log.critical("a record could not be stored", record_type=effect.type)
            self._feed(RecordFailed(effect.call))
            return
        self._feed(RecordStored(effect.call, seq))
        self._on_stored(self.run, seq)

    async def _forward(self, effect: ForwardCall) -> None:
        request = effect.request
        opened = self._open.get(request.call)
        answer: Result | Failure
        with anyio.CancelScope() as scope:
            if opened is not None:
                opened.forward = scope
                if opened.is_withdrawn:
                    scope.cancel()
            try:
                answer = await self._exchange.carry(
                    effect, tainted=self.is_tainted, on_progress=opened.on_progress if opened else None
                )
            except Exception:
                # Whatever an upstream can provoke here costs its own call and nothing else.
                self._log.error("a tool's answer could not be handled", exc_info=True)
                answer = Failure(FailureKind.GARBAGE, "the tool's answer could not be handled", sent=True)
        if opened is not None:
            opened.forward = None
        if scope.cancelled_caught:
            answer = Failure(FailureKind.CANCELLED, "the call was withdrawn", sent=True)
        match answer:
            case Result():
                self._feed(ResultArrived(request.call, answer))
            case Failure():
                self._feed(ResultFailed(request.call, answer))

    def _cancel_forward(self, call: CallId) -> None:
        opened = self._open.get(call)
        if opened is None:
            return
        opened.is_withdrawn = True
        if opened.forward is not None:
            opened.forward.cancel()

"""A run being served: everything opened in the order in which it can fail, and closed in reverse.

Nothing is offered to the agent before the policy is loaded, the log is owned, and the opening record is durable.
It performs no call (`pep.driver`) and speaks no protocol (`pep.downstream`, `pep.upstream`).
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import structlog

from trionyx_audit.errors import AuditError
from trionyx_audit.log import Log
from trionyx_audit.opening import PayloadOpener
from trionyx_audit.record import Record
from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.errors import PolicyError
from trionyx_policies.point import EngineSettings, PolicyPoint
from trionyx_proxy.approvals.desk import Approvals
from trionyx_proxy.approvals.sealing import secret_key
from trionyx_proxy.approvals.store import now_ms
from trionyx_proxy.catalog import Catalog
from trionyx_proxy.config import Config, resolve_command
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState
from trionyx_proxy.core.event import PolicyReloaded
from trionyx_proxy.core.request import CallId
from trionyx_proxy.core.run import Run
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages import wording
from trionyx_proxy.messages.mailbox import Mailbox
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.pep import milestones, wire
from trionyx_proxy.pep.admission import Admission
from trionyx_proxy.pep.asking import ttl_ms
from trionyx_proxy.pep.claimant import Claimant
from trionyx_proxy.pep.conversation import Conversation
from trionyx_proxy.pep.downstream import Downstream
from trionyx_proxy.pep.driver import Driver
from trionyx_proxy.pep.exchange import Exchange, Forwarding
from trionyx_proxy.pep.ledger import NATIVE, Ledger
from trionyx_proxy.pep.native import DESCRIPTORS, NativeTools
from trionyx_proxy.pep.recall import Recall
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.pep.resources import Resources
from trionyx_proxy.pep.upstream import Launch, Upstream
from trionyx_proxy.provenance import Budget, Handles, Index, prompt_implies
from trionyx_proxy.state import RunStore
from trionyx_proxy.statefile import HEARSAY_KEY
from trionyx_proxy.token import mint_ulid

DRAIN_S = 5.0
"""Time that open calls get to end in a record when the agent's side closes, seconds."""

SAVE_EVERY_S = 0.2
"""How long the state file may lag behind the log, seconds; the log is what a restart believes."""


class Service:
    """One run, opened: serve it once, reload its policy at any time, close it by leaving `open_service`."""

    def __init__(
        self,
        config: Config,
        claimant: Claimant,
        *,
        bundle: Bundle,
        point: PolicyPoint,
        log: Log,
        store: RunStore,
        state: RunState,
        recorder: Recorder,
        approvals: Approvals | None,
        mailbox: Mailbox | None = None,
    ) -> None:
        self._config = config
        self._claimant = claimant
        self._bundle = bundle
        self._log = log
        self._store = store
        self._resumed = state
        self._out = structlog.get_logger("trionyx.service").bind(run=claimant.identity.run)
        self._recorder = recorder
        self._approvals = approvals
        identity, prompt = claimant.identity, claimant.prompt
        resources = Resources(
            store, identity.tenant, identity.run, secret_key(config.state_directory, HEARSAY_KEY)
        )
        if resources.hearsay().is_full:
            self._out.warning(
                "what untrusted runs wrote is not known, so no result is trusted: the state file or hearsay.key was "
                "lost, or it was too much"
            )
        self._ledger = ledger = Ledger(Index(prompt.words, identity.key), Handles(), resources)
        self.admission = Admission(Catalog.from_data(bundle.data["trionyx"]), ledger)
        self._native = native = NativeTools(ledger, Budget(_bit_budget(bundle)), self._is_tainted)
        self._sections = {upstream.alias: upstream.catalog for upstream in config.upstreams}
        self._upstreams = {
            upstream.alias: Upstream(
                Launch(
                    alias=upstream.alias,
                    command=(str(resolve_command(upstream)), *upstream.command[1:]),
                    env=upstream.env,
                    cwd=None if upstream.cwd is None else str(upstream.cwd),
                    start_timeout_s=upstream.start_timeout_ms / 1_000,
                ),
                on_listed=self._listed,
            )
            for upstream in config.upstreams
        }
        conversation: Conversation | None = None
        if mailbox is not None:
            conversation = Conversation(
                identity,
                claimant.parent,
                mailbox,
                peers=lambda: Peers.from_data(self._bundle.data["trionyx"]),
                label=lambda: self.driver.run.label,
                index=ledger.index,
                handles=ledger.handles,
            )
            self.admission.peer_of = conversation.peer_of
        if claimant.parent is not None:
            self.admission.rights = frozenset(claimant.parent.tools)
        prompt = replace(prompt, implies=_implied(bundle, prompt, identity))
        self.driver = Driver(
            Run.resume(identity, prompt, _version(bundle), state, approval_ttl_ms=ttl_ms(config)),
            point=point,
            recorder=self._recorder,
            exchange=Exchange(
                {**self._upstreams, NATIVE: native},
                admission=self.admission,
                ledger=ledger,
                forwarding=Forwarding(
                    timeout_s=config.limits.call_timeout_ms / 1_000,
                    max_result_bytes=config.limits.max_result_bytes,
                ),
                conversation=conversation,
            ),
            transform=self.admission.transform,
            on_stored=self._stored,
            approver=approvals,
        )
        if approvals is not None:
            self.admission.vouches = approvals.vouches
        own = DESCRIPTORS if conversation is None else (*DESCRIPTORS, *wording.DESCRIPTORS)
        self.admission.pin(NATIVE, NATIVE, [dict(descriptor) for descriptor in own])
        self._point = point
        self._saved_seq = -1
        self._unsaved_seq = -1

    def _is_tainted(self) -> bool:
        return self.driver.is_tainted

    def recall(self, directory: Path, past: Iterable[Record]) -> None:
        """Learn again where an earlier process of the run had its values from."""
        catalog = Catalog.from_data(self._bundle.data["trionyx"])
        try:
            recall = Recall(self._ledger, self._native, catalog, PayloadOpener(directory))
        except AuditError:
            self._ledger.index.close()
            is_whole = False
        else:
            is_whole = recall.read(past)
        if not is_whole:
            self._out.warning(
                "what the run has seen cannot be read again; only its prompt vouches for values"
            )

    async def begin(self, *, is_new: bool) -> None:
        """Record that this process takes the run, and close the calls that an earlier one left in doubt.

        Raises:
            StateError: a record is not known to be durable.

        """
        run, engine = self.driver.run, self._config.policy.engine
        if is_new:
            await self._record(
                "run.open",
                milestones.run_open(
                    run.identity,
                    run.prompt,
                    floor=self._claimant.floor,
                    label=run.label,
                    policy=run.policy,
                    engine=engine,
                    parent=self._claimant.parent,
                ),
            )
            return
        for call in self._resumed.dangling:
            await self._record("call.outcome", milestones.in_doubt(run.identity, call, run.label))
        await self._record(
            "run.resume",
            milestones.run_resume(
                run.identity,
                label=run.label,
                policy=run.policy,
                engine=engine,
                dangling=self._resumed.dangling,
            ),
        )

    async def serve(self, source: wire.ByteSource, sink: wire.ByteSink) -> None:
        """Serve the agent until its side closes or the process is told to stop, and seal the log.

        The log is sealed before the upstreams are stopped: a runtime may kill its tool server a moment after
        asking it to end.
        """
        reason = "agent closed"
        async with anyio.create_task_group() as tasks:

            async def obey(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                nonlocal reason
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                    task_status.started()
                    async for number in signals:
                        if number == signal.SIGHUP:
                            await self.reload()
                            continue
                        reason = f"signal {signal.Signals(number).name}"
                        tasks.cancel_scope.cancel()

            await tasks.start(obey)
            tasks.start_soon(self._save_regularly)
            if self._approvals is not None:
                tasks.start_soon(self._approvals.poll_regularly)
            for upstream in self._upstreams.values():
                tasks.start_soon(upstream.run)
            for upstream in self._upstreams.values():
                await upstream.settled.wait()
            downstream = Downstream(
                self.driver,
                self.admission,
                mint=lambda: CallId(mint_ulid()),
                max_in_flight=self._config.limits.max_in_flight,
            )
            self._out.info("serving", tools=len(self.admission.pins))
            try:
                await downstream.serve(source, sink)
            except Exception:
                reason = "internal error"
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    if not await self.driver.drain(DRAIN_S):
                        self._out.error("calls did not end in time", in_flight=self.driver.in_flight)
                    await self._end("internal error" if self.driver.is_broken else reason)
            tasks.cancel_scope.cancel()

    async def reload(self) -> bool:
        """Put the bundle's present state in force, all of it or none; return whether a new one is in force."""
        try:
            bundle = await anyio.to_thread.run_sync(load_bundle, self._config.policy.bundle)
            if bundle.digest == self._bundle.digest:
                self._out.info("policy unchanged", revision=bundle.revision)
                return False
            if bundle.revision <= self._bundle.revision:
                raise StateError(
                    f"revision {bundle.revision} does not rise above {self._bundle.revision}, the one in force"
                )
            point = await PolicyPoint.start(bundle, engine_settings(self._config))
        except (PolicyError, StateError) as error:
            self._out.error("policy not reloaded", reason=str(error))
            await self._recorder.store("policy.refused", milestones.policy_refused(_ascii(str(error))), {})
            return False
        body = milestones.policy_load(_version(bundle), self._config.policy.engine, "reload")
        if await self._recorder.store("policy.load", body, {}) is None:
            await point.aclose()
            return False
        dropped = self.admission.reload(Catalog.from_data(bundle.data["trionyx"]))
        old, self._point, self._bundle = self._point, point, bundle
        identity, prompt = self._claimant.identity, self._claimant.prompt
        implied = _implied(bundle, prompt, identity)
        moment = now_ms()
        self.driver.reload(point, PolicyReloaded(bundle.revision, bundle.digest, implied))
        if self._approvals is not None:
            await self._approvals.void(asked_before_ms=moment)
        self._out.info("policy reloaded", revision=bundle.revision, dropped=sorted(dropped))
        # Decisions under way at the old point end within the deadline, or are denied when it closes.
        await anyio.sleep(self._config.policy.deadline_ms / 1_000)
        await old.aclose()
        return True

    async def _end(self, reason: str) -> None:
        """Record that this process serves the run no longer, and seal the log."""
        run = self.driver.run
        if not run.poisoned:
            body = milestones.run_close(run.identity, run.usage, run.label, reason)
            seq = await self._recorder.store("run.close", body, {})
            if seq is not None:
                self._stored(run, seq)
        self._save()
        with suppress(AuditError):  # a log that failed has said so in every call since
            await self._recorder.close()

    async def close(self) -> None:
        """Stop the policy engine in force; the one that the service was opened with is closed by its opener."""
        await self._point.aclose()

    async def _listed(self, upstream: Upstream, tools: list[dict[str, Any]]) -> None:
        """Pin what an upstream lists, and record it before any of it is offered."""
        section = self._sections[upstream.alias]
        known = {tool: pin for tool, pin in self.admission.pins.items() if pin.tool.server == upstream.alias}
        withheld = self.admission.pin(upstream.alias, section, tools)
        pins = [pin for pin in self.admission.pins.values() if pin.tool.server == upstream.alias]
        for tool in withheld:
            self._out.warning("tool withheld", upstream=tool.server, tool=tool.name, reason=tool.reason)
        if known and {pin.tool.id for pin in pins} == known.keys():
            return  # the same tools came back with the same descriptors: nothing new to record
        for body in milestones.tools_offered(upstream.alias, pins, withheld):
            if await self._recorder.store("tools.offered", body, {}) is None:
                self._out.error("a tool list could not be recorded", upstream=upstream.alias)
                self.admission.pin(upstream.alias, section, [])
                return

    async def _record(self, type_: str, body: bytes) -> None:
        seq = await self._recorder.store(type_, body, {})
        if seq is None:
            raise StateError("the log does not take the run's opening record")
        self._unsaved_seq = seq

    def _stored(self, run: Run, seq: int) -> None:
        self._unsaved_seq = max(self._unsaved_seq, seq)

    async def _save_regularly(self) -> None:
        while True:
            await anyio.sleep(SAVE_EVERY_S)
            self._save()

    def _save(self) -> None:
        """Copy label and counters to the state file; a copy that fails costs a slower restart, no more."""
        if self._unsaved_seq == self._saved_seq:
            return
        run = self.driver.run
        try:
            self._store.save(run.identity.run, self._unsaved_seq, run.label, _counters(run))
        except StateError as error:
            self._out.warning("the state file could not be written", reason=str(error))
            return
        self._saved_seq = self._unsaved_seq


def engine_settings(config: Config) -> EngineSettings:
    """Return the policy engine's part of the configuration."""
    policy = config.policy
    return EngineSettings(
        kind=policy.engine.value,
        deadline_ms=policy.deadline_ms,
        memory_mb=policy.memory_mb,
        opa_command=policy.opa_command,
    )


def _implied(bundle: Bundle, prompt: Prompt, identity: Identity) -> tuple[str, ...]:
    """Return the effects that a run's prompt implies by the word lists of a policy."""
    match bundle.data["trionyx"]:
        case {"flow": {"implied_by": dict(lists)}}:
            words = {
                effect: list(map(str, listed)) for effect, listed in lists.items() if isinstance(listed, list)
            }
            return prompt_implies(prompt.words, words, identity.key)
        case _:
            return ()


def _bit_budget(bundle: Bundle) -> int:
    """Return how many bits a run may extract from hidden text: what the policy says, or none."""
    match bundle.data["trionyx"]:
        case {"flow": {"extract_bits": int(bits)}} if 0 <= bits <= 1 << 20:
            return bits
        case _:
            return 0


def _version(bundle: Bundle) -> PolicyVersion:
    return PolicyVersion(bundle.revision, bundle.digest)


def _counters(run: Run) -> Mapping[str, int]:
    return {"calls": run.usage.calls, "denied": run.usage.denied}


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:1_000]

"""Opening a run in the order in which it can fail: policy, log, what its records say, approvals; closing in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import anyio.abc

from trionyx_audit.errors import AuditError
from trionyx_audit.keys import load_signer
from trionyx_audit.log import Log
from trionyx_audit.reading import records
from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.point import PolicyPoint
from trionyx_proxy.catalog import Catalog
from trionyx_proxy.config import Config
from trionyx_proxy.core.account import RunState
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.errors import ConfigError, Problem, StateError
from trionyx_proxy.messages.mailbox import Mailbox
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.pep.asking import OnExit, Past, open_approvals
from trionyx_proxy.pep.claimant import Claimant
from trionyx_proxy.pep.conversation import received_calls
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.pep.service import Service, engine_settings
from trionyx_proxy.state import RunStore


@asynccontextmanager
async def open_service(config: Config, claimant: Claimant, store: RunStore) -> AsyncIterator[Service]:
    """Open the run's log and policy and rebuild its state; on leaving, close both whatever happened.

    Raises:
        BundleError, EngineError: the policy cannot be used.
        ConfigError: the policy's catalog does not know an upstream's section.
        AuditError: the log is damaged, owned by another process, or cannot be written.
        StateError: the log is shorter than what the state file remembers.

    """
    bundle = await anyio.to_thread.run_sync(load_bundle, config.policy.bundle)
    check_sections(config, bundle)
    directory = config.audit.directory / claimant.identity.run
    is_new = not directory.exists()
    async with AsyncExitStack() as stack:
        point = await PolicyPoint.start(bundle, engine_settings(config))
        stack.push_async_callback(point.aclose)
        log = Log.open(
            directory,
            signer=load_signer(config.audit.key),
            origin=f"{config.audit.origin}/{claimant.identity.run}",
        )
        stack.callback(_release, log)
        read = [] if is_new else list(records(directory))
        past = [(record.type, record.body) for record in read]
        # What opening itself appended was not durable before.
        size = log.size - (log.recovered is not None)
        state = rebuilt(past, claimant, store, size=size)
        recorder = Recorder(log, deadline_s=config.audit.deadline_ms / 1_000)
        approvals = open_approvals(config, claimant.identity, recorder, past, stack.callback)
        service = Service(
            config,
            claimant,
            bundle=bundle,
            point=point,
            log=log,
            store=store,
            state=state,
            recorder=recorder,
            approvals=approvals,
            mailbox=_mailbox(config, claimant, bundle, past, stack.callback),
        )
        stack.push_async_callback(service.close)
        service.admission.remember(_descriptors(past))
        if not is_new:
            service.recall(directory, read)
        await service.begin(is_new=is_new)
        if approvals is not None:
            await approvals.refresh()
        yield service


def _mailbox(
    config: Config, claimant: Claimant, bundle: Bundle, past: Past, on_exit: OnExit
) -> Mailbox | None:
    """Return the mailbox where the policy gives the agent peers, or the run has a parent; else the run talks to nobody.

    Raises:
        StateError: the mailbox cannot be used.
    """
    identity = claimant.identity
    has_peers = Peers.from_data(bundle.data["trionyx"]).has(identity.agent)
    if not identity.registered or not (has_peers or claimant.parent is not None):
        return None
    mailbox = Mailbox.open(config.state_directory)
    on_exit(mailbox.close)
    mailbox.give_back(identity.run, received_calls(past))
    return mailbox


def _descriptors(past: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Return the descriptor digests that a run has offered before, by tool: they stay pinned in this process."""
    return {
        tool["id"]: tool["descriptor_sha256"]
        for type_, body in past
        if type_ == "tools.offered"
        for tool in body["offered"]
    }


def rebuilt(past: Any, claimant: Claimant, store: RunStore, *, size: int) -> RunState:
    """Rebuild a run's state from its records, and join what the state file remembers of it.

    Raises:
        StateError: the state file remembers records that the log no longer has: the log was cut.

    """
    state = resume(past, claimant.floor)
    remembered = store.load(claimant.identity.run)
    if remembered is None:
        return state
    if remembered.seq >= size:
        raise StateError(
            f"the log has {size} records, but record {remembered.seq} was durable before: the log was cut"
        )
    return replace(state, label=state.label.join(remembered.label))


def _release(log: Log) -> None:
    """Let go of the log's lock, also when the log has failed."""
    with suppress(AuditError):
        log.close()


def check_sections(config: Config, bundle: Bundle) -> None:
    """Refuse upstreams whose tools the policy's catalog knows nothing of.

    Raises:
        ConfigError: with one problem per upstream.
    """
    catalog = Catalog.from_data(bundle.data["trionyx"])
    problems = tuple(
        Problem(
            f"upstreams.{upstream.alias}.catalog", f"the policy's catalog has no section `{upstream.catalog}`"
        )
        for upstream in config.upstreams
        if not catalog.names(upstream.catalog)
    )
    if problems:
        raise ConfigError(problems)

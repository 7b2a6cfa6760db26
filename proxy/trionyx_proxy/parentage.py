"""What a child run gets from its parent: the label to start at, and the tools that it may have at most.

Read from the parent's log, which is the truth about a run once it verifies; starts and mints nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import load_signer
from trionyx_audit.reading import records
from trionyx_audit.verify import verify
from trionyx_policies.bundle import load_bundle
from trionyx_proxy.config import Config
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.core.label import Label
from trionyx_proxy.errors import TokenError
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.state import RunStatus, RunStore
from trionyx_proxy.token import Lineage, is_run_id

Past = Iterable[tuple[str, Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Heritage:
    """What a child run starts with.

    Args:
        lineage: its parent, and its rights.
        label: the parent's, as of now; the child starts there at least.
        expires: Unix seconds when the parent's token expires; no child outlives its parent.
    """

    lineage: Lineage
    label: Label
    expires: int


def heritage(
    config: Config, store: RunStore, parent: str, *, user: str, tenant: str, tools: Collection[str]
) -> Heritage:
    """Find what a child of a run may start with.

    Args:
        config: says where logs are, and the policy that bounds the generations.
        store: knows the registered runs.
        parent: id of the run.
        user: of the child, who must be the parent's.
        tenant: of the child, likewise.
        tools: what the child is defined to have; it gets those of them that the parent was offered.

    Raises:
        TokenError: there is no such parent, it is closed, its log is not what was written, or it may have no children;
            the reason is named.
        AuditError: the parent's log or the key that it is signed with cannot be read.
        BundleError: the policy cannot be read.
        StateError: the state file cannot be read.
    """
    stored = store.load(parent) if is_run_id(parent) else None
    if stored is None or not stored.agent:
        raise TokenError("the parent run is not registered")
    if stored.status is not RunStatus.OPEN or stored.expires <= time.time():
        raise TokenError("the parent run is closed or has expired")
    if (stored.user, stored.tenant) != (user, tenant):
        raise TokenError("a child run acts for its parent's user and tenant")
    directory = config.audit.directory / parent
    if not directory.is_dir():
        raise TokenError("the parent run has not been served")
    past = _verified(config, directory)
    if stored.seq >= len(past):
        raise TokenError("the parent's log was cut")
    if not past or past[-1][0] == "run.close":
        raise TokenError("the parent run is closed or has expired")
    above = _above(past)
    depth = 1 + len(above)
    if depth > Peers.from_data(load_bundle(config.policy.bundle).data["trionyx"]).limits.max_depth:
        raise TokenError("the policy allows no child run below that one")
    offered = _offered(past)
    lineage = Lineage(parent, stored.agent, depth, tuple(sorted(offered & frozenset(tools))), above)
    # The log may end before what the state file remembers, and the other way round; both count.
    return Heritage(lineage, resume(past, stored.floor).label.join(stored.label), stored.expires)


def _verified(config: Config, directory: Path) -> list[tuple[str, Mapping[str, object]]]:
    """Read what of a log is signed by this proxy's key.

    The chain ties every record to the last, so that one signature is enough.
    """
    key = TrustedKey(load_signer(config.audit.key).public, config.audit.origin)
    verdict = verify(directory, key, quick=True)
    if verdict.violation is not None:
        raise TokenError("the parent's log does not verify")
    return [(record.type, record.body) for record in islice(records(directory), verdict.size)]


def _above(past: Past) -> tuple[str, ...]:
    """Return the agents of the generations above a run, the nearest first.

    Raises:
        TokenError: it cannot be told.
    """
    for type_, body in past:
        if type_ == "run.open":
            lineage = body.get("parent")
            if lineage is None:
                return ()
            match lineage:
                case {"agent": str(agent), "depth": int(depth), **others}:
                    above = others.get("above", [])
                    agents = (agent, *above) if isinstance(above, list) else ()
                    if len(agents) == depth:
                        return tuple(str(name) for name in agents)
            break
    raise TokenError("the parent run's own parent cannot be told")


def _offered(past: Past) -> frozenset[str]:
    """Return the upstreams' tools that the last process of a run was offered."""
    offered: dict[str, set[str]] = {}
    for type_, body in past:
        if type_ in ("run.open", "run.resume"):
            offered.clear()
        elif type_ == "tools.offered":
            server = str(body.get("server"))
            kept = offered.setdefault(server, set())
            kept |= set(_members(body.get("offered"), "id"))
            # What came back otherwise than it was is withheld from then on.
            kept -= {f"{server}__{name}" for name in _members(body.get("withheld"), "name")}
    return frozenset().union(*offered.values()) if offered else frozenset()


def _members(listed: object, name: str) -> list[str]:
    """Return one member of each object of a list."""
    return [
        str(one.get(name)) for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)
    ]

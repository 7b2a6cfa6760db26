"""Minting a run: the trusted prompt is registered out of the agent's reach, and a token vouches for the rest.

Starts nothing. Whoever holds the token is the run, so it goes to the proxy's process and nowhere else.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

from trionyx_audit.keys import load_signer
from trionyx_proxy.config import Config
from trionyx_proxy.core.account import Prompt
from trionyx_proxy.errors import ConfigError, Problem
from trionyx_proxy.facts import prompt_facts
from trionyx_proxy.parentage import heritage
from trionyx_proxy.provenance import prompt_words
from trionyx_proxy.state import RunStore
from trionyx_proxy.token import mint, run_key


@dataclass(frozen=True, slots=True)
class Minted:
    """A new run.

    Args:
        run: its id.
        token: the signed run token, a secret of the proxy's process.
        expires: Unix seconds.
    """

    run: str
    token: str
    expires: int


@dataclass(frozen=True, slots=True)
class Birth:
    """How a child run comes to be.

    Args:
        parent: id of its parent run.
        tools: offered names of tools; it gets those of them that the parent was offered.
        prompt_is_users: the user wrote the child's prompt, not the parent's agent.
    """

    parent: str
    tools: tuple[str, ...] = ()
    prompt_is_users: bool = False


def mint_run(
    config: Config,
    store: RunStore,
    *,
    agent: str,
    user: str,
    tenant: str,
    ttl_s: int,
    prompt: str,
    birth: Birth | None = None,
) -> Minted:
    """Sign a token for a new run and register what its prompt names.

    Args:
        config: holds the launcher's key and the floor label.
        store: where the registration goes; the prompt itself is stored nowhere.
        agent: name of the definition.
        user: on whose behalf.
        tenant: may be empty.
        ttl_s: seconds until the token expires, 1 to 31,536,000.
        prompt: the trusted task text; of a child run, what its parent's agent says, unless `birth` says otherwise.
        birth: of a child run.

    Raises:
        AuditError: the parent's log cannot be read.
        BundleError: the policy, which bounds the generations, cannot be read.
        ConfigError: the configuration names no launcher key.
        KeyMaterialError: the launcher's key cannot be used.
        TokenError: a name or the lifetime is out of range, or there can be no such child.
        StateError: the registration cannot be stored.
    """
    if config.runs.launcher_key is None:
        raise ConfigError((Problem("runs.launcher_key", "needed to mint a run"),))
    floor, lineage = config.runs.floor, None
    if birth is not None:
        found = heritage(config, store, birth.parent, user=user, tenant=tenant, tools=birth.tools)
        floor, lineage = floor.join(found.label), found.lineage
        ttl_s = min(ttl_s, found.expires - int(time.time()))
    token, claims = mint(
        load_signer(config.runs.launcher_key),
        agent=agent,
        user=user,
        tenant=tenant,
        prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
        floor=floor,
        ttl_s=ttl_s,
        parent=lineage,
    )
    registered = Prompt(sha256=claims.prompt_sha256, registered=True)
    # INVARIANT: what a parent's agent writes is not the user's word. It names nothing, however untainted the parent is:
    # short values of unknown writers may be in it.
    if birth is None or birth.prompt_is_users:
        named = prompt_facts(prompt)
        registered = replace(
            registered,
            emails=tuple(named["emails"]),
            hosts=tuple(named["hosts"]),
            paths=tuple(named["paths"]),
            words=prompt_words(prompt, run_key(token)),
        )
    store.register(claims, registered)
    return Minted(claims.run, token, claims.expires)

"""Minting a run: the trusted prompt is registered out of the agent's reach, and a token vouches for the rest.

Starts nothing. Whoever holds the token is the run, so it goes to the proxy's process and nowhere else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from trionyx_audit.keys import load_signer
from trionyx_proxy.config import Config
from trionyx_proxy.core.account import Prompt
from trionyx_proxy.errors import ConfigError, Problem
from trionyx_proxy.facts import prompt_facts
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


def mint_run(
    config: Config, store: RunStore, *, agent: str, user: str, tenant: str, ttl_s: int, prompt: str
) -> Minted:
    """Sign a token for a new run and register what its prompt names.

    Args:
        config: holds the launcher's key and the floor label.
        store: where the registration goes; the prompt itself is stored nowhere.
        agent: name of the definition.
        user: on whose behalf.
        tenant: may be empty.
        ttl_s: seconds until the token expires, 1 to 31,536,000.
        prompt: the trusted task text.

    Raises:
        ConfigError: the configuration names no launcher key.
        KeyMaterialError: the launcher's key cannot be used.
        TokenError: a name or the lifetime is out of range.
        StateError: the registration cannot be stored.
    """
    if config.runs.launcher_key is None:
        raise ConfigError((Problem("runs.launcher_key", "needed to mint a run"),))
    token, claims = mint(
        load_signer(config.runs.launcher_key),
        agent=agent,
        user=user,
        tenant=tenant,
        prompt_sha256=hashlib.sha256(prompt.encode()).hexdigest(),
        floor=config.runs.floor,
        ttl_s=ttl_s,
    )
    found = prompt_facts(prompt)
    store.register(
        claims,
        Prompt(
            sha256=claims.prompt_sha256,
            registered=True,
            emails=tuple(found["emails"]),
            hosts=tuple(found["hosts"]),
            paths=tuple(found["paths"]),
            words=prompt_words(prompt, run_key(token)),
        ),
    )
    return Minted(claims.run, token, claims.expires)

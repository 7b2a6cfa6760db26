"""Whose run this process serves: what a run token vouches for, or a fresh run that nothing vouches for.

It opens nothing of the run (`pep.service`), and believes nothing that the agent's side says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from trionyx_audit.keys import load_public_pem
from trionyx_proxy.config import Config, Unregistered
from trionyx_proxy.core.account import Identity, Prompt
from trionyx_proxy.core.label import Label
from trionyx_proxy.errors import TokenError
from trionyx_proxy.state import RunStatus, RunStore
from trionyx_proxy.token import Lineage, mint_ulid, run_key, verify

TOKEN_VARIABLE = "TRIONYX_RUN_TOKEN"  # noqa: S105 - the name of a variable, not a token
"""Environment variable of the proxy process that holds the run token."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A run's identity, its registered prompt, the label it starts with at least, and of a child run its parent."""

    identity: Identity
    prompt: Prompt
    floor: Label
    parent: Lineage | None = None


def claim(config: Config, store: RunStore, token: str | None) -> Claimant:
    """Decide which run this process serves.

    Args:
        config: says whether a run without a token is served at all, and at which label it starts.
        store: holds what the launcher found in the registered prompt; without it the prompt vouches for nothing.
        token: the run token, or None.

    Raises:
        TokenError: the token is not valid, or there is none and the configuration demands one; or the run is a child
            of one that is not open.
    """
    if not token:
        if config.runs.unregistered is Unregistered.REFUSE:
            raise TokenError(f"no run token in {TOKEN_VARIABLE}, and the configuration demands one")
        identity = Identity(
            run=mint_ulid(), agent="", user="", tenant="", registered=False, key=os.urandom(32)
        )
        return Claimant(identity, Prompt(), config.runs.floor)
    if config.runs.launcher_public_key is None:
        raise TokenError("there is a run token, but the configuration has no runs.launcher_public_key")
    public = load_public_pem(config.runs.launcher_public_key.read_bytes())
    claims = verify(token, public)
    parent = None if claims.parent is None else store.load(claims.parent.run)
    if parent is not None and parent.status is not RunStatus.OPEN:
        raise TokenError("the parent run is not open")
    identity = Identity(
        run=claims.run,
        agent=claims.agent,
        user=claims.user,
        tenant=claims.tenant,
        registered=True,
        key=run_key(token),
    )
    stored = store.load(claims.run)
    prompt = Prompt()
    if stored is not None and stored.prompt.sha256 == claims.prompt_sha256:
        prompt = stored.prompt
    # The configured floor holds for every run; a token can only start it higher.
    return Claimant(identity, prompt, claims.floor.join(config.runs.floor), claims.parent)

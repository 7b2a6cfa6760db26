"""Endorsements as rows: written with the key's proof, read back only with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from trionyx_proxy.approvals.question import Matter
from trionyx_proxy.approvals.rows import Endorsement, Scope
from trionyx_proxy.approvals.sealing import Seal, bound
from trionyx_proxy.errors import StateError
from trionyx_proxy.token import mint_ulid

Only = Collection[str] | None
"""Pointers of the values that a person chose, or None for every one."""

NOT_TO_BE_VOUCHED: Final = (
    "one of the named values is not there, or is none that a person can vouch for; nothing was approved; "
    "see, under the values that nobody trusted vouches for: trionyx-proxy approvals show"
)
NOT_SAID_HOW_FAR: Final = (
    "named values are vouched for: endorse them once, run or always; nothing was approved"
)


def chosen_of(matters: Sequence[Matter], only: Only) -> tuple[Matter, ...]:
    """Return the values of a question that a person vouches for.

    Args:
        matters: of the question.
        only: what the person named; what several values are called names none of them.

    Raises:
        StateError: a name is of no value, of several, or of one that cannot be vouched for; or there is no name.
    """
    if only is None:
        return tuple(matters)
    named = [[matter for matter in matters if matter.pointer == pointer] for pointer in dict.fromkeys(only)]
    if not named or not all(len(found) == 1 and found[0].can_be_endorsed for found in named):
        raise StateError(NOT_TO_BE_VOUCHED)
    return tuple(found[0] for found in named)


def proven(
    seal: Seal,
    *,
    approval: str,
    run: str,
    tenant: str,
    kind: str,
    role: str,
    tool: str,
    scope: Scope,
    value: str | int | float | bool,
    digest: str,
    by: str,
    given_ms: int,
) -> Endorsement:
    """Return a new endorsement with its proof; arguments as in `rows.Endorsement`."""
    found = Endorsement(
        id=mint_ulid(),
        approval=approval,
        run=run,
        tenant=tenant,
        kind=kind,
        role=role,
        tool=tool,
        scope=scope,
        value=value,
        digest=digest,
        by=by,
        given_ms=given_ms,
        revoked_ms=0,
        revoked_by="",
        proof=b"",
    )
    return replace(found, proof=seal.prove(*found.claims))


def endorsement_row(seal: Seal, given: Endorsement) -> tuple[Any, ...]:
    """Return the columns of a new endorsement, its value sealed."""
    value = seal.close(orjson.dumps(given.value), bound(given.id, given.run, given.digest))
    return (
        *(given.id, given.approval, given.run, given.tenant, given.kind, given.role, given.tool),
        *(given.scope.value, value, given.digest, given.by, given.given_ms, 0, "", given.proof),
    )


def read_endorsement(seal: Seal, row: tuple[Any, ...]) -> Endorsement | None:
    """Return an endorsement, or None where the key proves nothing; the digest is for the caller to check."""
    id_, approval, run, tenant, kind, role, tool, scope, sealed, digest, *rest = row
    by, given_ms, revoked_ms, revoked_by, proof = rest
    try:
        found = Endorsement(
            id=id_,
            approval=approval,
            run=run,
            tenant=tenant,
            kind=kind,
            role=role,
            tool=tool,
            scope=Scope(scope),
            value=orjson.loads(seal.open(sealed, bound(id_, run, digest))),
            digest=digest,
            by=by,
            given_ms=given_ms,
            revoked_ms=revoked_ms,
            revoked_by=revoked_by,
            proof=proof,
        )
    except (StateError, ValueError):
        return None
    return found if seal.is_proven(proof, *found.claims) else None

"""What a run's log says of questions and answers: one record for each change, by the process that serves the run.

Bodies hold ids, digests and names; values and arguments lie beside the log, as with calls. See `proxy/DESIGN.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson

from trionyx_proxy.approvals.rows import Endorsement, Entry, Standing
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.request import CallId

Store = Callable[[str, bytes, Mapping[str, bytes]], Awaitable[int | None]]
"""Appends a record and gives its number once it is durable, or None (`pep.recorder.Recorder.store`)."""

ASKED = "approval.asked"
GIVEN, REVOKED = "endorsement.given", "endorsement.revoked"

_TYPES = {
    Standing.APPROVED: "approval.approved",
    Standing.REJECTED: "approval.rejected",
    Standing.EXPIRED: "approval.expired",
    Standing.USED: "approval.used",
}
MAX_REASON_CHARS = 500


class Journal:
    """Knows what is on record already, so that nothing is recorded twice.

    Args:
        identity: of the run.
        store: the run's log.
    """

    def __init__(self, identity: Identity, store: Store) -> None:
        self._identity = identity
        self._store = store
        self._noted: dict[str, str] = {}
        self._given: set[str] = set()
        self._revoked: set[str] = set()

    def remember(self, past: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take over what an earlier process of the run recorded; must come before anything is recorded."""
        for type_, body in past:
            if type_.startswith("approval."):
                self._noted[str(body.get("approval", ""))] = type_
            elif type_ == GIVEN:
                self._given.add(str(body.get("endorsement", "")))
            elif type_ == REVOKED:
                self._revoked.add(str(body.get("endorsement", "")))

    @property
    def given(self) -> frozenset[str]:
        """Ids of the endorsements that are on record and not revoked there."""
        return frozenset(self._given - self._revoked)

    def is_noted(self, entry: Entry) -> bool:
        """Tell whether the record says of a question what its row says; one that was never recorded has no row."""
        return self._noted.get(entry.id) == _TYPES.get(entry.standing, ASKED)

    def was_used(self, id_: str) -> bool:
        """Tell whether an approval was used, by the record; a row that says otherwise is older than the log."""
        return self._noted.get(id_) == _TYPES[Standing.USED]

    async def asked(self, entry: Entry, call: CallId) -> bool:
        """Record that a question is about to be put to people."""
        return await self._note(entry, ASKED, {"call": call})

    async def answered(self, entry: Entry) -> bool:
        """Record that a question was approved or rejected, or is over."""
        type_ = _TYPES.get(entry.standing, ASKED)
        members: dict[str, Any] = {}
        if entry.by:
            members = {"by": entry.by, "decided_ms": entry.decided_ms}
        payloads = {"reason": entry.reason.encode()} if entry.reason else {}
        return await self._note(entry, type_, members, payloads)

    async def used(self, entry: Entry, call: CallId) -> bool:
        """Record that a call is released under an approval, which is then worth nothing any more."""
        return await self._note(entry, _TYPES[Standing.USED], {"by": entry.by, "call": call})

    async def given_now(self, endorsement: Endorsement) -> bool:
        """Record that an endorsement counts in this run from now on."""
        value = {"value": orjson.dumps(endorsement.value)}
        if not await self._write(GIVEN, _described(endorsement) | {"by": endorsement.by}, value):
            return False
        self._given.add(endorsement.id)
        return True

    async def revoked(self, endorsement: Endorsement) -> bool:
        """Record that an endorsement counts no more."""
        if not await self._write(REVOKED, _described(endorsement) | {"by": endorsement.revoked_by}, {}):
            return False
        self._revoked.add(endorsement.id)
        return True

    async def _note(
        self,
        entry: Entry,
        type_: str,
        members: Mapping[str, Any],
        payloads: Mapping[str, bytes] | None = None,
    ) -> bool:
        body = {
            "approval": entry.id,
            "binding": entry.binding,
            "expires_ms": entry.expires_ms,
            "rules": list(entry.rules),
        }
        if not await self._write(type_, {**body, **members}, payloads or {}):
            return False
        self._noted[entry.id] = type_
        return True

    async def _write(self, type_: str, members: Mapping[str, Any], payloads: Mapping[str, bytes]) -> bool:
        who = self._identity
        body = {"agent": who.agent, "run": who.run, "user": who.user, **members}
        if who.tenant:
            body["tenant"] = who.tenant
        form = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return await self._store(type_, form, payloads) is not None


def _described(endorsement: Endorsement) -> dict[str, Any]:
    return {
        "approval": endorsement.approval,
        "digest": endorsement.digest,
        "endorsement": endorsement.id,
        "kind": endorsement.kind,
        "role": endorsement.role,
        "scope": endorsement.scope.value,
        "tool": endorsement.tool,
    }

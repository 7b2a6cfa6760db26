"""The approvals file of a state directory: what people were asked, what they answered, which values they vouched for.

Several processes use one file; each change is one transaction, and what a change starts from is part of it. A row
that the directory's key does not prove is as good as not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from trionyx_proxy.approvals.database import Change, Database
from trionyx_proxy.approvals.question import Matter, Question, decode
from trionyx_proxy.approvals.rows import ANY_TOOL, Endorsement, Entry, Scope, Standing
from trionyx_proxy.approvals.sealing import Seal, bound
from trionyx_proxy.approvals.vouching import (
    NOT_SAID_HOW_FAR,
    NOT_TO_BE_VOUCHED,
    Only,
    chosen_of,
    endorsement_row,
    proven,
    read_endorsement,
)
from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.errors import StateError
from trionyx_proxy.provenance.values import normal
from trionyx_proxy.token import mint_ulid

FILE_NAME = "approvals.sqlite"
FORMAT = 1
KEPT_MS = 90 * 24 * 3_600_000
"""How long a question is kept after it is over."""

MAX_REASON_CHARS = 500

_SCHEMA = (
    """CREATE TABLE approval (
    id TEXT PRIMARY KEY, run TEXT NOT NULL, subject TEXT NOT NULL, binding TEXT NOT NULL, rules TEXT NOT NULL,
    asked_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, standing TEXT NOT NULL, by TEXT NOT NULL,
    decided_ms INTEGER NOT NULL, reason TEXT NOT NULL, proof BLOB NOT NULL, question BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE endorsement (
    id TEXT PRIMARY KEY, approval TEXT NOT NULL, run TEXT NOT NULL, tenant TEXT NOT NULL, kind TEXT NOT NULL,
    role TEXT NOT NULL, tool TEXT NOT NULL, scope TEXT NOT NULL, value BLOB NOT NULL, digest TEXT NOT NULL,
    by TEXT NOT NULL, given_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL, revoked_by TEXT NOT NULL,
    proof BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
)
_APPROVAL = "id, run, subject, binding, rules, asked_ms, expires_ms, standing, by, decided_ms, reason, proof, question"
_ENDORSEMENT = (
    "id, approval, run, tenant, kind, role, tool, scope, value, digest, by, given_ms, revoked_ms, revoked_by, "
    "proof"
)
_OPEN = (Standing.PENDING.value, Standing.APPROVED.value)


def now_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class ApprovalStore:
    """The file, opened. For several threads.

    Args:
        database: the file.
        seal: of the same directory.
        clock: Unix milliseconds.
    """

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], int]) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock

    @classmethod
    def open(cls, directory: Path, clock: Callable[[], int] = now_ms) -> ApprovalStore:
        """Open or create the file of a state directory.

        Raises:
            StateError: directory, file or key cannot be used, are damaged, or are of another release.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        except OSError as error:
            raise StateError(f"the state directory {directory} cannot be used") from error
        database = Database.open(directory / FILE_NAME, _SCHEMA, FORMAT)
        with database.changing() as change:
            change("DELETE FROM approval WHERE expires_ms <= ?", (clock() - KEPT_MS,))
        return cls(database, Seal.of(directory), clock)

    def close(self) -> None:
        """Close the file; what was saved stays."""
        self._database.close()

    @property
    def version(self) -> int:
        """A number that differs once another process has changed the file."""
        return self._database.version

    def draft(
        self, question: Question, *, subject: str, binding: str, rules: Sequence[str], expires_ms: int
    ) -> Entry | None:
        """Return a new question, which nobody sees before `put`; None if it is over already."""
        asked_ms = self._clock()
        if expires_ms <= asked_ms:
            return None
        return Entry(
            id=mint_ulid(),
            run=question.run,
            subject=subject,
            binding=binding,
            rules=tuple(rules),
            asked_ms=asked_ms,
            expires_ms=expires_ms,
            standing=Standing.PENDING,
            by="",
            decided_ms=0,
            reason="",
            proof=b"",
            question=question,
        )

    def put(self, entry: Entry) -> None:
        """Let people see a question."""
        sealed = self._seal.close(entry.question.encode(), bound(entry.id, entry.run, entry.binding))
        row = (
            entry.id, entry.run, entry.subject, entry.binding, orjson.dumps(entry.rules).decode(),
            entry.asked_ms, entry.expires_ms, entry.standing.value, "", 0, "", b"", sealed,
        )  # fmt: skip
        with self._database.changing() as change:
            change(f"INSERT INTO approval ({_APPROVAL}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608 - constant

    def get(self, id_: str) -> Entry | None:
        """Return a question, or None; one that is over by the clock is expired."""
        found = self._approvals("WHERE id = ?", (id_,))
        return found[0] if found else None

    def find(self, run: str, subject: str) -> tuple[Entry, ...]:
        """Return the questions about a call that may count for it, the newest first: neither used nor over."""
        return tuple(
            entry
            for entry in self._approvals("WHERE run = ? AND subject = ? ORDER BY id DESC", (run, subject))
            if entry.standing in (Standing.PENDING, Standing.APPROVED, Standing.REJECTED)
            and entry.expires_ms > self._clock()
        )

    def all(self, *, run: str | None = None) -> tuple[Entry, ...]:
        """Return the questions of a run, or all, oldest first; a row that was tampered with is left out."""
        if run is None:
            return self._approvals("ORDER BY id", ())
        return self._approvals("WHERE run = ? ORDER BY id", (run,))

    def approve(
        self, id_: str, by: str, *, scope: Scope | None = None, any_tool: bool = False, only: Only = None
    ) -> tuple[Entry, tuple[Endorsement, ...]]:
        """Say yes to a pending question, and vouch for its doubtful values if a scope is given.

        Args:
            id_: of the question.
            by: who says so, as the caller has established.
            scope: how far the vouching reaches; None vouches for no value.
            any_tool: whether it reaches every tool, not only the one asked about.
            only: pointers of the values that are vouched for; None for every doubtful one.

        Raises:
            StateError: it is not there, not pending, or over; nobody can vouch for a value that is named; or values are
                named, and no scope.
        """
        entry, decided_ms = self._pending(id_), self._clock()
        if only is not None and scope is None:
            raise StateError(NOT_SAID_HOW_FAR)
        approved = self._proven(replace(entry, standing=Standing.APPROVED, by=by, decided_ms=decided_ms))
        chosen = chosen_of(entry.question.matters, only)
        given = tuple(self._vouched(approved, chosen, scope, any_tool=any_tool)) if scope is not None else ()
        if only is not None and len(given) != len(chosen):
            raise StateError(NOT_TO_BE_VOUCHED)
        with self._database.changing() as change:
            self._decide(change, approved)
            for endorsement in given:
                self._insert(change, endorsement)
        return approved, given

    def endorse(
        self, value: str, by: str, *, kind: str, role: str, tool: str, tenant: str, run: str
    ) -> Endorsement:
        """Vouch for a value that nobody has asked about.

        Args:
            value: as a call would hold it.
            by: who vouches, as the caller has established.
            kind: as in the catalog, and so `role`.
            role: its part in a call.
            tool: offered name, or `*` for every tool.
            tenant: in which it counts; "" is one too.
            run: the only run it counts in, or "" for every run of the tenant.

        Raises:
            StateError: the value is not of its kind, or a role or kind does not exist.
        """
        digest = self.digest(tenant, kind, role, value)
        if digest is None or role not in {known.value for known in Role}:
            raise StateError("there is no such kind or role, or the value is not of its kind")
        given = proven(
            self._seal,
            approval="",
            run=run,
            tenant=tenant,
            kind=kind,
            role=role,
            tool=tool,
            scope=Scope.RUN if run else Scope.ALWAYS,
            value=value,
            digest=digest,
            by=by,
            given_ms=self._clock(),
        )
        with self._database.changing() as change:
            self._insert(change, given)
        return given

    def reject(self, id_: str, by: str, reason: str = "") -> Entry:
        """Say no to a pending question.

        Raises:
            StateError: it is not there, not pending any more, or over.
        """
        entry = self._pending(id_)
        rejected = self._proven(
            replace(
                entry,
                standing=Standing.REJECTED,
                by=by,
                decided_ms=self._clock(),
                reason=reason[:MAX_REASON_CHARS],
            )
        )
        with self._database.changing() as change:
            self._decide(change, rejected)
        return rejected

    def claim(self, entry: Entry) -> bool:
        """Take an approval for a call; true for exactly one caller of all processes, and only while it counts."""
        if not self.is_proven(entry) or entry.standing is not Standing.APPROVED:
            return False
        with self._database.changing() as change:
            taken = change(
                "UPDATE approval SET standing = 'used' WHERE id = ? AND standing = 'approved' AND expires_ms > ?",
                (entry.id, self._clock()),
            )
        return taken == 1

    def expire(self, run: str, *, asked_before_ms: int = 0) -> None:
        """Mark what is over by the clock in a run as expired, and what was asked before a moment."""
        with self._database.changing() as change:
            change(
                "UPDATE approval SET standing = 'expired' WHERE run = ? AND standing IN (?,?) "
                "AND (expires_ms <= ? OR asked_ms < ?)",
                (run, *_OPEN, self._clock(), asked_before_ms),
            )

    def is_proven(self, entry: Entry) -> bool:
        """Tell whether an answer was written by whoever holds the key."""
        return self._seal.is_proven(entry.proof, *entry.claims)

    def endorsements(
        self, *, tenant: str | None = None, approval: str | None = None
    ) -> tuple[Endorsement, ...]:
        """Return endorsements, oldest first, revoked ones too; one that the key does not prove is left out."""
        conditions = {"tenant": tenant, "approval": approval}
        given = {name: value for name, value in conditions.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given)
        rows = self._database.read(
            f"SELECT {_ENDORSEMENT} FROM endorsement {'WHERE ' + where if where else ''} ORDER BY id",  # noqa: S608
            tuple(given.values()),
        )
        return tuple(found for row in rows if (found := self._endorsement(row)) is not None)

    def revoke(self, id_: str, by: str) -> None:
        """Take an endorsement back; it counts for no later decision.

        Raises:
            StateError: it is not there, or was revoked before.
        """
        with self._database.changing() as change:
            if not change(
                "UPDATE endorsement SET revoked_ms = ?, revoked_by = ? WHERE id = ? AND revoked_ms = 0",
                (self._clock(), by, id_),
            ):
                raise StateError("there is no such endorsement, or it was revoked before")

    def digest(self, tenant: str, kind: str, role: str, value: str | int | float | bool) -> str | None:
        """Return what values are compared by; None for a value that is not of its kind."""
        try:
            form = normal(ArgumentType(kind), value)
        except ValueError:
            return None
        return None if form is None else self._seal.digest(tenant, kind, role, form)

    def _pending(self, id_: str) -> Entry:
        entry = self.get(id_)
        if entry is None:
            raise StateError("there is no such question")
        if entry.standing is not Standing.PENDING:
            raise StateError(f"the question is {entry.standing} already")
        return entry

    def _insert(self, change: Change, endorsement: Endorsement) -> None:
        change(
            f"INSERT INTO endorsement ({_ENDORSEMENT}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - constant
            endorsement_row(self._seal, endorsement),
        )

    def _proven(self, entry: Entry) -> Entry:
        return replace(entry, proof=self._seal.prove(*entry.claims))

    def _decide(self, change: Change, entry: Entry) -> None:
        changed = change(
            "UPDATE approval SET standing = ?, by = ?, decided_ms = ?, reason = ?, proof = ? "
            "WHERE id = ? AND standing = 'pending' AND expires_ms > ?",
            (
                entry.standing.value,
                entry.by,
                entry.decided_ms,
                entry.reason,
                entry.proof,
                entry.id,
                entry.decided_ms,
            ),
        )
        if not changed:  # somebody was faster, or the clock
            raise StateError("the question is not pending any more")

    def _vouched(
        self, entry: Entry, matters: Sequence[Matter], scope: Scope, *, any_tool: bool
    ) -> Iterator[Endorsement]:
        question = entry.question
        for matter in matters:
            digest = self.digest(question.tenant, matter.kind, matter.role, matter.value)
            if not matter.can_be_endorsed or digest is None:
                continue
            yield proven(
                self._seal,
                approval=entry.id,
                run=entry.run,
                tenant=question.tenant,
                kind=matter.kind,
                role=matter.role,
                tool=ANY_TOOL if any_tool else question.tool,
                scope=scope,
                value=matter.value,
                digest=digest,
                by=entry.by,
                given_ms=entry.decided_ms,
            )

    def _approvals(self, condition: str, parameters: tuple[str, ...]) -> tuple[Entry, ...]:
        rows = self._database.read(f"SELECT {_APPROVAL} FROM approval {condition}", parameters)  # noqa: S608 - constants
        return tuple(found for row in rows if (found := self._entry(row)) is not None)

    def _entry(self, row: tuple[Any, ...]) -> Entry | None:
        id_, run, subject, binding, rules, asked_ms, expires_ms, standing, *answer, sealed = row
        by, decided_ms, reason, proof = answer
        try:
            entry = Entry(
                id=id_,
                run=run,
                subject=subject,
                binding=binding,
                rules=tuple(orjson.loads(rules)),
                asked_ms=asked_ms,
                expires_ms=expires_ms,
                standing=Standing(standing),
                by=by,
                decided_ms=decided_ms,
                reason=reason,
                proof=proof,
                question=decode(self._seal.open(sealed, bound(id_, run, binding))),
            )
        except (StateError, ValueError):
            return None
        if standing in _OPEN and expires_ms <= self._clock():
            return replace(entry, standing=Standing.EXPIRED)
        return entry

    def _endorsement(self, row: tuple[Any, ...]) -> Endorsement | None:
        found = read_endorsement(self._seal, row)
        if found is None or found.digest != self.digest(found.tenant, found.kind, found.role, found.value):
            return None
        return found

"""Run state on disk: what a later process needs to resume a run without reading its whole log.

The audit log is the truth. This file holds what the log does not (what a registered prompt names) and a
label that a resumed run joins, so that neither a lost log tail nor a lost state file can lower a label; which resources
hold what an untrusted run wrote, and what such runs wrote without naming a resource, by digest. No prompt text,
argument or result is ever in it.

Durability: WAL with `synchronous=NORMAL`, so a save is one write without fsync. After a power failure the
file is intact but may lag behind the log, and whoever resumes joins both. Taint of a resource and hearsay, which no log
is read for, are synced.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trionyx_proxy.arguments import JSON, LINE, canonical, parse
from trionyx_proxy.core.account import Prompt, PromptWords
from trionyx_proxy.core.label import Label, decode_label
from trionyx_proxy.errors import ArgumentError, StateError
from trionyx_proxy.hearsaytable import HearsayTable
from trionyx_proxy.statefile import (
    FILE_NAME,
    HEARSAY_KEY,
    Damaged,
    connect,
    insert_synced,
    locked,
    move_aside,
    reason,
    unusable,
)
from trionyx_proxy.token import RunClaims

__all__ = [
    "FILE_NAME",
    "MAX_TAINTED",
    "NOTHING_RECORDED",
    "RunStatus",
    "RunStore",
    "StoredRun",
    "resource_digest",
]

MAX_TAINTED = 10_000
"""Tainted resources of one server in one tenant; with more, everything of that server is tainted."""

NOTHING_RECORDED = -1
"""`seq` of a run whose log does not exist yet."""

_EVERYTHING = b""
_COLUMNS = "run, agent, user, tenant, prompt, floor, label, counters, seq, status, expires"


class RunStatus(StrEnum):
    """Whether a run may have children: whatever is not written as open, or cannot be read, is closed."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run as the file remembers it.

    Args:
        run: ULID.
        agent: empty, as user and tenant, for a run that nobody registered.
        user: on whose behalf.
        tenant: may be empty.
        prompt: what the registered prompt names; an unreadable one vouches for nothing.
        floor: label the run started with; TOP when it cannot be read.
        label: label as of `seq`; TOP when it cannot be read.
        counters: budgets used up as of `seq`.
        seq: last record of the log that is reflected here, or NOTHING_RECORDED.
        status: closed if the row says so or says nothing that can be read.
        expires: Unix seconds when its token expires; 0 without one.
    """

    run: str
    agent: str
    user: str
    tenant: str
    prompt: Prompt
    floor: Label
    label: Label
    counters: Mapping[str, int]
    seq: int
    status: RunStatus
    expires: int


class RunStore:
    """The runs of one state directory. For one thread; several processes may share the directory.

    Args:
        replaced: where a damaged file was moved when this store was opened, to be reported; else None.

    Attributes:
        heard: what untrusted runs wrote without naming a resource.
    """

    def __init__(self, connection: sqlite3.Connection, replaced: Path | None) -> None:
        self._connection = connection
        self._last: dict[str, tuple[int, Label]] = {}
        self.heard = HearsayTable(connection)
        self.replaced = replaced

    @classmethod
    def open(cls, directory: Path) -> RunStore:
        """Open or create the store; a damaged file is moved aside, never repaired and never trusted.

        Where a file was damaged or is gone, everything that servers hold counts as tainted.

        Raises:
            StateError: the directory or file cannot be used, or is of a newer release.
        """
        path = directory / FILE_NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            with locked(directory / "runs.lock"):
                try:
                    return cls(connect(path, is_lost=(directory / HEARSAY_KEY).exists()), None)
                except Damaged:
                    replaced = move_aside(path)
                    return cls(connect(path, is_lost=True), replaced)
        except (OSError, Damaged, sqlite3.Error) as error:
            raise StateError(f"the state file {path} cannot be used: {reason(error)}") from error

    def close(self) -> None:
        """Close the file; what was saved stays."""
        self._connection.close()

    def register(self, claims: RunClaims, prompt: Prompt) -> None:
        """Add a minted run with what its prompt names.

        Raises:
            StateError: the run exists already, or the file cannot be written.
        """
        floor = claims.floor.encode()
        row = (
            *(claims.run, claims.agent, claims.user, claims.tenant, _encode_prompt(prompt), floor, floor),
            *(b"{}", NOTHING_RECORDED, RunStatus.OPEN, claims.expires),
        )
        try:
            self._connection.execute(f"INSERT INTO run ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)  # noqa: S608 - constant
        except sqlite3.IntegrityError:
            raise StateError("the run is registered already") from None
        except sqlite3.Error as error:
            raise unusable(error) from error

    def load(self, run: str) -> StoredRun | None:
        """Return a run, or None; whatever of it cannot be read closes (TOP, no prompt, no counters).

        Raises:
            StateError: the file cannot be read.
        """
        found = self._select("WHERE run = ?", (run,))
        return found[0] if found else None

    def list(self) -> tuple[StoredRun, ...]:
        """Return all runs, oldest first."""
        return self._select("ORDER BY run", ())

    def save(self, run: str, seq: int, label: Label, counters: Mapping[str, int]) -> None:
        """Remember a run as of record `seq`, which must already be durable; adds the run if nobody registered it.

        Raises:
            StateError: `seq` or the label would fall, or the file cannot be written.
        """
        last_seq, last_label = self._remembered(run)
        # INVARIANT: neither the position nor the label of a run ever falls.
        if seq < last_seq or not last_label.flows_to(label):
            raise StateError("the state of a run would go back")
        numbers: dict[str, JSON] = dict(counters)
        row = (run, b"", label.encode(), label.encode(), canonical(numbers), seq, RunStatus.OPEN)
        try:
            self._connection.execute(
                f"INSERT INTO run ({_COLUMNS}) VALUES (?1,'','','',?2,?3,?4,?5,?6,?7,0) "  # noqa: S608 - constant
                "ON CONFLICT (run) DO UPDATE SET label = ?4, counters = ?5, seq = ?6",
                row,
            )
        except sqlite3.Error as error:
            raise unusable(error) from error
        self._last[run] = (seq, label)

    def prune(self, now_s: int) -> int:
        """Drop the runs whose token has expired, and return their number; their logs stay."""
        try:
            dropped = self._connection.execute("DELETE FROM run WHERE expires <= ?", (now_s,)).rowcount
        except sqlite3.Error as error:
            raise unusable(error) from error
        return dropped

    def taint_resource(self, tenant: str, server: str, resource: str) -> None:
        """Remember, durably, that a resource holds what a run with untrusted values wrote.

        Args:
            tenant: of the run; resources of two tenants are not the same.
            server: section of the catalog.
            resource: its id; empty for everything that the server holds. Kept as a digest.

        Raises:
            StateError: the file cannot be written; the write must not be forwarded then.
        """
        if self.is_tainted(tenant, server, resource):
            return
        try:
            (count,) = self._connection.execute(
                "SELECT count(*) FROM tainted_resource WHERE tenant = ? AND server = ?", (tenant, server)
            ).fetchone()
        except sqlite3.Error as error:
            raise unusable(error) from error
        is_full = count >= MAX_TAINTED
        self._taint(tenant, server, _EVERYTHING if is_full or not resource else resource_digest(resource))

    def is_tainted(self, tenant: str, server: str, resource: str) -> bool:
        """Tell whether a resource, or everything that it may lie in, was tainted.

        Args:
            tenant: of the run.
            server: section of the catalog.
            resource: its id; empty asks whether anything of the server was.

        Raises:
            StateError: the file cannot be read.
        """
        found = (
            "SELECT 1 FROM tainted_resource WHERE (tenant = ?1 AND server = ?2 AND (resource IN (?3, x'') OR ?4)) "
            "OR (tenant = '' AND server = '' AND resource = x'') LIMIT 1"
        )
        try:
            row = self._connection.execute(
                found, (tenant, server, resource_digest(resource), not resource)
            ).fetchone()
        except sqlite3.Error as error:
            raise unusable(error) from error
        return row is not None

    def _taint(self, tenant: str, server: str, digest: bytes) -> None:
        statement = "INSERT OR IGNORE INTO tainted_resource VALUES (?, ?, ?)"
        insert_synced(self._connection, statement, (tenant, server, digest))

    def _remembered(self, run: str) -> tuple[int, Label]:
        if run not in self._last:
            stored = self.load(run)
            # Any label may follow a run that is not remembered: the log has the last word on it.
            self._last[run] = (NOTHING_RECORDED, Label()) if stored is None else (stored.seq, stored.label)
        return self._last[run]

    def _select(self, condition: str, parameters: tuple[str, ...]) -> tuple[StoredRun, ...]:
        try:
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM run {condition}",  # noqa: S608 - both are constants of this module
                parameters,
            ).fetchall()
        except sqlite3.Error as error:
            raise unusable(error) from error
        return tuple(_read(row) for row in rows)


def _read(row: tuple[str, str, str, str, bytes, bytes, bytes, bytes, int, str, int]) -> StoredRun:
    run, agent, user, tenant, prompt, floor, label, counters, seq, status, expires = row
    return StoredRun(
        run=run,
        agent=agent,
        user=user,
        tenant=tenant,
        prompt=_decode_prompt(prompt),
        floor=decode_label(floor),
        label=decode_label(label),
        counters=_decode_counters(counters),
        seq=seq,
        status=RunStatus.OPEN if status == RunStatus.OPEN else RunStatus.CLOSED,
        expires=expires,
    )


def _encode_prompt(prompt: Prompt) -> bytes:
    if not prompt.registered:
        return b""
    return canonical(
        {
            "emails": list(prompt.emails),
            "hosts": list(prompt.hosts),
            "paths": list(prompt.paths),
            "sha256": prompt.sha256,
            "words": dict(prompt.words.to_json()),
        }
    )


def _decode_prompt(data: bytes) -> Prompt:
    """Read what a prompt names; anything odd names nothing, which only takes rights away."""
    match _decoded(data):
        case {
            "emails": list(emails),
            "hosts": list(hosts),
            "paths": list(paths),
            "sha256": str(sha256),
            **rest,
        }:
            # A run of an earlier release was stored without words.
            words = PromptWords.from_json(rest.get("words"))
            return Prompt(sha256, True, _texts(emails), _texts(hosts), _texts(paths), words)
    return Prompt()


def _decode_counters(data: bytes) -> Mapping[str, int]:
    counters = _decoded(data)
    if not isinstance(counters, dict):
        return {}
    return {name: number for name, number in counters.items() if isinstance(number, int)}


def _decoded(data: bytes) -> JSON:
    try:
        return parse(data, LINE)
    except ArgumentError:
        return None


def _texts(values: list[JSON]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def resource_digest(resource: str) -> bytes:
    """Return the digest under which a resource is kept, 16 bytes."""
    return hashlib.blake2b(
        resource.encode("utf-8", "surrogatepass"), digest_size=16, person=b"trionyx resource"
    ).digest()

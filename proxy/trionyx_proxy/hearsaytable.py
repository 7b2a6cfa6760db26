"""The table of the state file that keeps what untrusted runs wrote without naming a resource, as digests by tenant."""

from __future__ import annotations

import sqlite3

from trionyx_proxy.statefile import insert_synced, unusable

MAX_HEARSAY_BYTES = 4_000_000
"""Hearsay of one tenant, about 5,000 mails of 300 bytes or 20 of 64 KB; with more, anything is hearsay."""

_EVERYTHING = b""


class HearsayTable:
    """For one thread; several processes may share the file.

    Args:
        connection: to the state file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # By tenant: the last row that is counted, and the bytes up to there; the row that says anything.
        self._heard: dict[str, tuple[int, int]] = {}
        self._full: dict[str, int] = {}

    def add(self, tenant: str, run: str, digests: bytes) -> None:
        """Remember, durably, what an untrusted run writes without naming a resource.

        Args:
            tenant: of the run.
            run: ULID.
            digests: keyed, one behind the other.

        Raises:
            StateError: the file cannot be written; the write must not be forwarded then.
        """
        if self._is_everything(tenant):
            return
        size = self._heard_of(tenant) + len(digests)
        if size > MAX_HEARSAY_BYTES:
            self._heard.pop(tenant)  # something may have been cleared since it was counted
            size = self._heard_of(tenant) + len(digests)
        kept = _EVERYTHING if size > MAX_HEARSAY_BYTES else digests
        statement = "INSERT INTO hearsay (tenant, run, digests) VALUES (?, ?, ?)"
        row = insert_synced(self._connection, statement, (tenant, run, kept))
        if kept == _EVERYTHING:
            self._full[tenant] = row

    def _is_everything(self, tenant: str) -> bool:
        """Tell whether this process wrote that anything is hearsay, and nobody has cleared it."""
        row = None
        if tenant in self._full:
            found = "SELECT 1 FROM hearsay WHERE id = ? AND digests = x''"
            try:
                row = self._connection.execute(found, (self._full[tenant],)).fetchone()
            except sqlite3.Error as error:
                raise unusable(error) from error
        return row is not None

    def _heard_of(self, tenant: str) -> int:
        """Return how many bytes of hearsay a tenant has, counting what is new."""
        size: int
        last, size = self._heard.get(tenant, (0, 0))
        new = (
            "SELECT coalesce(max(id), ?1), coalesce(sum(length(digests)) FILTER (WHERE tenant = ?2), 0) "
            "FROM hearsay WHERE id > ?1"
        )
        try:
            last, more = self._connection.execute(new, (last, tenant)).fetchone()
        except sqlite3.Error as error:
            raise unusable(error) from error
        size += more
        self._heard[tenant] = last, size
        return size

    def since(self, tenant: str, run: str, after: int) -> list[tuple[int, bytes | None]]:
        """Return what was written since an earlier answer: ids and digests, no digests for anything.

        Args:
            tenant: of the run.
            run: the one that asks. What it wrote itself, which it knows better, and what other tenants wrote is None.
            after: the highest id of the earlier answer, or 0.

        Raises:
            StateError: the file cannot be read.
        """
        # A row of one zero was cleared, see `taint.register`.
        found = (
            "SELECT id, CASE WHEN tenant = ?2 AND (run != ?3 OR digests = x'') THEN digests END "
            "FROM hearsay WHERE id > ?1 AND digests != x'00' UNION ALL "
            "SELECT ?1, x'' FROM tainted_resource WHERE tenant = '' AND server = '' AND resource = x''"
        )
        try:
            return self._connection.execute(found, (after, tenant, run)).fetchall()
        except sqlite3.Error as error:
            raise unusable(error) from error

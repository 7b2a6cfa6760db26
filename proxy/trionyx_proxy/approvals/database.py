"""A small SQLite file that several processes change: checked when opened, synced on every change, one lock per process.

Files of their own beside `runs.sqlite`: that one is a copy which may lag and be rebuilt, these are the only place that
holds a person's answer, or a message, until a serving process has recorded it. So a damaged file is refused, not
replaced.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trionyx_proxy.errors import StateError

BUSY_TIMEOUT_MS = 2_000

Change = Callable[[str, tuple[Any, ...]], int]
"""Changes rows and returns how many."""


class Database:
    """For several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, schema: tuple[str, ...], release: int) -> Database:
        """Open or create the file, readable by its owner only.

        Args:
            path: in a directory that exists.
            schema: the statements that create its tables, in order of their names; it holds no others.
            release: `user_version` of the schema.

        Raises:
            StateError: the file cannot be used, is damaged, or holds anything else.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            path.chmod(0o600)  # SQLite gives its side files the mode of the main file
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection, schema, release)
            except BaseException:
                connection.close()
                raise
        except (OSError, UnicodeDecodeError, sqlite3.Error) as error:  # SQLite quotes what it found
            raise StateError(f"the file {path} cannot be used: {_reason(error)}") from error
        return cls(connection)

    def another(self, path: Path) -> Database:
        """Open the same file once more, for reading besides.

        INVARIANT: `open` is called once for a file in a process. It closes a descriptor of the file, and with that the
        system drops every lock that the process has on it.

        Raises:
            StateError: the file cannot be used.
        """
        try:
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise StateError(f"the file {path} cannot be used: {_reason(error)}") from error
        return Database(connection)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @property
    def version(self) -> int:
        """A number that differs once another connection has changed the file."""
        ((number,),) = self.read("PRAGMA data_version")
        return int(number)

    def read(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement.

        Raises:
            StateError: the file cannot be read.
        """
        try:
            with self._lock:
                return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StateError(f"the file cannot be read: {_reason(error)}") from error

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """Give what changes rows, within one transaction that is durable when the block is left.

        Raises:
            StateError: the file cannot be changed.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield (
                        lambda statement, parameters: self._connection.execute(statement, parameters).rowcount
                    )
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StateError(f"the file cannot be changed: {_reason(error)}") from error


def _prepare(connection: sqlite3.Connection, schema: tuple[str, ...], release: int) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        found = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'trigger', 'view') ORDER BY name"
        ).fetchall()
        if version == 0 and not found:
            for statement in schema:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {release}")
        elif version != release or found != [(statement,) for statement in schema]:
            raise StateError("the file is of another release, or holds other tables")
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise StateError("the file is damaged")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "cannot be opened").lower()
    return str(error).splitlines()[0][:200].lower() if str(error) else "unknown"

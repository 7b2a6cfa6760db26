"""The state file: opened as its owner's alone, in a form that this release knows, or moved aside.

What is in its tables is read and written elsewhere (`state`). A damaged file is never repaired and never trusted.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trionyx_proxy.errors import StateError

FILE_NAME = "runs.sqlite"
HEARSAY_KEY = "hearsay.key"
"""File of the key of hearsay, beside it; where it is, a state file has been."""

BUSY_TIMEOUT_MS = 1_000
FORMAT = 3
"""`user_version` of the file; one of format 1 has no tainted resources yet, one of format 2 no hearsay."""

RUN_TABLE = """
CREATE TABLE run (
    run TEXT PRIMARY KEY,
    agent TEXT NOT NULL,
    user TEXT NOT NULL,
    tenant TEXT NOT NULL,
    prompt BLOB NOT NULL,   -- canonical JSON: digest and what the prompt names; empty without a prompt
    floor BLOB NOT NULL,    -- canonical JSON label
    label BLOB NOT NULL,    -- canonical JSON label
    counters BLOB NOT NULL, -- canonical JSON object of integers
    seq INTEGER NOT NULL,   -- last record of the run's log that this row reflects
    status TEXT NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID""".strip()
TAINTED_TABLE = """
CREATE TABLE tainted_resource (
    tenant TEXT NOT NULL,
    server TEXT NOT NULL,
    resource BLOB NOT NULL, -- digest of its id; empty for everything
    PRIMARY KEY (tenant, server, resource)
) STRICT, WITHOUT ROWID""".strip()
HEARSAY_TABLE = """
CREATE TABLE hearsay (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    digests BLOB NOT NULL -- keyed digests of what the run wrote that was not trusted; empty for anything
) STRICT""".strip()

# Errors that say something about the machine, not about the file: moving the file aside would not help.
_ENVIRONMENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


class Damaged(Exception):
    """The file is there and is not a store that this release can trust."""


def connect(path: Path, *, is_lost: bool = False, must_exist: bool = False) -> sqlite3.Connection:
    """Open or create the file with its tables; the caller holds `locked`.

    Args:
        path: of the file.
        must_exist: it is not made, and one without tables, which another process may be about to make, is damaged.
        is_lost: if it is new, there was another one: what of all servers was tainted is not known, so everything is.

    Raises:
        Damaged: it is there and cannot be trusted.
        StateError: it was written by a newer release.
        OSError, sqlite3.Error: the machine does not let it be used.
    """
    made = 0 if must_exist else os.O_CREAT
    os.close(os.open(path, os.O_RDWR | made | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    path.chmod(0o600)  # SQLite gives its side files the mode of the main file
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    # Damaged text is read as far as it goes; what matters is decoded from bytes, strictly.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        _prepare(connection, is_lost=is_lost, must_exist=must_exist)
    except BaseException as error:
        connection.close()
        if isinstance(error, UnicodeDecodeError):  # SQLite quotes what it found
            raise Damaged("it is damaged") from error
        if (
            isinstance(error, sqlite3.Error)
            and getattr(error, "sqlite_errorcode", 0) & 0xFF not in _ENVIRONMENT
        ):
            raise Damaged("it is damaged") from error
        raise
    return connection


def _prepare(connection: sqlite3.Connection, *, is_lost: bool, must_exist: bool) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise Damaged("it is damaged")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0 and must_exist:
        raise Damaged("it is empty")
    if version > FORMAT:
        raise StateError("the state file was written by a newer release")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    tables = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'trigger', 'view')"
    ).fetchall()
    missing = {
        (0, ()): (RUN_TABLE, TAINTED_TABLE, HEARSAY_TABLE),
        (1, (RUN_TABLE,)): (TAINTED_TABLE, HEARSAY_TABLE),
        (2, (RUN_TABLE, TAINTED_TABLE)): (HEARSAY_TABLE,),
        (FORMAT, (RUN_TABLE, TAINTED_TABLE, HEARSAY_TABLE)): (),
    }
    created = missing.get((version, tuple(sql for (sql,) in tables)))
    if created is None:
        raise Damaged("it holds other tables")
    if created:
        connection.execute("BEGIN IMMEDIATE")
        for table in created:
            connection.execute(table)
        if version == 0 and is_lost:
            connection.execute("INSERT INTO tainted_resource VALUES ('', '', x'')")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")


def move_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it; return its new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(aside.with_name(aside.name + suffix))
    return aside


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold off other processes while the file is looked at and perhaps replaced."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unusable(error: sqlite3.Error) -> StateError:
    """Return what is raised where the file fails in use."""
    return StateError(f"the state file cannot be used: {reason(error)}")


def reason(error: BaseException) -> str:
    """Return why the file cannot be used, in a few words."""
    if isinstance(error, OSError):
        return (error.strerror or "cannot be opened").lower()
    return str(error).splitlines()[0][:200].lower() if str(error) else "unknown"


def insert_synced(connection: sqlite3.Connection, statement: str, values: tuple[str, str, bytes]) -> int:
    """Insert a row, durable when this returns, and return its id.

    Raises:
        StateError: the file cannot be written.
    """
    try:
        connection.execute("PRAGMA synchronous = FULL")
        try:
            return connection.execute(statement, values).lastrowid or 0
        finally:
            connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        raise unusable(error) from error

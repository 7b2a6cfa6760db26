"""The taint that the state file remembers: how much of it there is, and taking it away.

Names and words are there as digests only, so it can tell how many, and whether a given name is among them, but not
which. Who may clear, and the record of it, are the caller's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trionyx_proxy.errors import StateError
from trionyx_proxy.state import resource_digest
from trionyx_proxy.statefile import FILE_NAME, Damaged, connect, locked, reason, unusable
from trionyx_proxy.taint.marks import below

# The row without a section is of a lost file, and of all tenants.
_OF_RESOURCES = "tenant = :tenant AND server = :section AND server != ''"
_KEPT = "digests != x'00'"
_OF_WRITINGS = f"tenant = :tenant AND run = :run AND {_KEPT}"


@dataclass(frozen=True, slots=True)
class Everything:
    """All taint of all tenants, and what a lost state file left behind."""


@dataclass(frozen=True, slots=True)
class Section:
    """The resources of one section of the catalog.

    Args:
        tenant: may be empty.
        section: name.
        resources: spellings of the one that is meant; none for all of the section.
    """

    tenant: str
    section: str
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Writings:
    """What one run wrote without naming a resource.

    Args:
        tenant: may be empty.
        run: ULID.
    """

    tenant: str
    run: str


Target = Everything | Section | Writings


@dataclass(frozen=True, slots=True)
class Marks:
    """What is kept of one section or of one run's writings.

    Args:
        tenant: may be empty.
        section: of resources; empty for writings.
        run: of writings; empty for resources.
        count: names of resources, or bytes of digests.
        is_everything: all of the section, or anything, counts as tainted. With neither section nor run: whatever tools
            return, in every tenant, because a state file was lost.
    """

    tenant: str
    section: str
    run: str
    count: int
    is_everything: bool


class Register:
    """The taint in one state file. Several processes may have it open; runs that are open notice what they look up.

    Args:
        connection: to the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the state file, which must be there and sound: this is no place to make or mend one.

        Raises:
            StateError: it cannot be used.
        """
        path = directory / FILE_NAME
        if not path.is_file():
            raise StateError(f"there is no state file {path}")
        try:
            with locked(directory / "runs.lock"):
                return cls(connect(path, must_exist=True))
        except (OSError, Damaged, sqlite3.Error) as error:
            raise StateError(f"the state file {path} cannot be used: {reason(error)}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def marks(self) -> tuple[Marks, ...]:
        """Return what is kept, resources before writings.

        Raises:
            StateError: the file cannot be read.
        """
        resources = (
            "SELECT tenant, server, count(*), max(resource = x'') FROM tainted_resource "
            "GROUP BY tenant, server ORDER BY tenant, server"
        )
        writings = (
            "SELECT tenant, run, sum(length(digests)), max(digests = x'') FROM hearsay "
            "WHERE digests != x'00' GROUP BY tenant, run ORDER BY tenant, run"
        )
        with _reported():
            of_resources = self._connection.execute(resources).fetchall()
            of_writings = self._connection.execute(writings).fetchall()
        return (
            *(Marks(tenant, section, "", count, bool(all_)) for tenant, section, count, all_ in of_resources),
            *(Marks(tenant, "", run, count, bool(all_)) for tenant, run, count, all_ in of_writings),
        )

    def clear(self, target: Target, record: Callable[[], None]) -> int:
        """Take away the marks of a target, durably; return how many there were.

        Nobody writes the file meanwhile, so what is cleared is what was there when the act was put on record.

        Args:
            target: what is to be trusted again.
            record: puts the act on record, durably, before anything is cleared; not called if there is no mark.

        Raises:
            StateError: the file cannot be written; nothing is cleared then, as after whatever `record` raises.
        """
        with _reported():
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                count = 0
                for table, which, values in _selected(target):
                    found = f"SELECT count(*) FROM {table} WHERE {which}"  # noqa: S608 - constants
                    count += int(self._connection.execute(found, values).fetchone()[0])
                if count:
                    record()
                for table, which, values in _selected(target):
                    if table == "hearsay":
                        # INVARIANT: ids only rise; an open run reads what is above the last that it has read.
                        last = (
                            "UPDATE hearsay SET digests = x'00' WHERE id = (SELECT max(id) FROM hearsay) AND "
                        )
                        self._connection.execute(last + which, values)
                    self._connection.execute(f"DELETE FROM {table} WHERE {which}", values)  # noqa: S608 - constants
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return count


def _selected(target: Target) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield which rows of which table a target has."""
    match target:
        case Everything():
            yield "tainted_resource", "TRUE", {}
            yield "hearsay", _KEPT, {}
        case Section(tenant, section, ()):
            yield "tainted_resource", _OF_RESOURCES, {"tenant": tenant, "section": section}
        case Section(tenant, section, resources):
            digests = {resource_digest(name) for one in resources for name in (one, below(one))}
            for digest in sorted(digests):
                values: dict[str, object] = {"tenant": tenant, "section": section, "resource": digest}
                yield "tainted_resource", f"{_OF_RESOURCES} AND resource = :resource", values
        case Writings(tenant, run):
            yield "hearsay", _OF_WRITINGS, {"tenant": tenant, "run": run}


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(error) from error

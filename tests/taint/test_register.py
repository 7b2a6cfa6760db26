"""Taking taint away: what was named and nothing else, durably, and without deafening the runs that are open."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trionyx_proxy.errors import StateError
from trionyx_proxy.hearsaytable import MAX_HEARSAY_BYTES
from trionyx_proxy.pep.resources import EVERYTHING, Named, Resources
from trionyx_proxy.state import FILE_NAME, RunStore
from trionyx_proxy.taint.marks import hearsay_mark
from trionyx_proxy.taint.register import Everything, Marks, Register, Section, Target, Writings

pytestmark = pytest.mark.guarantee("G36")

KEY = b"k" * 32
MARK = hearsay_mark(KEY)
ONE, OTHER, LATER = "01J00000000000000000000ONE", "01J0000000000000000000TW0", "01J000000000000000000THREE"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def register(store: RunStore, tmp_path: Path) -> Iterator[Register]:
    opened = Register.open(tmp_path)
    yield opened
    opened.close()


def resources(store: RunStore, run: str = ONE, tenant: str = "acme") -> Resources:
    return Resources(store, tenant, run, KEY)


def clear(register: Register, target: Target) -> int:
    return register.clear(target, lambda: None)


def path(name: str) -> list[Named]:
    return [Named(name, is_path=True)]


def test_what_is_kept_is_listed(store: RunStore, register: Register) -> None:
    resources(store).taint("files", path("/notes/a"))
    resources(store, tenant="corp").taint("git", [Named(EVERYTHING, is_path=False)])
    resources(store).tell([b"12345678"])
    store.heard.add("corp", OTHER, bytes(MAX_HEARSAY_BYTES + 1))
    assert register.marks() == (
        Marks("acme", "files", "", 3, False),  # and that something below /notes and / is
        Marks("corp", "git", "", 1, True),
        Marks("acme", "", ONE, 16, False),
        Marks("corp", "", OTHER, 0, True),
    )


def test_one_resource_is_cleared_and_the_others_are_not(store: RunStore, register: Register) -> None:
    mine, theirs = resources(store), resources(store, tenant="corp")
    for name in ("/notes/a", "/notes/b"):
        mine.taint("files", path(name))
        theirs.taint("files", path(name))
        mine.taint("git", path(name))
    target = Section("acme", "files", ("/notes/a", "/notes//a"))
    assert clear(register, target) == 1
    assert not mine.is_tainted("files", path("/notes/a"))
    assert mine.is_tainted("files", path("/notes/b"))
    assert mine.is_tainted("files", path("/notes"))  # what lies in it
    assert theirs.is_tainted("files", path("/notes/a"))
    assert mine.is_tainted("git", path("/notes/a"))


def test_a_directory_is_cleared_as_it_is_listed_and_not_what_lies_in_it(
    store: RunStore, register: Register
) -> None:
    mine = resources(store)
    mine.taint("files", path("/notes/a"))
    assert clear(register, Section("acme", "files", ("/notes",))) == 1
    assert not mine.is_tainted("files", path("/notes"))
    assert mine.is_tainted("files", path("/notes/a"))


def test_a_section_is_cleared_whole(store: RunStore, register: Register) -> None:
    mine = resources(store)
    mine.taint("files", [*path("/notes/a"), Named(EVERYTHING, is_path=False)])
    mine.taint("git", path("/notes/a"))
    clear(register, Section("acme", "files"))
    assert not mine.is_tainted("files", path("/notes/a"))
    assert mine.is_tainted("git", path("/notes/a"))


def test_what_one_run_wrote_is_cleared(store: RunStore, register: Register) -> None:
    for run, tenant in ((ONE, "acme"), (OTHER, "acme"), (ONE, "corp")):
        resources(store, run, tenant).tell([f"{tenant} {run}".encode()[-8:]])
    assert clear(register, Writings("acme", ONE)) == 1
    assert [(marks.tenant, marks.run) for marks in register.marks()] == [("acme", OTHER), ("corp", ONE)]
    assert resources(store, LATER).hearsay() and resources(store, LATER, "corp").hearsay()
    clear(register, Writings("acme", OTHER))
    assert not resources(store, LATER).hearsay()
    assert clear(register, Writings("acme", OTHER)) == 0


@pytest.mark.parametrize("target", [Writings("acme", ONE), Everything()])
def test_an_open_run_hears_what_is_written_after_something_was_cleared(
    store: RunStore, register: Register, target: Writings | Everything
) -> None:
    listening = resources(store, LATER)
    for _ in range(3):
        resources(store).tell([b"12345678"])
    assert listening.hearsay()
    clear(register, target)
    store.heard.add("acme", OTHER, b"")
    assert listening.hearsay().is_full


def test_everything_is_cleared_also_what_a_lost_file_left(tmp_path: Path) -> None:
    (tmp_path / "hearsay.key").write_bytes(KEY)
    store = RunStore.open(tmp_path)
    store.heard.add("acme", ONE, bytes(MAX_HEARSAY_BYTES + 1))
    register = Register.open(tmp_path)
    assert register.marks()[0] == Marks("", "", "", 1, True)
    assert store.is_tainted("acme", "files", "/notes/a")
    assert clear(register, Everything()) == 2
    assert register.marks() == () and clear(register, Everything()) == 0
    assert not store.is_tainted("acme", "files", "/notes/a")
    assert not resources(store, LATER).hearsay()
    register.close()
    store.close()


def test_after_clearing_there_is_room_again_also_for_who_counted_before(
    store: RunStore, register: Register
) -> None:
    store.heard.add("acme", ONE, bytes(MAX_HEARSAY_BYTES))
    store.heard.add("acme", OTHER, MARK + b"few words")  # one too many
    clear(register, Everything())
    store.heard.add("acme", OTHER, MARK + b"12345678")
    heard = resources(store, LATER).hearsay()
    assert heard and not heard.is_full


def test_what_cannot_be_written_is_not_cleared(store: RunStore, register: Register, tmp_path: Path) -> None:
    resources(store).taint("files", path("/notes/a"))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError):
        clear(register, Everything())
    other.execute("ROLLBACK")
    other.close()
    assert resources(store).is_tainted("files", path("/notes/a"))
    assert clear(register, Everything()) == 3


def test_a_file_that_is_not_there_or_is_damaged_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no state file"):
        Register.open(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for content in (b"damaged" * 100, b""):
        (tmp_path / FILE_NAME).write_bytes(content)
        with pytest.raises(StateError, match="cannot be used"):
            Register.open(tmp_path)
        assert (tmp_path / FILE_NAME).read_bytes() == content


def test_what_is_written_while_an_act_is_recorded_is_not_cleared(store: RunStore, register: Register) -> None:
    resources(store).taint("files", path("/a"))

    def record() -> None:
        with pytest.raises(StateError):
            resources(store).taint("files", path("/b"))
        with pytest.raises(StateError):
            resources(store).tell([b"12345678"])

    assert register.clear(Everything(), record) == 2
    resources(store).taint("files", path("/b"))
    assert resources(store).is_tainted("files", path("/b"))


def test_an_act_that_cannot_be_recorded_clears_nothing_and_lets_others_write(
    store: RunStore, register: Register
) -> None:
    resources(store).taint("files", path("/a"))

    def record() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        register.clear(Everything(), record)
    resources(store).taint("files", path("/b"))
    assert all(resources(store).is_tainted("files", path(name)) for name in ("/a", "/b"))


def test_what_is_left_of_a_row_says_nothing_whatever_the_key(store: RunStore, register: Register) -> None:
    resources(store).tell([b"12345678"])
    clear(register, Writings("acme", ONE))
    assert not Resources(store, "acme", LATER, b"o" * 32).hearsay()
    assert register.marks() == ()


def test_a_tenant_that_is_full_takes_no_more_rows(store: RunStore, register: Register) -> None:
    for _ in range(5):
        store.heard.add("acme", ONE, bytes(MAX_HEARSAY_BYTES + 1))
    assert len(store.heard.since("acme", LATER, 0)) == 1
    clear(register, Everything())
    store.heard.add("acme", ONE, bytes(MAX_HEARSAY_BYTES + 1))
    assert resources(store, LATER).hearsay().is_full

"""The run store: resumes without lowering anything, survives damage, holds nothing in the clear."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.account import Prompt, PromptWords
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level
from trionyx_proxy.errors import StateError
from trionyx_proxy.hearsaytable import MAX_HEARSAY_BYTES
from trionyx_proxy.pep.resources import Resources
from trionyx_proxy.provenance import Hearsay
from trionyx_proxy.provenance.shown import Shown
from trionyx_proxy.state import (
    FILE_NAME,
    MAX_TAINTED,
    NOTHING_RECORDED,
    RunStatus,
    RunStore,
)
from trionyx_proxy.token import RunClaims, mint_ulid
from trionyx_testing.parts import need

RUN = "01KAH4TBQ0" + "0" * 16
OTHER = "01KAH4TBQ0" + "1" * 16
FLOOR = Label(Integrity.SYSTEM)
CLAIMS = RunClaims(RUN, "inbox", "emma", "acme", "ab" * 32, FLOOR, 1_000, 2_000)
PROMPT = Prompt("ab" * 32, True, ("jonas@corp.example",), ("www.corp.example",), ("/notes/x",),
                PromptWords((b"12345678", b"abcdefgh"), frozenset({b"ABCDEFGH"})))  # fmt: skip
SECRET = Label(Integrity.PUBLIC, Level.SECRET, frozenset({"emma"}), frozenset({"pii"}))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path / "state")
    yield opened
    opened.close()


def reopened(store: RunStore, directory: Path) -> RunStore:
    store.close()
    return RunStore.open(directory / "state")


@pytest.mark.guarantee("G30")
def test_taint_of_a_resource_outlives_the_process(store: RunStore, tmp_path: Path) -> None:
    assert not store.is_tainted("acme", "files", "/notes/a")
    store.taint_resource("acme", "files", "/notes/a")
    store.taint_resource("acme", "files", "/notes/a")
    again = reopened(store, tmp_path)
    assert again.is_tainted("acme", "files", "/notes/a") and again.is_tainted("acme", "files", "")
    others = (("acme", "files", "/notes/b"), ("acme", "mail", "/notes/a"), ("", "files", "/notes/a"))
    assert not any(again.is_tainted(*other) for other in others)
    again.taint_resource("acme", "mail", "")
    assert again.is_tainted("acme", "mail", "anything") and not again.is_tainted("acme", "files", "/notes/b")
    again.close()


@pytest.mark.guarantee("G30")
def test_beyond_the_bound_everything_of_the_server_is_tainted(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_TAINTED >= 1_000
    monkeypatch.setattr("trionyx_proxy.state.MAX_TAINTED", 3)
    for number in range(4):
        assert not store.is_tainted("acme", "files", "/other")
        store.taint_resource("acme", "files", f"/{number}")
    assert store.is_tainted("acme", "files", "/other") and not store.is_tainted("acme", "mail", "/other")


@pytest.mark.guarantee("G30")
def test_after_damage_everything_is_tainted(store: RunStore, tmp_path: Path) -> None:
    store.close()
    (tmp_path / "state" / FILE_NAME).write_bytes(b"damaged" * 1_000)
    for _ in range(2):
        again = RunStore.open(tmp_path / "state")
        assert again.is_tainted("acme", "files", "/notes/a") and again.is_tainted("", "mail", "")
        again.close()


def test_a_file_without_the_table_of_tainted_resources_gets_it(store: RunStore, tmp_path: Path) -> None:
    store.register(CLAIMS, PROMPT)
    store.close()
    raw = sqlite3.connect(tmp_path / "state" / FILE_NAME)
    raw.executescript("DROP TABLE tainted_resource; DROP TABLE hearsay; PRAGMA user_version = 1")
    raw.close()
    again = RunStore.open(tmp_path / "state")
    kept = again.load(RUN)
    assert again.replaced is None and kept is not None and kept.prompt == PROMPT
    again.taint_resource("", "files", "/notes/a")
    assert again.is_tainted("", "files", "/notes/a") and not again.is_tainted("", "files", "/notes/b")
    again.close()


@pytest.mark.guarantee("G24")
def test_a_registered_run_is_resumed_as_it_was_saved(store: RunStore, tmp_path: Path) -> None:
    assert store.load(RUN) is None and store.replaced is None
    store.register(CLAIMS, PROMPT)
    fresh = store.load(RUN)
    assert fresh is not None and (fresh.seq, fresh.label, dict(fresh.counters)) == (
        NOTHING_RECORDED,
        FLOOR,
        {},
    )
    store.save(RUN, 0, FLOOR, {"calls": 1})
    store.save(RUN, 7, SECRET, {"calls": 3, "denied": 1})
    again = reopened(store, tmp_path)
    resumed = again.load(RUN)
    assert resumed is not None
    assert (resumed.run, resumed.agent, resumed.user, resumed.tenant) == (RUN, "inbox", "emma", "acme")
    assert (resumed.prompt, resumed.floor, resumed.label, resumed.seq) == (PROMPT, FLOOR, SECRET, 7)
    assert dict(resumed.counters) == {"calls": 3, "denied": 1}
    assert (resumed.status, resumed.expires) == (RunStatus.OPEN, 2_000)
    again.close()


def test_a_run_without_a_token_is_kept_too(store: RunStore) -> None:
    store.save(OTHER, 0, SECRET, {})
    kept = store.load(OTHER)
    assert kept is not None and (kept.label, kept.prompt, kept.expires) == (SECRET, Prompt(), 0)


def test_runs_are_registered_once_and_dropped_when_expired(store: RunStore) -> None:
    store.register(CLAIMS, Prompt())
    with pytest.raises(StateError, match="already"):
        store.register(CLAIMS, PROMPT)
    store.save(OTHER, 0, BOTTOM, {})
    assert [(run.run, run.status) for run in store.list()] == [
        (RUN, RunStatus.OPEN),
        (OTHER, RunStatus.OPEN),
    ]
    assert store.prune(1_999) == 1 and [run.run for run in store.list()] == [RUN]
    assert store.prune(2_000) == 1 and store.list() == ()


@pytest.mark.guarantee("G06")
def test_neither_position_nor_label_of_a_run_ever_falls(store: RunStore, tmp_path: Path) -> None:
    store.register(CLAIMS, PROMPT)
    with pytest.raises(StateError, match="back"):
        store.save(RUN, 0, BOTTOM, {})  # below the floor
    store.save(RUN, 5, SECRET, {})
    for opened in (store, reopened(store, tmp_path)):
        if opened is not store:
            with pytest.raises(StateError, match="back"):
                opened.save(RUN, 4, SECRET, {})
            with pytest.raises(StateError, match="back"):
                opened.save(RUN, 6, FLOOR, {})
            opened.save(RUN, 5, TOP, {})
            kept = opened.load(RUN)
            assert kept is not None and kept.label == TOP
            opened.close()


LABELS = st.builds(
    Label,
    st.sampled_from(Integrity),
    st.sampled_from(Level),
    st.none() | st.frozensets(st.sampled_from("ab")),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one store for many generated runs: creating a file costs more than using it."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.guarantee("G06")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), LABELS, st.booleans()), max_size=8))
def test_whatever_is_tried_the_stored_label_only_rises(
    shared: Path, steps: list[tuple[int, Label, bool]]
) -> None:
    store, run = RunStore.open(shared), mint_ulid()
    highest, position = BOTTOM, NOTHING_RECORDED
    for seq, label, forget in steps:
        try:
            store.save(run, seq, label, {})
        except StateError:
            assert seq < position or not highest.flows_to(label)
        else:
            assert seq >= position and highest.flows_to(label)
            highest, position = label, seq
        if forget:
            store.close()
            store = RunStore.open(shared)
        kept = store.load(run)
        if position == NOTHING_RECORDED:
            assert kept is None
        else:
            assert kept is not None and (kept.seq, kept.label) == (position, highest)
    store.close()


@pytest.mark.guarantee("G06")
@pytest.mark.parametrize(
    "odd", [b"", b"{}", b"\xff", b'"top"', BOTTOM.encode() + b" ", BOTTOM.encode().replace(b"user", b"root")]
)
def test_an_unreadable_label_is_top(store: RunStore, tmp_path: Path, odd: bytes) -> None:
    store.register(CLAIMS, PROMPT)
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as raw:
        raw.execute(
            "UPDATE run SET label = ?, floor = ?, prompt = ?, counters = ?, status = 'odd'",
            (odd, odd, odd, b"[]"),
        )
    raw.close()
    read = store.load(RUN)
    assert read is not None and (read.label, read.floor) == (TOP, TOP)
    assert (read.prompt, dict(read.counters), read.status) == (Prompt(), {}, RunStatus.CLOSED)


def _grow(path: Path) -> None:
    store = RunStore.open(path)
    store.register(CLAIMS, PROMPT)
    for seq in range(20):
        store.save(f"{seq:026d}", seq, SECRET, {"calls": seq})
    store.close()


@pytest.mark.guarantee("G24")
@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not a database, but long enough to be looked at" * 40,
        b"SQLite format 3\0" + b"\xff" * 5000,
        b"\0" * 4096,
    ],
    ids=["empty", "text", "header", "zeros"],
)
def test_a_damaged_file_is_moved_aside_and_reported(tmp_path: Path, damage: bytes) -> None:
    _grow(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(damage)
    (tmp_path / (FILE_NAME + "-wal")).write_bytes(b"rest")
    store = RunStore.open(tmp_path)
    assert store.load(RUN) is None
    store.save(RUN, 3, SECRET, {})
    store.close()
    if damage:
        assert store.replaced == tmp_path / f"{FILE_NAME}.damaged-1"
        assert store.replaced.read_bytes() == damage
        path.write_bytes(damage)
        second = RunStore.open(tmp_path)
        assert second.replaced == tmp_path / f"{FILE_NAME}.damaged-2"
        second.close()


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("grown")
    _grow(directory)
    return directory / FILE_NAME


@pytest.mark.guarantee("G24")
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 110) | st.integers(0, 20_000), st.binary(min_size=1, max_size=64))
@example(3267, b"\x80")
def test_damage_anywhere_never_stops_a_start(grown: Path, at: int, noise: bytes) -> None:
    content = bytearray(grown.read_bytes())
    at %= len(content)
    content[at : at + len(noise)] = noise[: len(content) - at]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / FILE_NAME).write_bytes(content)
        try:
            store = RunStore.open(Path(name))
        except StateError as error:
            assert "newer release" in str(error)  # the noise hit the version number
            return
        try:
            kept = store.load("0" * 26)
        except StateError:
            kept = None
        if kept is not None:  # a single burst does not spell another rank
            assert SECRET.level <= kept.label.level and SECRET.integrity <= kept.label.integrity
        store.close()


@pytest.mark.parametrize("statement", ["CREATE TABLE extra (x)", "DROP TABLE run", "CREATE VIEW v AS SELECT 1",
                                       "CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM run; END"])  # fmt: skip
def test_a_file_with_another_structure_is_moved_aside(tmp_path: Path, statement: str) -> None:
    _grow(tmp_path)
    raw = sqlite3.connect(tmp_path / FILE_NAME)
    raw.execute(statement)
    raw.close()
    store = RunStore.open(tmp_path)
    assert store.replaced is not None and store.list() == ()
    store.close()


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    _grow(tmp_path)
    raw = sqlite3.connect(tmp_path / FILE_NAME)
    raw.execute("PRAGMA user_version = 4")
    raw.close()
    with pytest.raises(StateError, match="newer release"):
        RunStore.open(tmp_path)
    assert [path.name for path in tmp_path.glob("*damaged*")] == []


def test_an_unusable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used"):
        RunStore.open(tmp_path / "file")
    (tmp_path / "elsewhere").touch()
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be used"):
        RunStore.open(tmp_path)


@pytest.mark.guarantee("G28")
def test_only_the_owner_reads_the_file_whatever_the_umask_says(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        (tmp_path / "state").mkdir(mode=0o777)
        store = RunStore.open(tmp_path / "state")
        store.save(RUN, 0, SECRET, {})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        assert set(modes.values()) == {0o600} and f"{FILE_NAME}-wal" in modes
        store.close()
    finally:
        os.umask(previous)


def test_two_processes_share_the_file(store: RunStore, tmp_path: Path) -> None:
    launcher = RunStore.open(tmp_path / "state")
    launcher.register(CLAIMS, PROMPT)
    seen = store.load(RUN)
    assert seen is not None and seen.prompt == PROMPT
    store.save(RUN, 0, SECRET, {})
    assert [run.seq for run in launcher.list()] == [0]
    launcher.close()


SAVES = """
import os, sys
from pathlib import Path
from trionyx_proxy.core.label import TOP
from trionyx_proxy.state import RunStore
store = RunStore.open(Path(sys.argv[1]))
os.write(2, b"opened\\n")
for seq in range(40):
    store.save("0" * 26, seq, TOP, {"calls": seq})
os.write(2, b"saved\\n")
os.kill(os.getpid(), 9)
"""


@pytest.mark.guarantee("G24")
def test_saves_cost_no_fsync_and_survive_a_kill(tmp_path: Path) -> None:
    strace = need("strace")
    trace = tmp_path / "trace"
    subprocess.run(
        [
            strace,
            "-f",
            "-qq",
            "-o",
            trace,
            "-e",
            "trace=fsync,fdatasync,write",
            sys.executable,
            "-c",
            SAVES,
            tmp_path / "state",
        ],
        check=False,
        capture_output=True,
        timeout=60,
    )
    lines = trace.read_text().splitlines()
    (opened,) = (at for at, line in enumerate(lines) if "opened" in line)
    (saved,) = (at for at, line in enumerate(lines) if "saved" in line)
    assert not [line for line in lines[opened:saved] if "sync(" in line]
    store = RunStore.open(tmp_path / "state")
    kept = store.load("0" * 26)
    assert kept is not None and (kept.seq, dict(kept.counters), store.replaced) == (39, {"calls": 39}, None)
    store.close()


@pytest.mark.guarantee("G30")
def test_hearsay_is_of_other_runs_of_one_tenant_and_told_once(store: RunStore, tmp_path: Path) -> None:
    store.heard.add("acme", OTHER, b"first---")
    ((last, told),) = store.heard.since("acme", RUN, 0)
    store.heard.add("corp", OTHER, b"other---")
    store.heard.add("acme", RUN, b"mine----")
    assert told == b"first---"
    # What is of no interest is passed over once.
    assert store.heard.since("acme", RUN, last) == [(last + 1, None), (last + 2, None)]
    again = reopened(store, tmp_path)
    again.heard.add("acme", OTHER, b"second--")
    assert again.heard.since("acme", RUN, last + 2) == [(last + 3, b"second--")]
    assert [told for _, told in again.heard.since("acme", RUN, 0)] == [b"first---", None, None, b"second--"]
    again.close()


@pytest.mark.guarantee("G30")
def test_beyond_the_bound_anything_is_hearsay_for_every_run_of_the_tenant(store: RunStore) -> None:
    store.heard.add("acme", RUN, bytes(MAX_HEARSAY_BYTES))
    assert store.heard.since("acme", RUN, 0) == [(1, None)]
    store.heard.add("acme", RUN, b"one more")
    assert [[told for _, told in store.heard.since("acme", run, 1)] for run in (RUN, OTHER)] == [[b""], [b""]]
    assert [told for _, told in store.heard.since("corp", OTHER, 0)] == [None, None]


@pytest.mark.guarantee("G30")
def test_the_bound_counts_what_all_processes_wrote(store: RunStore, tmp_path: Path) -> None:
    other = RunStore.open(tmp_path / "state")
    third = bytes(MAX_HEARSAY_BYTES // 3)
    for writer, run in ((store, RUN), (other, OTHER), (store, RUN), (store, RUN)):
        writer.heard.add("acme", run, b"few words")
        writer.heard.add("corp", run, third)
    other.close()
    assert [told for _, told in store.heard.since("acme", RUN, 0) if told is not None] == [b"few words"]
    assert [told for _, told in store.heard.since("corp", RUN, 0) if told is not None] == [third, b""]


def test_a_file_without_the_table_of_hearsay_gets_it(store: RunStore, tmp_path: Path) -> None:
    store.taint_resource("", "files", "/notes/a")
    store.close()
    raw = sqlite3.connect(tmp_path / "state" / FILE_NAME)
    raw.executescript("DROP TABLE hearsay; PRAGMA user_version = 2")
    raw.close()
    again = RunStore.open(tmp_path / "state")
    assert again.replaced is None and again.is_tainted("", "files", "/notes/a")
    again.heard.add("", OTHER, b"first---")
    assert again.heard.since("", RUN, 0)
    again.close()


@pytest.mark.guarantee("G30")
def test_hearsay_of_another_key_is_anything(store: RunStore) -> None:
    said = Hearsay(b"k" * 32).digests("ask Mallory about it", lambda _: False, None)
    Resources(store, "acme", OTHER, b"k" * 32).tell(said)
    ours = Resources(store, "acme", RUN, b"k" * 32).hearsay()
    assert not ours.is_full and ours.signs(Shown(["Ask Mallory about me."]), [ArgumentType.TEXT]) == {0}
    assert Resources(store, "acme", RUN, b"o" * 32).hearsay().is_full
    assert not Resources(store, "corp", RUN, b"o" * 32).hearsay().is_full

"""The writer: what it acknowledges is on disk, what it refuses harms nothing, what fails ends it for good."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from trionyx_audit import storage
from trionyx_audit.checkpoint import TrustedKey, claimed_checkpoint
from trionyx_audit.clock import SystemClock
from trionyx_audit.errors import EncodingError, KeyMaterialError, LockedError, StorageError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import MAX_BATCH, Draft, Log
from trionyx_audit.payload import MAX_PAYLOAD
from trionyx_audit.reading import published_notes, records
from trionyx_audit.record import leaf_hash
from trionyx_audit.storage import Layout
from trionyx_audit.verify import verify

OpenLog = Callable[..., Log]
MakeDraft = Callable[..., Draft]
WAIT = 20  # seconds until a test that would hang fails instead


@pytest.mark.guarantee("G19")
def test_a_receipt_points_at_the_record_on_disk(
    place: Path, open_log: OpenLog, draft: MakeDraft, origin: str
) -> None:
    with open_log(place / "log") as log:
        receipt = log.submit(draft(call="c")).result(WAIT)
        found = list(records(place / "log"))  # before close: the acknowledgement is the promise
        assert (receipt.origin, receipt.seq) == (origin, 1)
        assert leaf_hash(found[1].line) == receipt.leaf
        assert found[1].body["call"] == "c"
        assert log.size == 2


def test_the_common_members(place: Path, open_log: OpenLog, draft: MakeDraft, origin: str) -> None:
    with open_log(place / "log", entropy=lambda count: bytes(count)) as log:
        log.submit(draft(x=1)).result(WAIT)
    first, second = records(place / "log")
    assert first.type == "log.open"
    assert first.body["vkey"] == orjson.loads((place / "log" / "log.json").read_bytes())["vkey"]
    assert second.body == {
        "v": 1,
        "log": origin,
        "seq": 1,
        "prev": leaf_hash(first.line).hex(),
        "kid": str(first.body["vkey"]).split("+")[1],
        "ts": "2026-09-21T14:13:20.000003Z",
        "mono_ns": 0,
        "boot": "00" * 8,
        "type": "call.denied",
        "x": 1,
    }


def test_the_directory_and_its_modes(ten: Path) -> None:
    names = {"log.json", "lock", "seg", "checkpoint", "checkpoints.log", "payload", "keyvault"}
    assert {path.name for path in ten.iterdir()} == names
    for name in ("seg", "payload", "keyvault"):
        assert stat.S_IMODE((ten / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((ten / "keyvault" / "payload.key").stat().st_mode) == 0o600
    assert [path.name for path in (ten / "seg").iterdir()] == ["0000000000000000.jsonl"]


@pytest.mark.guarantee("G19")
def test_many_producers_make_one_chain(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    got: list[int] = []

    def produce(name: int) -> None:
        futures = [log.submit(draft(call=f"{name}-{number}")) for number in range(25)]
        got.extend(future.result(WAIT).seq for future in futures)

    with open_log(place / "log", checkpoint_every=50) as log:
        threads = [threading.Thread(target=produce, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(got) == list(range(1, 201))
    verdict = verify(place / "log", trusted, quick=True)
    assert (verdict.exit(), verdict.size, verdict.sealed) == (0, 201, 201)
    assert {record.body.get("call") for record in records(place / "log", start=1)} == {
        f"{name}-{number}" for name in range(8) for number in range(25)
    }


def test_a_batch_is_bounded(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    with open_log(place / "log") as log:
        futures = [log.submit(draft(n=number)) for number in range(2 * MAX_BATCH + 1)]
        assert [future.result(WAIT).seq for future in futures] == list(range(1, 2 * MAX_BATCH + 2))
        heavy = [log.submit(draft(payloads={"a": bytes(9 * 2**20)})) for _ in range(2)]
        assert [future.result(WAIT).seq for future in heavy] == [2 * MAX_BATCH + 2, 2 * MAX_BATCH + 3]


REFUSED = [
    (Draft("Call", b"{}"), "type"),
    (Draft("log.open", b"{}"), "belong to the log"),
    (Draft("x" * 65, b"{}"), "type"),
    (Draft("a", b"[]"), "object"),
    (Draft("a", b'{"b":1.5}'), "integer"),
    (Draft("a", b'{"seq":1}'), "belongs to the log"),
    (Draft("a", b'{"b":{"bytes":1,"commit":"x"}}'), "commitment"),
    (Draft("a", b'{"b":1}', {"b": b""}), "name of a member"),
    (Draft("a", b"{}", {"B": b""}), "payload name"),
    (Draft("a", b"{}", {"ts": b""}), "payload name"),
    (Draft("a", b'{"b":"' + b"x" * 65_536 + b'"}'), "bytes long"),
]


@pytest.mark.parametrize(("refused", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_a_draft_that_can_be_no_record_harms_nothing(
    place: Path, open_log: OpenLog, draft: MakeDraft, refused: Draft, reason: str
) -> None:
    with open_log(place / "log") as log:
        future = log.submit(refused)
        with pytest.raises(EncodingError, match=reason):
            future.result(WAIT)
        assert log.submit(draft()).result(WAIT).seq == 1
        assert log.failure is None


def test_a_payload_is_bounded(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    with open_log(place / "log") as log, pytest.raises(EncodingError, match="longer than"):
        log.submit(draft(payloads={"a": bytes(MAX_PAYLOAD + 1)})).result(WAIT)


def test_a_cancelled_record_is_not_written(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    gate, entered = threading.Event(), threading.Event()

    def entropy(count: int) -> bytes:
        entered.set()
        gate.wait(WAIT)
        return os.urandom(count)

    gate.set()
    with open_log(place / "log", entropy=entropy) as log:
        gate.clear()
        entered.clear()
        first = log.submit(draft(payloads={"a": b""}))
        assert entered.wait(WAIT)
        second = log.submit(draft(call="cancelled"))
        assert second.cancel()
        gate.set()
        assert first.result(WAIT).seq == 1
        assert log.submit(draft(call="next")).result(WAIT).seq == 2


@pytest.mark.guarantee("G19")
def test_a_second_writer_is_refused(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    with open_log(place / "log") as log:
        with pytest.raises(LockedError, match="another writer has the log open"):
            open_log(place / "log")
        log.submit(draft()).result(WAIT)
    open_log(place / "log").close()


def test_after_close_nothing_is_taken(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    log = open_log(place / "log")
    pending = [log.submit(draft(n=number)) for number in range(20)]
    log.close()
    log.close()
    assert [future.result(0).seq for future in pending] == list(range(1, 21))
    with pytest.raises(StorageError, match="the log is closed"):
        log.submit(draft()).result(WAIT)


def test_checkpoints_follow_the_count(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    with open_log(place / "log", checkpoint_every=5) as log:
        for number in range(20):
            log.submit(draft(n=number)).result(WAIT)
    sizes = [claimed_checkpoint(note).size for _, note in published_notes(Layout(place / "log"))]
    assert sizes == [1, 6, 11, 16, 21]
    assert claimed_checkpoint((place / "log" / "checkpoint").read_bytes()).size == 21


def test_checkpoints_follow_the_clock(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    layout = Layout(place / "log")
    with open_log(place / "log", clock=SystemClock(), checkpoint_interval_s=0.01) as log:
        log.submit(draft()).result(WAIT)
        # The writer wakes by itself; its output is watched, not waited for.
        deadline = time.monotonic() + WAIT
        while claimed_checkpoint(layout.checkpoint.read_bytes()).size != 2:
            assert time.monotonic() < deadline
        assert log.size == 2


def test_segments_rotate_and_full_ones_are_sealed(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    with open_log(place / "log", segment_bytes=2_000) as log:
        for number in range(12):
            log.submit(draft(n=number, payloads={"args": b"x" * number})).result(WAIT)
    with open_log(place / "log", segment_bytes=2_000) as log:
        log.submit(draft(n=12)).result(WAIT)
    segments = sorted((place / "log" / "seg").iterdir())
    assert len(segments) == 3
    modes = [stat.S_IMODE(path.stat().st_mode) for path in segments]
    assert modes == [0o440] * (len(segments) - 1) + [0o600]
    verdict = verify(place / "log", trusted)
    assert (verdict.exit(), verdict.size, verdict.segments) == (0, 14, len(segments))
    assert verdict.payloads.opened == 12


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb"])
def test_an_origin_that_is_no_key_name(place: Path, open_log: OpenLog, origin: str) -> None:
    with pytest.raises(KeyMaterialError):
        open_log(place / "log", origin=origin)
    assert not (place / "log").exists()


def replace(segment: Path) -> None:
    copy = segment.with_name("copy")
    copy.write_bytes(segment.read_bytes())
    copy.rename(segment)


def append(segment: Path) -> None:
    with segment.open("ab") as file:
        file.write(b"foreign\n")


INTERFERENCE: dict[str, Callable[[Path], object]] = {
    "unlinked": lambda segment: segment.unlink(),
    "replaced": replace,
    "truncated": lambda segment: os.truncate(segment, 10),
    "appended": append,
    "linked": lambda segment: os.link(segment, segment.parent.parent / "second-name"),
    "directory moved": lambda segment: segment.parent.rename(segment.parent.parent / "elsewhere"),
}


@pytest.mark.guarantee("G19")
@pytest.mark.parametrize("name", INTERFERENCE)
def test_a_touched_file_ends_the_writer(place: Path, open_log: OpenLog, draft: MakeDraft, name: str) -> None:
    log = open_log(place / "log")
    log.submit(draft()).result(WAIT)
    before = (place / "log" / "checkpoint").read_bytes()
    INTERFERENCE[name](place / "log" / "seg" / "0000000000000000.jsonl")
    with pytest.raises(StorageError, match="takes no more records"):
        log.submit(draft()).result(WAIT)
    with pytest.raises(StorageError, match="takes no more records"):
        log.submit(draft()).result(WAIT)
    assert log.failure is not None
    with pytest.raises(StorageError):
        log.close()
    assert (place / "log" / "checkpoint").read_bytes() == before


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let this process's files grow to `size` bytes: beyond, writes are short, then fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.guarantee("G19")
@pytest.mark.parametrize("room", [0, 1, 100, 700])
def test_a_short_write_poisons_and_is_recovered(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey, room: int
) -> None:
    log = open_log(place / "log")
    log.submit(draft(n=0)).result(WAIT)
    size = (place / "log" / "seg" / "0000000000000000.jsonl").stat().st_size
    with file_size_limit(size + room):
        futures = [log.submit(draft(n=number)) for number in range(1, 6)]
        outcomes = [future.exception(WAIT) for future in futures]
    acknowledged = 2 + outcomes.count(None)
    assert isinstance(outcomes[-1], StorageError)
    with pytest.raises(StorageError):
        log.close()
    assert verify(place / "log", trusted).exit() in (0, 3)
    with open_log(place / "log") as log:
        assert log.recovered is not None
        assert log.recovered.size >= acknowledged
    assert verify(place / "log", trusted).exit() == 0


@pytest.mark.guarantee("G19")
@pytest.mark.parametrize(
    "failing", [{"seg"}, {"payload"}, {"seg", "payload"}], ids=lambda names: "+".join(sorted(names))
)
def test_a_line_is_acknowledged_only_with_its_payloads(
    place: Path, open_log: OpenLog, draft: MakeDraft, monkeypatch: pytest.MonkeyPatch, failing: set[str]
) -> None:
    log = open_log(place / "log")
    log.submit(draft(n=0, payloads={"args": b"x"})).result(WAIT)
    durable = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name in failing:
            raise OSError(errno.EIO, "input/output error")
        durable(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    for _ in range(2):
        with pytest.raises(StorageError, match="takes no more records"):
            log.submit(draft(payloads={"args": b"x"})).result(WAIT)
    with pytest.raises(StorageError):
        log.close()


def test_a_full_disk_when_publishing_poisons(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    log = open_log(place / "log")
    log.submit(draft(n=0)).result(WAIT)
    with file_size_limit(300), pytest.raises(StorageError, match="takes no more records"):
        log.close()
    assert log.size == 2


def test_an_unexpected_error_poisons_too(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    log = open_log(place / "log", entropy=lambda count: bytes(count if count != 88 else 1))
    with pytest.raises(StorageError, match="internal error"):
        log.submit(draft(payloads={"args": b"x"})).result(WAIT)
    with pytest.raises(StorageError):
        log.close()


@pytest.mark.guarantee("G19")
def test_everything_pending_fails_with_the_writer(place: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    gate, entered = threading.Event(), threading.Event()

    def entropy(count: int) -> bytes:
        if count == 8 or not threading.current_thread().name.startswith("trionyx"):
            return os.urandom(count)
        entered.set()
        gate.wait(WAIT)
        raise OSError("the source of randomness failed")

    log = open_log(place / "log", entropy=entropy)
    first = log.submit(draft(payloads={"a": b""}))
    assert entered.wait(WAIT)
    waiting = [log.submit(draft(n=number)) for number in range(3)]
    cancelled = log.submit(draft())
    assert cancelled.cancel()
    gate.set()
    for future in (first, *waiting):
        assert isinstance(future.exception(WAIT), StorageError)
    with pytest.raises(StorageError):
        log.close()
    assert [record.seq for record in records(place / "log")] == [0]


def test_parents_are_made(place: Path, open_log: OpenLog) -> None:
    open_log(place / "a" / "b" / "log").close()
    assert (place / "a" / "b" / "log" / "checkpoint").is_file()


def test_a_directory_that_cannot_be_made(place: Path, open_log: OpenLog) -> None:
    (place / "file").touch()
    with pytest.raises(StorageError, match="not a directory"):
        open_log(place / "file" / "log")


def test_a_lock_that_cannot_be_opened(place: Path, open_log: OpenLog) -> None:
    (place / "log" / "lock").mkdir(parents=True)
    with pytest.raises(StorageError, match="is a directory"):
        open_log(place / "log")


def test_a_file_system_without_locks(place: Path, open_log: OpenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="no locks available"):
        open_log(place / "log")


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("fdatasync", lambda path: storage.AppendFile(path, 0, create=True).sync()),
        ("fchmod", lambda path: storage.AppendFile(path, 0, create=True).seal()),
        ("fsync", lambda path: storage.sync_directory(path.parent)),
        ("fsync", lambda path: storage.replace_file(path, b"x", 0o600)),
        ("ftruncate", lambda path: (path.touch(), storage.cut_file(path, 0))),
    ],
    ids=["sync", "seal", "directory", "replace", "cut"],
)
def test_every_failing_call_is_a_storage_error(
    place: Path, monkeypatch: pytest.MonkeyPatch, call: str, action: Callable[[Path], object]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match="input/output error"):
        action(place / "file")


def test_files_that_are_not_there(place: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        storage.AppendFile.reopen(place / "missing")
    with pytest.raises(StorageError, match="no such file"):
        storage.AppendFile(place / "missing", 0, create=False)
    (place / "plain").touch()
    with pytest.raises(StorageError, match="not a directory"):
        storage.make_directory(place / "plain" / "below")
    with file_size_limit(1), pytest.raises(StorageError, match="only a part"):
        storage.replace_file(place / "file", b"ab", 0o600)


def test_a_signer_is_only_asked_to_sign(
    place: Path, signer: FileSigner, origin: str, draft: MakeDraft
) -> None:
    """Anything with a public key and a sign method will do: a token, a remote service."""

    class Remote:
        public = signer.public

        def sign(self, message: bytes) -> bytes:
            return signer.sign(message)

    with Log.open(place / "log", signer=Remote(), origin=origin) as log:
        log.submit(draft()).result(WAIT)
    assert verify(place / "log", TrustedKey(signer.public)).exit() == 0

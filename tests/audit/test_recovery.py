"""Opening what a crash left: torn tails are set aside, complete lines never touched, damage never continued."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.errors import StorageError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.reading import records
from trionyx_audit.verify import verify

OpenLog = Callable[..., Log]
MakeDraft = Callable[..., Draft]
WAIT = 20
SEGMENT = Path("seg") / "0000000000000000.jsonl"


@pytest.fixture
def crashed(ten: Path, place: Path) -> Path:
    """The log of ten records as a crash before its last checkpoint leaves it: one checkpoint, over record 0."""
    copy = place / "crashed"
    shutil.copytree(ten, copy)
    first = (copy / "checkpoints.log").read_bytes()
    length, _, rest = first.partition(b"\n")
    (copy / "checkpoint").write_bytes(rest[: int(length)])
    (copy / "checkpoints.log").write_bytes(first[: len(length) + 1 + int(length)])
    return copy


def test_a_clean_close_needs_no_recovery(ten: Path, open_log: OpenLog, trusted: TrustedKey) -> None:
    before = (ten / SEGMENT).read_bytes()
    with open_log(ten) as log:
        assert log.recovered is None
        assert log.size == 10
    assert (ten / SEGMENT).read_bytes() == before
    assert verify(ten, trusted).exit() == 0


@pytest.mark.guarantee("G19")
def test_unsealed_records_are_named(crashed: Path, open_log: OpenLog, trusted: TrustedKey) -> None:
    with open_log(crashed) as log:
        assert log.recovered is not None
        assert (log.recovered.size, log.recovered.unsealed, log.recovered.torn_file) == (10, 9, "")
    last = list(records(crashed))[-1]
    assert last.type == "log.recover"
    assert (last.body["found"], last.body["unsealed"], last.body["torn_bytes"]) == (10, 9, 0)
    assert "torn_file" not in last.body
    assert verify(crashed, trusted).exit() == 0


@pytest.mark.guarantee("G19")
def test_every_torn_end_is_recovered(
    crashed: Path, place: Path, open_log: OpenLog, trusted: TrustedKey
) -> None:
    whole = (crashed / SEGMENT).read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    cuts = [start + 1, start + 5, (start + len(whole)) // 2, len(whole) - 2, len(whole) - 1]
    for cut in cuts:
        for zeros in (0, 1, 5000):
            log_directory = place / f"torn-{cut}-{zeros}"
            shutil.copytree(crashed, log_directory)
            (log_directory / SEGMENT).write_bytes(whole[:cut] + bytes(zeros))
            assert verify(log_directory, trusted, quick=True).exit() == 3
            with open_log(log_directory) as log:
                assert log.recovered is not None
                assert log.recovered.size == 9
                assert log.recovered.torn_bytes == cut - start + zeros
            assert (log_directory / f"torn-{start}").read_bytes() == whole[start:cut] + bytes(zeros)
            assert (log_directory / SEGMENT).read_bytes().startswith(whole[:start])
            assert verify(log_directory, trusted, quick=True).exit() == 0


def test_a_tail_of_zeros_longer_than_a_line_is_torn(
    crashed: Path, open_log: OpenLog, trusted: TrustedKey
) -> None:
    with (crashed / SEGMENT).open("ab") as file:
        file.write(bytes(3 * 2**20))
    assert verify(crashed, trusted).exit() == 3
    with open_log(crashed) as log:
        assert log.recovered is not None
        assert log.recovered.torn_bytes == 3 * 2**20
    assert verify(crashed, trusted).exit() == 0


def test_the_same_place_may_tear_twice(crashed: Path, open_log: OpenLog) -> None:
    offset = (crashed / SEGMENT).stat().st_size
    for name in (f"torn-{offset}", f"torn-{offset}.1"):
        (crashed / name).write_bytes(b"older")
    with (crashed / SEGMENT).open("ab") as file:
        file.write(b"{")
    with open_log(crashed) as log:
        assert log.recovered is not None
        assert log.recovered.torn_file == f"torn-{offset}.2"


def test_an_unfinished_publication_is_cut(ten: Path, open_log: OpenLog, trusted: TrustedKey) -> None:
    whole = (ten / "checkpoints.log").read_bytes()
    for tail in (b"2", b"200\n", b"200\ncorp.example", b"x\n", b"99999999999\n", b"12345678901234567890"):
        (ten / "checkpoints.log").write_bytes(whole + tail)
        assert verify(ten, trusted, quick=True).exit() == 3
        open_log(ten).close()
        assert (ten / "checkpoints.log").read_bytes() == whole
        assert verify(ten, trusted, quick=True).exit() == 0


def test_payloads_without_a_record_are_cut(
    ten: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    blob = ten / "payload" / "0000000000000000.blob"
    whole = blob.read_bytes()
    # An entry of a record that never came (seq 10), then half an entry.
    orphan = whole[:4] + (10).to_bytes(8, "big") + whole[12 : 4 + int.from_bytes(whole[:4], "big")]
    blob.write_bytes(whole + orphan + whole[:50])
    with open_log(ten) as log:
        assert blob.read_bytes() == whole
        log.submit(draft(payloads={"args": b"new"})).result(WAIT)
    assert verify(ten, trusted).payloads.opened == 7


def test_a_missing_payload_file_is_begun_anew(ten: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    (ten / "payload" / "0000000000000000.blob").unlink()
    with open_log(ten) as log:
        log.submit(draft(payloads={"args": b"new"})).result(WAIT)


def test_a_sealed_last_segment_is_continued(ten: Path, open_log: OpenLog, draft: MakeDraft) -> None:
    (ten / SEGMENT).chmod(0o440)
    with open_log(ten) as log:
        assert log.submit(draft()).result(WAIT).seq == 10


def test_a_log_that_was_only_laid_out_is_begun(
    ten: Path, place: Path, open_log: OpenLog, draft: MakeDraft
) -> None:
    """A crash between laying out and record 0, at each step."""
    for keep in ((), ("seg",), ("seg", "payload", "keyvault"), ("seg", "payload", "keyvault", "log.json")):
        half = place / f"half-{len(keep)}"
        half.mkdir()
        for name in keep:
            if name == "log.json":
                shutil.copy(ten / name, half / name)
            else:
                shutil.copytree(ten / name, half / name)
        for path in half.glob("seg/*"):
            path.write_bytes(b"")
        if "log.json" in keep:
            (half / "checkpoints.log").touch()
        with open_log(half) as log:
            assert log.recovered is None
            assert log.submit(draft()).result(WAIT).seq == 1


def damage(directory: Path, offset: int) -> None:
    with (directory / SEGMENT).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def body_offset(directory: Path, seq: int, text: bytes) -> int:
    content = (directory / SEGMENT).read_bytes()
    start = sum(map(len, content.splitlines(keepends=True)[:seq]))
    return content.index(text, start)


@pytest.mark.guarantee("G19")
def test_damage_is_never_continued(crashed: Path, ten: Path, open_log: OpenLog) -> None:
    whole = (crashed / SEGMENT).read_bytes()
    damage(crashed, body_offset(crashed, 4, b'"run"') + 7)
    with pytest.raises(StorageError, match="cannot be continued: record 4: the signature is not valid"):
        open_log(crashed)
    (crashed / SEGMENT).write_bytes(whole)
    damage(crashed, body_offset(crashed, 4, b'"run"') + 8)
    with pytest.raises(StorageError, match="record 4: the body is not valid json"):
        open_log(crashed)
    (crashed / SEGMENT).write_bytes(whole)
    damage(crashed, body_offset(crashed, 9, b'"s":"') + 6)
    with pytest.raises(StorageError, match="record 9: the signature is not valid"):
        open_log(crashed)
    (crashed / SEGMENT).write_bytes(whole)
    damage(ten, body_offset(ten, 9, b'"s":"') + 6)
    with pytest.raises(StorageError, match="not the ones of the checkpoint"):
        open_log(ten)


@pytest.mark.guarantee("G17")
def test_a_log_cut_below_its_checkpoint_is_not_continued(ten: Path, open_log: OpenLog) -> None:
    lines = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    (ten / SEGMENT).write_bytes(b"".join(lines[:7]))
    with pytest.raises(StorageError, match="cut to 7 records, the checkpoint has 10"):
        open_log(ten)


def test_a_lost_current_checkpoint_is_found_in_the_published_ones(ten: Path, open_log: OpenLog) -> None:
    (ten / "checkpoint").unlink()
    lines = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    (ten / SEGMENT).write_bytes(b"".join(lines[:7]))
    with pytest.raises(StorageError, match="the checkpoint has 10"):
        open_log(ten)


def test_another_key_or_name_is_refused(ten: Path, open_log: OpenLog) -> None:
    with pytest.raises(StorageError, match="begun with another key"):
        open_log(ten, signer=FileSigner.from_seed(b"2" * 32))
    with pytest.raises(StorageError, match="another origin"):
        open_log(ten, origin="corp.example/other")


def test_files_that_are_not_usable_are_refused(ten: Path, open_log: OpenLog) -> None:
    checkpoint = (ten / "checkpoint").read_bytes()
    (ten / "checkpoint").write_bytes(checkpoint.replace(b"10", b"11"))
    with pytest.raises(StorageError, match="bad signature"):
        open_log(ten)
    (ten / "checkpoint").write_bytes(checkpoint)
    key = (ten / "keyvault" / "payload.key").read_bytes()
    (ten / "keyvault" / "payload.key").write_bytes(b"short")
    with pytest.raises(StorageError, match="malformed"):
        open_log(ten)
    (ten / "keyvault" / "payload.key").write_bytes(key)
    manifest = (ten / "log.json").read_bytes()
    (ten / "log.json").write_bytes(b"{}")
    with pytest.raises(StorageError, match="format version"):
        open_log(ten)
    (ten / "log.json").unlink()
    with pytest.raises(StorageError, match=r"records but no log\.json"):
        open_log(ten)
    (ten / "log.json").write_bytes(manifest)
    (ten / "checkpoints.log").unlink()
    with pytest.raises(StorageError, match="no such file"):
        open_log(ten)


def test_an_append_only_file_stays_as_it_was_when_opening_fails(ten: Path, open_log: OpenLog) -> None:
    before = {path: path.read_bytes() for path in ten.rglob("*") if path.is_file()}
    with pytest.raises(StorageError):
        open_log(ten, origin="corp.example/other")
    assert {path: path.read_bytes() for path in ten.rglob("*") if path.is_file()} == before
    assert os.listdir(ten / "seg") == ["0000000000000000.jsonl"]

"""The verifier: every change is found, the first bad record named, and it says how far it can know."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import islice, permutations
from pathlib import Path

import pytest

from trionyx_audit.accounting import PayloadAccount
from trionyx_audit.canonical import encode_body
from trionyx_audit.checkpoint import Checkpoint, TrustedKey, claimed_checkpoint
from trionyx_audit.errors import FormatError, KeyMaterialError, UnreadableError, UnsupportedError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.payload import Vault, entries
from trionyx_audit.reading import LineReader, records
from trionyx_audit.record import CONTEXT, body_of, frame
from trionyx_audit.storage import Layout
from trionyx_audit.verdict import Exit, Finding, Verdict
from trionyx_audit.verify import verify

OpenLog = Callable[..., Log]
MakeDraft = Callable[..., Draft]
WAIT = 20
SEGMENT = Path("seg") / "0000000000000000.jsonl"


@pytest.fixture
def judge(ten: Path, trusted: TrustedKey) -> Callable[[bytes], Verdict]:
    """Verify the log of ten records with other bytes in its segment, in quick mode."""

    def run(content: bytes, *, quick: bool = True) -> Verdict:
        (ten / SEGMENT).write_bytes(content)
        return verify(ten, trusted, quick=quick)

    # The payloads are not what these tests change, and looking for them would double their time.
    shutil.rmtree(ten / "payload")
    return run


@pytest.fixture
def lines(ten: Path) -> list[bytes]:
    return (ten / SEGMENT).read_bytes().splitlines(keepends=True)


def violation(verdict: Verdict) -> Finding:
    assert verdict.exit() is Exit.VIOLATED
    assert verdict.violation is not None
    return verdict.violation


def seq_at(lines: list[bytes], offset: int) -> int:
    for seq, line in enumerate(lines):
        offset -= len(line)
        if offset < 0:
            return seq
    return len(lines)


@pytest.mark.parametrize("quick", [True, False])
def test_an_honest_log_holds(ten: Path, trusted: TrustedKey, origin: str, quick: bool) -> None:
    verdict = verify(ten, trusted, quick=quick)
    assert verdict.exit() is Exit.HOLDS
    assert (verdict.origin, verdict.size, verdict.sealed, verdict.segments) == (origin, 10, 10, 1)
    assert verdict.root == claimed_checkpoint((ten / "checkpoint").read_bytes()).root
    assert verdict.every_signature is not quick
    calls = verdict.calls
    assert (calls.intents, calls.outcomes, calls.denied, calls.in_doubt) == (4, 3, 1, ("c9",))
    assert verdict.payloads.committed == verdict.payloads.present == 6
    assert verdict.payloads.opened == (0 if quick else 6)
    assert [finding.id for finding in verdict.findings] == ["in_doubt"]
    assert verdict.exit(strict=True) is Exit.INCOMPLETE
    assert verdict.exposed == 10


def changed_bits(content: bytes, bits: range) -> Iterator[tuple[int, bytes]]:
    for offset in range(len(content)):
        for bit in bits:
            yield offset, content[:offset] + bytes([content[offset] ^ 1 << bit]) + content[offset + 1 :]


def check_flips(judge: Callable[[bytes], Verdict], lines: list[bytes], bits: range, step: int = 1) -> None:
    content = b"".join(lines)
    for place, (offset, mutant) in enumerate(changed_bits(content, bits)):
        if place % step == 0:
            found = violation(judge(mutant))
            assert found.seq == seq_at(lines, offset), (offset, found)
            assert found.offset is not None


@pytest.mark.guarantee("G16")
def test_a_flipped_bit_is_found_and_its_record_named(
    judge: Callable[[bytes], Verdict], lines: list[bytes]
) -> None:
    check_flips(judge, lines, range(8), step=499)


@pytest.mark.slow
@pytest.mark.guarantee("G16")
def test_every_flipped_bit_is_found_and_its_record_named(
    judge: Callable[[bytes], Verdict], lines: list[bytes]
) -> None:
    check_flips(judge, lines, range(8))


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize(
    "step", [pytest.param(331, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
)
def test_every_removed_or_added_byte_is_found(
    judge: Callable[[bytes], Verdict], lines: list[bytes], step: int
) -> None:
    content = b"".join(lines)
    offsets = sorted({*range(0, len(content), step), len(content) - 1})
    for offset in offsets:
        found = violation(judge(content[:offset] + content[offset + 1 :]))
        assert found.seq == seq_at(lines, offset), ("removed", offset, found)
        for byte in (b"{", b"\n", b"\x00"):
            found = violation(judge(content[:offset] + byte + content[offset:]))
            # A newline before a newline is an empty line after a whole one; elsewhere the line itself breaks.
            empty = byte == content[offset : offset + 1] == b"\n"
            assert found.seq == seq_at(lines, offset) + empty, ("added", offset, byte, found)


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("quick", [True, False])
def test_bytes_after_the_end_are_reported(
    judge: Callable[..., Verdict], lines: list[bytes], quick: bool
) -> None:
    content = b"".join(lines)
    assert violation(judge(content + b"\n", quick=quick)).seq == 10
    # An unfinished line after a sealed end cannot be told from a crash while writing record 10.
    verdict = judge(content + b"{", quick=quick)
    assert verdict.exit() is Exit.INCOMPLETE
    assert any(finding.id == "torn_tail" and finding.seq == 10 for finding in verdict.findings)


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("quick", [True, False])
def test_deleted_inserted_repeated_and_exchanged_records(
    judge: Callable[..., Verdict], lines: list[bytes], quick: bool
) -> None:
    for seq in range(10):
        found = violation(judge(b"".join(lines[:seq] + lines[seq + 1 :]), quick=quick))
        assert (found.id, found.seq) == ("deleted" if seq < 9 else "truncated", seq)
        found = violation(judge(b"".join(lines[: seq + 1] + lines[seq:]), quick=quick))
        assert (found.id, found.seq) == ("replayed", seq + 1)
    for first, second in [*permutations(range(0, 10, 3), 2), (4, 5), (9, 8)]:
        mixed = list(lines)
        mixed[first], mixed[second] = mixed[second], mixed[first]
        found = violation(judge(b"".join(mixed), quick=quick))
        assert (found.id, found.seq) == ("deleted", min(first, second))
    assert violation(judge(b"".join(reversed(lines)), quick=quick)).seq == 0


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("tail", [b"", b"x" * 70_000], ids=["end", "then a long line"])
def test_the_last_record_is_checked_even_where_nothing_follows_it(
    ten: Path, judge: Callable[..., Verdict], lines: list[bytes], tail: bytes
) -> None:
    (ten / "checkpoint").unlink()
    (ten / "checkpoints.log").unlink()
    found = violation(judge(b"".join(lines)[:-8] + b"AA" + b"".join(lines)[-6:] + tail))
    assert (found.id, found.seq, found.offset) == ("tamper", 9, len(b"".join(lines[:9])))


@pytest.mark.guarantee("G17")
@pytest.mark.parametrize("quick", [True, False])
def test_a_log_cut_below_its_checkpoint(
    judge: Callable[..., Verdict], lines: list[bytes], quick: bool
) -> None:
    content = b"".join(lines)
    for cut in (*range(0, len(content), 397), len(content) - 1):
        found = violation(judge(content[:cut], quick=quick))
        assert (found.id, found.seq) == ("truncated", seq_at(lines, cut))
    assert found.offset == len(content) - len(lines[-1])


@pytest.mark.guarantee("G17")
def test_a_log_cut_together_with_its_checkpoints_needs_an_outside_memory(
    ten: Path, trusted: TrustedKey
) -> None:
    kept = claimed_checkpoint((ten / "checkpoint").read_bytes())
    first, _, rest = (ten / "checkpoints.log").read_bytes().partition(b"\n")
    (ten / "checkpoint").write_bytes(rest[: int(first)])
    (ten / "checkpoints.log").write_bytes(first + b"\n" + rest[: int(first)])
    content = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    (ten / SEGMENT).write_bytes(b"".join(content[:5]))
    verdict = verify(ten, trusted)
    assert verdict.exit() is Exit.HOLDS, "without outside memory nobody can know"
    assert (verdict.sealed, verdict.size, verdict.exposed) == (1, 5, 5)
    assert verdict.unsealed_s > 0
    found = violation(verify(ten, trusted, heads=[("the auditor's copy", kept)]))
    assert (found.id, found.seq) == ("truncated", 5)
    assert "the auditor's copy has 10 records" in found.detail


def test_outside_checkpoints_anchor(ten: Path, trusted: TrustedKey) -> None:
    head = claimed_checkpoint((ten / "checkpoint").read_bytes())
    one = claimed_checkpoint((ten / "checkpoints.log").read_bytes().partition(b"\n")[2])
    verdict = verify(ten, trusted, heads=[("b", head), ("a", one)])
    assert [(anchor.source, anchor.size) for anchor in verdict.anchors] == [("a", 1), ("b", 10)]
    assert verdict.exposed == 0
    empty = Checkpoint(head.origin, 0, bytes(32))
    assert violation(verify(ten, trusted, heads=[("empty", empty)])).id == "fork"


def rewrite(lines: list[bytes], start: int, signer: FileSigner, word: str) -> list[bytes]:
    """Sign another history from record `start` on, as only the holder of the key can."""
    from trionyx_audit.canonical import decode_body
    from trionyx_audit.record import leaf_hash

    found = list(lines[:start])
    for line in lines[start:]:
        body = decode_body(body_of(line[:-1])) | {"x_word": word}
        body["prev"] = leaf_hash(found[-1][:-1]).hex()
        text = encode_body(body)
        found.append(frame(text, signer.sign(CONTEXT + text)) + b"\n")
    return found


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("quick", [True, False])
def test_a_rewritten_and_signed_history_contradicts_the_checkpoint(
    judge: Callable[..., Verdict], lines: list[bytes], signer: FileSigner, quick: bool
) -> None:
    found = violation(judge(b"".join(rewrite(lines, 5, signer, "evil")), quick=quick))
    assert (found.id, found.seq) == ("fork", 1)
    assert "agreed up to size 1" in found.detail


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("quick", [True, False])
def test_two_spliced_histories_are_a_fork(
    judge: Callable[..., Verdict], lines: list[bytes], signer: FileSigner, quick: bool
) -> None:
    other = rewrite(lines, 4, signer, "evil")
    found = violation(judge(b"".join(lines[:6] + other[6:]), quick=quick))
    assert (found.id, found.seq) == ("fork", 6)


FORGED: list[tuple[dict[str, object], str]] = [
    ({"v": 2}, "version 2"),
    ({"v": True}, "version True"),
    ({"v": "1"}, "version nothing usable"),
    ({"type": 5}, "no type"),
    ({"type": "log.open"}, "only record 0"),
    ({"log": "corp.example/other"}, "another log"),
    ({"kid": "00000000"}, "another signing key"),
    ({"seq": True}, "sequence number"),
    ({"seq": "5"}, "sequence number nothing usable"),
]


@pytest.mark.parametrize(("members", "reason"), FORGED, ids=[str(members) for members, _ in FORGED])
def test_validly_signed_records_of_the_wrong_form(
    judge: Callable[..., Verdict],
    lines: list[bytes],
    signer: FileSigner,
    members: dict[str, object],
    reason: str,
) -> None:
    from trionyx_audit.canonical import decode_body

    text = encode_body(decode_body(body_of(lines[5][:-1])) | members)  # type: ignore[operator]  # any JSON
    forged = frame(text, signer.sign(CONTEXT + text)) + b"\n"
    found = violation(judge(b"".join([*lines[:5], forged, *lines[6:]])))
    assert found.seq == 5
    assert reason in found.detail


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("name", ["checkpoint", "checkpoints.log", "log.json"])
@pytest.mark.parametrize(
    "step", [pytest.param(11, id="some"), pytest.param(1, id="every", marks=pytest.mark.slow)]
)
def test_a_changed_byte_beside_the_records_is_found(
    ten: Path, trusted: TrustedKey, name: str, step: int
) -> None:
    whole = (ten / name).read_bytes()
    shutil.rmtree(ten / "payload")
    for offset, mutant in islice(changed_bits(whole, range(0, 8, 5)), 0, None, step):
        (ten / name).write_bytes(mutant)
        try:
            code = verify(ten, trusted, quick=True).exit()
        except (KeyMaterialError, UnsupportedError):
            code = Exit.VIOLATED  # the name that keys are trusted for, or the format, was changed
        # A damaged length in the list of published checkpoints looks like an unfinished publication.
        expected = (Exit.VIOLATED, Exit.INCOMPLETE) if name == "checkpoints.log" else (Exit.VIOLATED,)
        assert code in expected, (offset, whole[offset : offset + 1])


def test_a_manifest_that_record_0_does_not_repeat(ten: Path, trusted: TrustedKey) -> None:
    whole = (ten / "log.json").read_bytes()
    (ten / "log.json").write_bytes(whole.replace(b"2026", b"2025"))
    assert violation(verify(ten, trusted)).detail == "log.json and record 0 differ"
    for other in (b"{}", b'{"format":"trionyx-audit/v2"}'):
        (ten / "log.json").write_bytes(other)
        with pytest.raises(UnsupportedError):
            verify(ten, trusted)
    (ten / "log.json").write_bytes(b'{"format":"trionyx-audit/v1"}')
    assert violation(verify(ten, trusted)).detail == "log.json lacks origin, vkey or created"
    (ten / "log.json").write_bytes(whole.replace(b"{", b'{"a":1,'))
    assert violation(verify(ten, TrustedKey(trusted.public))).detail == "log.json holds more than it should"


def test_published_checkpoints_must_grow(ten: Path, trusted: TrustedKey) -> None:
    whole = (ten / "checkpoints.log").read_bytes()
    (ten / "checkpoints.log").write_bytes(whole + whole)
    assert "go backwards" in violation(verify(ten, trusted)).detail


def test_what_is_missing_is_incomplete(ten: Path, trusted: TrustedKey) -> None:
    checkpoint = (ten / "checkpoint").read_bytes()
    (ten / "checkpoint").unlink()
    verdict = verify(ten, trusted)
    assert (verdict.exit(), verdict.sealed) == (Exit.INCOMPLETE, 10)
    (ten / "checkpoints.log").unlink()
    verdict = verify(ten, trusted)
    assert (verdict.exit(), verdict.sealed) == (Exit.INCOMPLETE, 0)
    assert {finding.id for finding in verdict.findings} == {"no_checkpoint", "in_doubt"}
    (ten / "checkpoint").write_bytes(checkpoint)
    shutil.rmtree(ten / "payload")
    verdict = verify(ten, trusted)
    missing = next(finding for finding in verdict.findings if finding.id == "missing_payload")
    assert (verdict.exit(), missing.seq, verdict.payloads.present) == (Exit.INCOMPLETE, 1, 0)
    for path in (ten / SEGMENT, ten / "checkpoint"):
        path.unlink()
    verdict = verify(ten, trusted)
    assert {finding.id for finding in verdict.findings} == {"empty", "no_checkpoint"}
    shutil.rmtree(ten / "seg")
    with pytest.raises(UnreadableError, match="seg: no such file"):
        verify(ten, trusted)


def test_unreadable_files(ten: Path, trusted: TrustedKey) -> None:
    for name in ("checkpoint", "checkpoints.log", "payload/0000000000000000.blob", str(SEGMENT), "log.json"):
        path = ten / name
        moved = path.rename(ten / "moved")
        path.mkdir()
        with pytest.raises(UnreadableError, match="not a regular file"):
            verify(ten, trusted)
        path.rmdir()
        moved.rename(path)
    assert verify(ten, trusted).exit() is Exit.HOLDS
    # A name below a file cannot be looked at at all.
    (ten / "checkpoints.log").unlink()
    (ten / "checkpoints.log").symlink_to(ten / "checkpoints.log")
    with pytest.raises(UnreadableError, match="symbolic links"):
        verify(ten, trusted)


@pytest.fixture
def rotated(place: Path, open_log: OpenLog, draft: MakeDraft) -> Path:
    with open_log(place / "rotated", segment_bytes=900) as log:
        for number in range(8):
            log.submit(draft("call.denied", call=f"d{number}", payloads={"args": b"x"})).result(WAIT)
    for path in (place / "rotated" / "seg").iterdir():
        path.chmod(0o600)
    return place / "rotated"


def test_missing_foreign_and_torn_segments(rotated: Path, trusted: TrustedKey) -> None:
    segments = sorted((rotated / "seg").iterdir())
    assert len(segments) >= 4
    firsts = [int(path.stem) for path in segments]
    second = segments[1].read_bytes()

    segments[1].unlink()
    found = violation(verify(rotated, trusted))
    assert (found.seq, found.segment) == (firsts[1], segments[2].name)
    assert "segment is missing" in found.detail
    segments[1].write_bytes(second[:-1])
    found = violation(verify(rotated, trusted))
    assert (found.seq, found.detail) == (firsts[2] - 1, "the segment ends in the middle of a line")
    segments[1].write_bytes(second)
    # The line before the missing segment is bad: quick mode looks back before it names a place.
    damaged = segments[0].read_bytes()
    segments[0].write_bytes(damaged[:-10] + bytes([damaged[-10] ^ 1]) + damaged[-9:])
    segments[1].unlink()
    found = violation(verify(rotated, trusted, quick=True))
    assert (found.seq, found.segment) == (firsts[1] - 1, segments[0].name)
    segments[0].write_bytes(damaged)
    segments[1].write_bytes(second)
    for name in ("notes.txt", "0000000000000001", "000000000000000x.jsonl", "1.jsonl"):
        (rotated / "seg" / name).touch()
        assert "not one of them" in violation(verify(rotated, trusted)).detail
        (rotated / "seg" / name).unlink()
    segments[0].unlink()
    assert violation(verify(rotated, trusted)).seq == 0


def test_the_last_line_of_a_quick_check_is_named_with_its_segment(rotated: Path, trusted: TrustedKey) -> None:
    segments = sorted((rotated / "seg").iterdir())
    content = segments[1].read_bytes()
    segments[1].write_bytes(content[:-10] + bytes([content[-10] ^ 1]) + content[-9:])
    found = violation(verify(rotated, trusted, quick=True))
    lines = content.splitlines(keepends=True)
    assert found.segment == segments[1].name
    assert found.offset == len(content) - len(lines[-1])


def test_payloads_that_were_changed(ten: Path, trusted: TrustedKey) -> None:
    blob = ten / "payload" / "0000000000000000.blob"
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = violation(verify(ten, trusted))
    assert (found.id, found.seq) == ("payload", 6)
    assert verify(ten, trusted, quick=True).exit() is Exit.HOLDS, "quick mode opens none"
    blob.write_bytes(whole)
    (ten / "keyvault" / "payload.key").write_bytes(bytes(32))
    assert sum(finding.id == "payload" for finding in verify(ten, trusted).findings) == 6
    (ten / "keyvault" / "payload.key").unlink()
    verdict = verify(ten, trusted)
    assert (verdict.exit(), verdict.payloads.present, verdict.payloads.opened) == (Exit.HOLDS, 6, 0)


def besides(verdict: Verdict) -> dict[str, str]:
    """What is said of payloads, by id."""
    return {finding.id: finding.detail for finding in verdict.findings if "payload" in finding.id}


def stray(seq: int, name: str) -> bytes:
    return Vault("elsewhere.example", bytes(32)).seal(seq, name, b"x", os.urandom)[1]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    ("seq", "name", "behind"),
    [
        pytest.param(1, "other", 1, id="of a record that commits to another"),
        pytest.param(1, "args", 1, id="a second one"),
        pytest.param(0, "args", 0, id="of a record that commits to none"),
        pytest.param(8, "args", 6, id="of a record that commits to none, after all others"),
        pytest.param(1, "args", 6, id="out of order"),
    ],
)
def test_payloads_that_no_record_commits_to_are_told(
    ten: Path, trusted: TrustedKey, seq: int, name: str, behind: int, quick: bool
) -> None:
    blob = ten / "payload" / "0000000000000000.blob"
    whole = blob.read_bytes()
    cuts = [entry.offset for entry in entries(blob)] + [len(whole)]
    extra = stray(seq, name)
    blob.write_bytes(whole[: cuts[behind]] + extra + whole[cuts[behind] :])
    verdict = verify(ten, trusted, quick=quick)
    told = f"payload files with data that no record commits to: 1 ({len(extra)} bytes)"
    assert (verdict.exit(), besides(verdict)) == (Exit.INCOMPLETE, {"leftover_payload": told})
    assert verdict.payloads.present == 6


def test_the_true_payload_is_found_behind_a_false_one(ten: Path, trusted: TrustedKey) -> None:
    blob = ten / "payload" / "0000000000000000.blob"
    blob.write_bytes(stray(1, "args") + blob.read_bytes())
    verdict = verify(ten, trusted)
    assert (verdict.payloads.opened, list(besides(verdict))) == (6, ["leftover_payload"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("0000000000000000.blob", stray(10, "args"), id="the next record's"),
        pytest.param("0000000000000000.blob", stray(10, "args")[:-1], id="an unfinished one"),
        pytest.param("0000000000000010.blob", stray(10, "args"), id="the next segment's"),
    ],
)
def test_a_payload_ahead_of_its_record_is_no_fault(
    ten: Path, trusted: TrustedKey, name: str, content: bytes
) -> None:
    with (ten / "payload" / name).open("ab") as file:
        file.write(content)
    verdict = verify(ten, trusted)
    told = f"the last {len(content)} bytes of the payloads are of no record yet"
    assert (verdict.exit(), besides(verdict)) == (Exit.HOLDS, {"payload_ahead": told})
    assert verdict.exit(strict=True) is Exit.INCOMPLETE


@pytest.mark.parametrize(
    "name", ["0000000000000005.blob", "000000000000000０.blob", "5.blob", "notes", "link"]
)
def test_files_of_no_segment_are_told(ten: Path, trusted: TrustedKey, name: str) -> None:
    if name == "link":
        (ten / "payload" / "0000000000000010.blob").symlink_to(ten / "log.json")
        size = len(str(ten / "log.json"))
    else:
        (ten / "payload" / name).write_bytes(b"hidden")
        size = 6
    (ten / "payload" / "empty").touch()
    told = f"payload files with data that no record commits to: 1 ({size} bytes)"
    verdict = verify(ten, trusted)
    assert (verdict.exit(), besides(verdict)) == (Exit.INCOMPLETE, {"leftover_payload": told})


def test_what_is_added_to_a_full_payload_file_is_told(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    with open_log(place / "log", segment_bytes=2_000) as log:
        for number in range(20):
            log.submit(draft(n=number, payloads={"args": b"x"} if number < 10 else {})).result(WAIT)
    assert besides(verify(place / "log", trusted)) == {}
    files = sorted((place / "log" / "payload").iterdir())
    assert len(files) > 2
    for file in (files[0], files[-2]):  # with payloads and without
        before = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(before + b"unfinished")
        told = "payload files with data that no record commits to: 1 (10 bytes)"
        assert besides(verify(place / "log", trusted)) == {"leftover_payload": told}
        file.write_bytes(before)


def test_a_commitment_that_lies(ten: Path, trusted: TrustedKey, signer: FileSigner) -> None:
    """Records of a dishonest writer: a length that is not the payload's, a commitment that is no hex."""
    from trionyx_audit.canonical import decode_body

    lines = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    for value in (
        {"bytes": 11, "commit": "00"},
        {"bytes": 11, "commit": "no hex"},
        {"bytes": 10, "commit": "same"},
    ):
        body = decode_body(body_of(lines[1][:-1]))
        args = body["args"]
        assert isinstance(args, dict)
        if value["commit"] == "same":
            value["commit"] = str(args["commit"])
            value["bytes"] = 9
        body["args"] = dict(value)
        text = encode_body(body)
        (ten / SEGMENT).write_bytes(lines[0] + frame(text, signer.sign(CONTEXT + text)) + b"\n")
        assert any(f.id == "payload" and f.seq == 1 for f in verify(ten, trusted).findings)


def test_entries_of_records_that_commit_to_nothing_are_passed_over(ten: Path) -> None:
    account = PayloadAccount(Layout(ten), None)
    account.add(3, 0, {"args": {"commit": "00", "bytes": 1}, "x": {"commit": 1, "bytes": "1"}})
    account.add(4, 0, {"call": "c"})
    assert (account.count().committed, account.count().present) == (1, 1)


def test_many_altered_payloads_are_not_all_listed(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    with open_log(place / "log") as log:
        for _ in range(30):
            last = log.submit(draft(payloads={"args": b"x"}))
        last.result(WAIT)
    (place / "log" / "keyvault" / "payload.key").write_bytes(bytes(32))
    assert sum(finding.id == "payload" for finding in verify(place / "log", trusted).findings) == 20


def test_a_live_log_verifies(place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey) -> None:
    with open_log(place / "log") as log:
        for number in range(3):
            log.submit(draft(n=number, payloads={"args": b"x"})).result(WAIT)
        verdict = verify(place / "log", trusted)
        assert (verdict.exit(), verdict.size, verdict.sealed, verdict.exposed) == (Exit.HOLDS, 4, 1, 4)


def test_calls_are_balanced(place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey) -> None:
    with open_log(place / "log") as log:
        for kind, call in (
            ("call.intent", "a"),
            ("call.intent", "a"),
            ("call.denied", "a"),
            ("call.outcome", "ghost"),
            ("call.outcome", "ghost"),
            ("call.denied", "b"),
            ("call.intent", "c"),
            ("call.outcome", "c"),
        ):
            log.submit(draft(kind, call=call)).result(WAIT)
        for number in range(25):
            last = log.submit(draft("call.intent", call=f"open-{number}"))
        last.result(WAIT)
    verdict = verify(place / "log", trusted)
    calls = verdict.calls
    assert (calls.intents, calls.outcomes, calls.revoked, calls.denied, calls.orphans) == (27, 1, 1, 1, 2)
    assert (len(calls.in_doubt), calls.in_doubt_count) == (20, 25)
    orphan = next(finding for finding in verdict.findings if finding.id == "orphan")
    assert (orphan.seq, verdict.exit()) == (4, Exit.INCOMPLETE)


def test_a_clock_that_goes_back_is_noted(
    place: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey, clock: object, signer: FileSigner
) -> None:
    with open_log(place / "log") as log:
        log.submit(draft()).result(WAIT)
        clock.wall -= 10**9  # type: ignore[attr-defined]  # the stopped clock of the fixtures
        log.submit(draft()).result(WAIT)
        log.submit(draft()).result(WAIT)
    verdict = verify(place / "log", trusted)
    assert [(f.id, f.seq, f.severity) for f in verdict.findings] == [("clock", 2, "note")]


def test_a_time_that_is_none_is_survived(ten: Path, trusted: TrustedKey, signer: FileSigner) -> None:
    from trionyx_audit.canonical import decode_body

    lines = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    for ts in (5, "yesterday", "2026-01-01T00:00:00"):
        body = decode_body(body_of(lines[1][:-1])) | {"ts": ts}
        text = encode_body(body)
        (ten / SEGMENT).write_bytes(lines[0] + frame(text, signer.sign(CONTEXT + text)) + b"\n")
        assert verify(ten, trusted).unsealed_s == 0.0


@pytest.mark.parametrize(
    "tail",
    [
        b"x" * 200_000 + b"\n",
        b'{"r":' + b"[" * 30_000 + b"\n",
        b'{"r":{"a":' + b"[" * 5_000 + b"]" * 5_000 + b'},"s":"' + b"A" * 88 + b'"}\n',
        b'{"r":{"seq":10,"seq":10},"s":"' + b"A" * 88 + b'"}\n',
        b"\xff\xfe\x00\n",
        b"\x1b]0;owned\x07\n",
        b"\n",
        b"x" * 70_000 + bytes(70_000) + b"x",
    ],
    ids=["long", "deep", "deep-framed", "duplicate", "non-utf-8", "escape", "empty", "long-torn"],
)
def test_hostile_lines_are_findings(ten: Path, trusted: TrustedKey, tail: bytes) -> None:
    with (ten / SEGMENT).open("ab") as file:
        file.write(tail)
    for quick in (True, False):
        assert violation(verify(ten, trusted, quick=quick)).seq == 10
    with pytest.raises(FormatError, match="record 10"):
        list(records(ten))


def test_a_line_of_ten_gigabytes_is_not_read(ten: Path, trusted: TrustedKey) -> None:
    with (ten / SEGMENT).open("ab") as file:
        file.write(b'{"r":{')
    os.truncate(ten / SEGMENT, 10 * 2**30)  # a sparse file: zeros to the end
    with (ten / SEGMENT).open("r+b") as file:
        file.seek(10**6)  # not zeros to the end, which would be a crash's tail
        file.write(b"x")
    assert violation(verify(ten, trusted, quick=True)).detail == "a line is longer than 65535 bytes"


def test_records_start_anywhere(ten: Path) -> None:
    assert [record.seq for record in records(ten, start=7)] == [7, 8, 9]
    assert [record.type for record in records(ten, start=9)] == ["policy.load"]


def test_a_reader_goes_on_where_it_was(rotated: Path) -> None:
    whole = {path.name: path.read_bytes() for path in (rotated / "seg").iterdir()}
    names = sorted(whole)
    for path in (rotated / "seg").iterdir():
        path.unlink()
    reader = LineReader(Layout(rotated))
    assert list(reader.lines()) == []
    read: list[bytes] = []
    for name in names:
        (rotated / "seg" / name).write_bytes(whole[name][:40])
        read += reader.lines()
        assert reader.torn is not None
        (rotated / "seg" / name).write_bytes(whole[name])
        read += reader.lines()
        assert reader.torn is None
    assert b"\n".join(read) + b"\n" == b"".join(whole[name] for name in names)
    (rotated / "seg" / names[-1]).write_bytes(b"")
    with pytest.raises(FormatError, match="cut while it was read"):
        list(reader.lines())
    (rotated / "seg" / names[-1]).unlink()
    with pytest.raises(FormatError, match="removed"):
        list(reader.lines())


def test_a_key_is_only_trusted_for_its_logs(ten: Path, signer: FileSigner) -> None:
    with pytest.raises(KeyMaterialError):
        verify(ten, TrustedKey(signer.public, "other.example"))
    other = FileSigner.from_seed(b"3" * 32)
    found = violation(verify(ten, TrustedKey(other.public)))
    assert found.seq == 0

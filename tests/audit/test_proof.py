"""Proofs that travel alone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.canonical import encode_body
from trionyx_audit.checkpoint import Checkpoint, TrustedKey, claimed_checkpoint
from trionyx_audit.errors import FormatError, NoteError, ProofError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.proof import (
    ConsistencyProof,
    InclusionProof,
    prove_consistency,
    prove_inclusion,
)
from trionyx_audit.record import CONTEXT, frame, leaf_hash

OpenLog = Callable[..., Log]
MakeDraft = Callable[..., Draft]


@pytest.mark.guarantee("G18")
def test_every_record_is_proved_and_go_agrees(
    ten: Path,
    place: Path,
    trusted: TrustedKey,
    signer: FileSigner,
    origin: str,
    auditcheck: Callable[..., str],
) -> None:
    vkey = str(trusted.for_origin(origin))
    for seq in range(10):
        proof = prove_inclusion(ten, seq)
        raw = proof.encode()
        assert InclusionProof.parse(raw) == proof
        record, checkpoint = proof.check(trusted)
        assert (record.seq, checkpoint.size) == (seq, 10)
        (place / "p").write_bytes(raw)
        assert auditcheck("proof", str(place / "p"), vkey) == f"record {seq} of 10\n"


def test_no_other_bytes_are_that_proof(ten: Path, trusted: TrustedKey) -> None:
    raw = prove_inclusion(ten, 5).encode()
    for offset in range(0, len(raw), 3):
        changed = raw[:offset] + bytes([raw[offset] ^ 1]) + raw[offset + 1 :]
        with pytest.raises((ProofError, NoteError, Exception)) as found:
            InclusionProof.parse(changed).check(trusted)
        assert type(found.value).__name__ in ("ProofError", "NoteError", "KeyMaterialError"), offset


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: b"", "version 1"),
        (lambda raw: raw.replace(b"@v1", b"@v2"), "version 1"),
        (lambda raw: raw.replace(b"index", "é".encode()), "characters"),
        (lambda raw: raw.replace(b"extra", b"other"), "carry its record"),
        (lambda raw: raw.replace(b"index 5", b"index 05"), "no index"),
        (lambda raw: raw.replace(b"index 5", b"place 5"), "no index"),
        (lambda raw: raw.replace(b"index 5\n", b"index 5\n!\n"), "base64"),
        (lambda raw: raw.replace(b"index 5\n", b"index 5\nQUJD\n"), "32 bytes"),
        (lambda raw: raw.replace(b"index 5\n", b"index 5\n" + b"QUJD\n" * 65), "too long"),
    ],
)
def test_files_that_are_no_proof(ten: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(ProofError, match=reason):
        InclusionProof.parse(change(prove_inclusion(ten, 5).encode()))


@settings(max_examples=30)
@given(st.binary(max_size=100))
def test_random_bytes_are_no_proof(raw: bytes) -> None:
    with pytest.raises(ProofError):
        InclusionProof.parse(raw)
    with pytest.raises(ProofError):
        ConsistencyProof.parse(raw)


def single(line: bytes, origin: str, signer: FileSigner) -> InclusionProof:
    """A tree of one line, properly signed by the log's key."""
    return InclusionProof(0, (), line, Checkpoint(origin, 1, leaf_hash(line)).signed(signer))


def test_a_leaf_that_is_no_record_proves_nothing(
    trusted: TrustedKey, origin: str, signer: FileSigner
) -> None:
    body = encode_body({"seq": 0, "log": origin, "type": "x"})
    good = frame(body, signer.sign(CONTEXT + body))
    assert single(good, origin, signer).check(trusted)[0].type == "x"
    elsewhere = encode_body({"seq": 1, "log": origin})
    for line, reason in (
        (b"no record", "not a record"),
        (frame(b"{}x", bytes(64)), "not a record"),
        (frame(elsewhere, signer.sign(CONTEXT + elsewhere)), "another place"),
        (frame(body, bytes(64)), "signature"),
        (good[:-4] + b"!" + good[-3:], "signature"),
    ):
        with pytest.raises(ProofError, match=reason):
            single(line, origin, signer).check(trusted)


def test_growth_is_proved(
    place: Path, ten: Path, open_log: OpenLog, draft: MakeDraft, trusted: TrustedKey
) -> None:
    old = (ten / "checkpoint").read_bytes()
    with open_log(ten) as log:
        for number in range(7):
            log.submit(draft(n=number))
    proof = prove_consistency(ten, old)
    assert ConsistencyProof.parse(proof.encode()) == proof
    first, second = proof.check(trusted)
    assert (first.size, second.size) == (10, 17)
    assert prove_inclusion(ten, 16).check(trusted)[0].seq == 16
    with pytest.raises(ProofError):
        ConsistencyProof(proof.old, proof.new, proof.path[:-1]).check(trusted)
    with pytest.raises(ProofError):
        ConsistencyProof(proof.new, proof.old, proof.path).check(trusted)


def test_what_cannot_be_proved(ten: Path, trusted: TrustedKey, signer: FileSigner, origin: str) -> None:
    with pytest.raises(ProofError, match="covers record 10 yet"):
        prove_inclusion(ten, 10)
    bigger = Checkpoint(origin, 11, bytes(32)).signed(signer)
    with pytest.raises(ProofError, match="from size 11"):
        prove_consistency(ten, bigger)
    whole = (ten / "checkpoint").read_bytes()
    (ten / "checkpoint").write_bytes(bigger)
    with pytest.raises(FormatError, match="not the ones of the checkpoint"):
        prove_inclusion(ten, 1)
    (ten / "checkpoint").unlink()
    with pytest.raises(ProofError, match="no checkpoint"):
        prove_inclusion(ten, 1)
    assert claimed_checkpoint(whole).size == 10


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"schema":"x"}',
        b'{"new":1,"old":"","path":[],"schema":"trionyx.consistency/v1"}',
        b'{"new":"","old":"","path":{},"schema":"trionyx.consistency/v1"}',
        b'{"new":"","old":"","path":[1],"schema":"trionyx.consistency/v1"}',
        b'{"new":"","old":"","path":["' + b64encode(bytes(5)) + b'"],"schema":"trionyx.consistency/v1"}',
        b'{"new":"","old":"","path":[],"schema":"trionyx.consistency/v2"}',
    ],
)
def test_files_that_are_no_consistency_proof(raw: bytes) -> None:
    with pytest.raises(ProofError):
        ConsistencyProof.parse(raw)

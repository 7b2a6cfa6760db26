"""`trionyx-audit prove` and `check`: proofs that leave the machine."""

from __future__ import annotations

from pathlib import Path

from trionyx_audit.canonical import JSON
from trionyx_audit.checkpoint import Checkpoint, TrustedKey
from trionyx_audit.cli.browsing import row, row_object
from trionyx_audit.cli.terminal import json_line, printable, write_lines
from trionyx_audit.cli.verification import UsageError
from trionyx_audit.errors import NoteError, ProofError
from trionyx_audit.note import encode_base64
from trionyx_audit.proof import (
    MAX_PROOF_BYTES,
    ConsistencyProof,
    InclusionProof,
    prove_consistency,
    prove_inclusion,
)
from trionyx_audit.reading import read_checkpoint, records, unreadable
from trionyx_audit.verdict import Exit


def prove(directory: Path, what: str, out: Path | None, *, json: bool) -> Exit:
    """Print or write the inclusion proof of a record, given by number or by the id of a call with one record.

    Raises:
        UsageError: no such record, or the call has several.
    """
    seq = (
        int(what) if what.isascii() and what.isdecimal() and len(what) < 17 else _seq_of_call(directory, what)
    )
    try:
        proof = prove_inclusion(directory, seq).encode()
    except ProofError as error:
        raise UsageError(f"{directory}: {error}") from error
    return _emit(proof, out, json=json)


def prove_growth(directory: Path, old: Path, out: Path | None, *, json: bool) -> Exit:
    """Print or write the proof that the log of checkpoint file `old` is a prefix of the log.

    Raises:
        UsageError: the checkpoint is missing, empty, or beyond the log's own.
    """
    note = read_checkpoint(old)
    if note is None:
        raise UsageError(f"{old}: no such file or directory")
    try:
        proof = prove_consistency(directory, note).encode()
    except ProofError as error:
        raise UsageError(f"{directory}: {error}") from error
    return _emit(proof, out, json=json)


def check(path: Path, key: TrustedKey, *, json: bool) -> Exit:
    """Check a proof file made by `prove`, without the log; print what it proves.

    Raises:
        UnreadableError: the file cannot be read.
        KeyMaterialError: the key is not trusted for the log.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PROOF_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        if raw.startswith(b"{"):
            facts, lines = _check_growth(raw, key)
        else:
            facts, lines = _check_inclusion(raw, key)
    except (ProofError, NoteError) as error:
        facts, lines = {"ok": False, "detail": str(error)}, [f"PROOF      INVALID   {printable(str(error))}"]
    write_lines([json_line({"schema": "trionyx.check/v1", **facts})] if json else lines)
    return Exit.HOLDS if facts["ok"] else Exit.VIOLATED


def _check_inclusion(raw: bytes, key: TrustedKey) -> tuple[dict[str, JSON], list[str]]:
    record, checkpoint = InclusionProof.parse(raw).check(key)
    lines = [
        printable(checkpoint.origin),
        f"PROOF      holds: record {record.seq:,} is one of the first {checkpoint.size:,} of the log",
        f"           root {encode_base64(checkpoint.root)}",
        row(record),
    ]
    facts: dict[str, JSON] = {"ok": True, "kind": "inclusion", **_head(checkpoint)}
    return facts | row_object(record), lines


def _check_growth(raw: bytes, key: TrustedKey) -> tuple[dict[str, JSON], list[str]]:
    old, new = ConsistencyProof.parse(raw).check(key)
    lines = [
        printable(new.origin),
        f"PROOF      holds: the log of {old.size:,} records is the beginning of the log of {new.size:,}",
        f"           root {encode_base64(new.root)}",
    ]
    return {"ok": True, "kind": "consistency", "old_size": old.size, **_head(new)}, lines


def _head(checkpoint: Checkpoint) -> dict[str, JSON]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": encode_base64(checkpoint.root)}


def _seq_of_call(directory: Path, call: str) -> int:
    found = [(record.seq, record.type) for record in records(directory) if record.body.get("call") == call]
    if not found:
        raise UsageError(f"{directory}: no record of call {printable(call)}")
    if len(found) > 1:
        names = ", ".join(f"{seq} ({printable(kind)})" for seq, kind in found[:10])
        raise UsageError(f"{directory}: the call has several records, name one by number: {names}")
    return found[0][0]


def _emit(proof: bytes, out: Path | None, *, json: bool) -> Exit:
    if out is not None:
        try:
            out.write_bytes(proof)
        except OSError as error:
            raise UsageError(f"{out}: {(error.strerror or 'cannot be written').lower()}") from error
        return Exit.HOLDS
    text = proof.decode()
    write_lines([json_line({"schema": "trionyx.prove/v1", "proof": text})] if json else text.splitlines())
    return Exit.HOLDS

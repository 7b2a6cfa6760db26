"""Proofs that travel without the log: one record's inclusion, and one checkpoint's growth into another.

An inclusion proof is a C2SP `tlog-proof` whose extra data is the record's line, so the file stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trionyx_audit.canonical import JSON, canonicalize, decode_body
from trionyx_audit.checkpoint import Checkpoint, TrustedKey, claimed_checkpoint, open_checkpoint
from trionyx_audit.errors import EncodingError, FormatError, NoteError, ProofError
from trionyx_audit.keys import verifies
from trionyx_audit.merkle import (
    HASH_BYTES,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
)
from trionyx_audit.note import decode_base64, encode_base64
from trionyx_audit.reading import read_checkpoint, records
from trionyx_audit.record import CONTEXT, Record, body_of, leaf_hash, signature_of
from trionyx_audit.storage import Layout

HEADER = "c2sp.org/tlog-proof@v1"
CONSISTENCY_SCHEMA = "trionyx.consistency/v1"
MAX_PROOF_BYTES = 2_000_000
_INDEX = re.compile(r"0|[1-9][0-9]{0,15}")
_MAX_PATH = 64


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a line is one of the records that a checkpoint covers.

    Args:
        index: the record's sequence number.
        path: audit path, sibling first, each 32 bytes.
        line: the record's line without its newline.
        checkpoint: the signed note, verbatim.
    """

    index: int
    path: tuple[bytes, ...]
    line: bytes
    checkpoint: bytes

    def encode(self) -> bytes:
        """Return the proof as a `tlog-proof` file.

        Source: c2sp.org/tlog-proof.
        """
        head = [HEADER, f"extra {encode_base64(self.line)}", f"index {self.index}"]
        head += [encode_base64(node) for node in self.path]
        return "\n".join(head).encode() + b"\n\n" + self.checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> InclusionProof:
        """Read a `tlog-proof` file made by `encode`; says nothing about what it proves.

        Raises:
            ProofError: malformed, or without the record's line.
        """
        head, separator, checkpoint = raw.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise ProofError("the proof holds characters that it cannot hold") from error
        if not separator or lines[0] != HEADER:
            raise ProofError("not a tlog-proof of version 1")
        if len(lines) < 3 or not lines[1].startswith("extra "):
            raise ProofError("the proof does not carry its record")
        index = lines[2].removeprefix("index ")
        if not lines[2].startswith("index ") or _INDEX.fullmatch(index) is None:
            raise ProofError("the proof has no index")
        line = _decoded(lines[1].removeprefix("extra "))
        return cls(int(index), _path(lines[3:]), line, checkpoint)

    def check(self, key: TrustedKey) -> tuple[Record, Checkpoint]:
        """Check checkpoint signature, audit path, record signature and the record's own place.

        Raises:
            ProofError: something of it does not hold.
            NoteError: the checkpoint is not a validly signed one.
            KeyMaterialError: the key is not trusted for the log.
        """
        claimed = claimed_checkpoint(self.checkpoint)
        verifier = key.for_origin(claimed.origin)
        checkpoint = open_checkpoint(self.checkpoint, verifier)
        check_inclusion(checkpoint.root, checkpoint.size, self.index, leaf_hash(self.line), self.path)
        try:
            text = body_of(self.line)
            body = decode_body(text)
        except (FormatError, EncodingError) as error:
            raise ProofError("the proved line is not a record") from error
        if body.get("seq") != self.index or body.get("log") != checkpoint.origin:
            raise ProofError("the proved record belongs to another place or log")
        signature = signature_of(self.line)
        public = Ed25519PublicKey.from_public_bytes(key.public)
        if signature is None or not verifies(public, signature, CONTEXT + text):
            raise ProofError("the signature of the proved record is not valid")
        return Record(self.index, str(body.get("type")), body, self.line), checkpoint


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of an old checkpoint is a prefix of the log of a new one.

    Args:
        old: signed note of the smaller log, verbatim.
        new: signed note of the larger log, verbatim.
        path: RFC 6962 consistency proof.
    """

    old: bytes
    new: bytes
    path: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the proof as one line of canonical JSON."""
        path: list[JSON] = [encode_base64(node) for node in self.path]
        members: dict[str, JSON] = {
            "schema": CONSISTENCY_SCHEMA,
            "old": self.old.decode(),
            "new": self.new.decode(),
            "path": path,
        }
        return canonicalize(members) + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> ConsistencyProof:
        """Read a proof made by `encode`; says nothing about what it proves.

        Raises:
            ProofError: malformed.
        """
        try:
            members = decode_body(raw.removesuffix(b"\n"))
        except EncodingError as error:
            raise ProofError(f"the proof is {error}") from error
        old, new, path = members.get("old"), members.get("new"), members.get("path")
        if members.keys() != {"schema", "old", "new", "path"} or members["schema"] != CONSISTENCY_SCHEMA:
            raise ProofError("not a consistency proof of version 1")
        if not isinstance(old, str) or not isinstance(new, str) or not isinstance(path, list):
            raise ProofError("the consistency proof is malformed")
        return cls(old.encode(), new.encode(), _path([str(node) for node in path]))

    def check(self, key: TrustedKey) -> tuple[Checkpoint, Checkpoint]:
        """Check both signatures and the proof between them.

        Raises:
            ProofError: the old log is not shown to be a prefix of the new one.
            NoteError: a checkpoint is not a validly signed one, or they are of two logs.
            KeyMaterialError: the key is not trusted for the log.
        """
        verifier = key.for_origin(claimed_checkpoint(self.new).origin)
        old, new = open_checkpoint(self.old, verifier), open_checkpoint(self.new, verifier)
        check_consistency(old.size, old.root, new.size, new.root, self.path)
        return old, new


def prove_inclusion(directory: Path, seq: int) -> InclusionProof:
    """Prove record `seq` against the log's newest checkpoint; checks the chain, but no signature.

    Raises:
        ProofError: no such record, or no checkpoint covers it yet.
        FormatError: the log is damaged, or its checkpoint commits to another history.
        NoteError: the checkpoint is malformed.
        UnreadableError: a file cannot be read.
    """
    note, checkpoint = _newest(directory)
    if not 0 <= seq < checkpoint.size:
        raise ProofError(f"no checkpoint covers record {seq} yet: the newest has {checkpoint.size} records")
    leaves, line = [], b""
    for record in _covered(directory, checkpoint):
        leaves.append(leaf_hash(record.line))
        if record.seq == seq:
            line = record.line
    return InclusionProof(seq, inclusion_proof(leaves, seq), line, note)


def prove_consistency(directory: Path, old: bytes) -> ConsistencyProof:
    """Prove that the log of an older checkpoint is a prefix of the log as its newest checkpoint has it.

    Raises:
        ProofError: the old checkpoint is newer than the log's, or empty.
        FormatError: the log is damaged, or its checkpoint commits to another history.
        NoteError: a checkpoint is malformed.
        UnreadableError: a file cannot be read.
    """
    note, checkpoint = _newest(directory)
    size = claimed_checkpoint(old).size
    leaves = [leaf_hash(record.line) for record in _covered(directory, checkpoint)]
    return ConsistencyProof(old, note, consistency_proof(leaves, size))


def _newest(directory: Path) -> tuple[bytes, Checkpoint]:
    note = read_checkpoint(Layout(directory).checkpoint)
    if note is None:
        raise ProofError("the log has no checkpoint")
    return note, claimed_checkpoint(note)


def _covered(directory: Path, checkpoint: Checkpoint) -> Iterator[Record]:
    """Yield exactly the records a checkpoint covers; they must hash to its root."""
    frontier = Frontier()
    for record in records(directory):
        if frontier.size == checkpoint.size:
            break
        frontier.push(leaf_hash(record.line))
        yield record
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise FormatError("the records are not the ones of the checkpoint")


def _path(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > _MAX_PATH:
        raise ProofError("the proof is too long")
    path = tuple(_decoded(line) for line in lines)
    if any(len(node) != HASH_BYTES for node in path):
        raise ProofError(f"a hash of the proof is not {HASH_BYTES} bytes")
    return path


def _decoded(text: str) -> bytes:
    try:
        return decode_base64(text)
    except NoteError as error:
        raise ProofError("the proof holds something that is not base64") from error

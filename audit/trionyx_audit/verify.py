"""The verifier: reads a log with one public key and says what holds, up to where, and what is first wrong.

Quick mode checks chain, canonical form, tree, checkpoints and the last record's signature. That is enough for
integrity, because the leaf hash covers the whole line, its signature included. Full mode also checks every
signature, so that each record stands for itself. Either way the first bad record is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trionyx_audit.accounting import CallAccount, PayloadAccount
from trionyx_audit.canonical import JSON, decode_body
from trionyx_audit.chain import Chain
from trionyx_audit.checkpoint import Checkpoint, TrustedKey, open_checkpoint
from trionyx_audit.clock import seconds_between
from trionyx_audit.errors import EncodingError, FormatError, NoteError, PayloadError
from trionyx_audit.keys import verifies
from trionyx_audit.merkle import EMPTY_ROOT, Frontier
from trionyx_audit.note import VerifierKey
from trionyx_audit.payload import Vault
from trionyx_audit.reading import (
    LineReader,
    Manifest,
    published_notes,
    read_checkpoint,
    read_manifest,
    unreadable,
)
from trionyx_audit.record import CONTEXT, body_of, signature_of
from trionyx_audit.storage import Layout
from trionyx_audit.verdict import Anchor, CallCount, Finding, PayloadCount, Severity, Verdict


def verify(
    directory: Path,
    key: TrustedKey,
    *,
    quick: bool = False,
    heads: Sequence[tuple[str, Checkpoint]] = (),
) -> Verdict:
    """Verify one log.

    Does not prove that calls which were never recorded did not happen, nor that nothing was cut off since the
    newest of `heads` and the log's own checkpoint.

    Args:
        directory: the log's directory.
        key: public key trusted for it.
        quick: whether to check the signature of the last record only.
        heads: checkpoints of this log known from outside, already verified, each with where it is from.

    Raises:
        KeyMaterialError: the key is not trusted for this log.
        UnreadableError: a file cannot be read.
        UnsupportedError: the log is of another format version.
    """
    layout = Layout(directory)
    try:
        manifest = read_manifest(layout)
    except FormatError as error:
        return _unnamed(key, Finding("manifest", Severity.VIOLATION, error.reason))
    return _Verification(layout, manifest, key, quick=quick).run(heads)


class LineVerifier:
    """Checks line after line; remembers what it needs to name the first bad one.

    Args:
        key: verifier key under the log's own name.
        every_signature: whether to check each signature at once.
    """

    def __init__(self, key: VerifierKey, *, every_signature: bool) -> None:
        self.chain = Chain(key.name)
        self._key_id = key.id.hex()
        self._public = Ed25519PublicKey.from_public_bytes(key.public)
        self._every_signature = every_signature
        self._last = b""

    def accept(self, line: bytes) -> tuple[dict[str, JSON], bytes]:
        """Check the next line and advance; return its members and leaf hash.

        Raises:
            FormatError: it cannot stand here. Quick mode may notice only now that the line before is bad
                (`last_is_signed`).
        """
        if self._every_signature and not self._signed(line):
            raise FormatError("the signature is not valid")
        body, leaf = self.chain.accept(line)
        if body.get("kid") != self._key_id:
            raise FormatError("the record names another signing key")
        self._last = line
        return body, leaf

    def last_is_signed(self) -> bool:
        """Tell whether the last accepted line carries a valid signature; true before the first line."""
        return not self._last or self._signed(self._last)

    def classify(self, line: bytes, place: int) -> str:
        """Return the id of the finding for a line that was refused as record `place`."""
        try:
            seq = decode_body(body_of(line)).get("seq")
        except (FormatError, EncodingError):
            return "tamper"
        if not isinstance(seq, int) or not self._signed(line):
            return "tamper"
        if seq == place:
            return "fork"
        return "deleted" if seq > place else "replayed"

    def _signed(self, line: bytes) -> bool:
        signature = signature_of(line)
        return signature is not None and verifies(self._public, signature, CONTEXT + body_of(line))


_REASONS = {
    "fork": "a validly signed record of another history of this log stands here",
    "deleted": "one or more records are missing here",
    "replayed": "a validly signed record stands here that belongs elsewhere in the log",
}


class _Verification:
    """One run over one log."""

    def __init__(self, layout: Layout, manifest: Manifest, key: TrustedKey, *, quick: bool) -> None:
        self._layout = layout
        self._manifest = manifest
        self._key = key.for_origin(manifest.origin)
        self._quick = quick
        self._reader = LineReader(layout)
        self._lines = LineVerifier(self._key, every_signature=not quick)
        self._frontier = Frontier()
        self._place = ("", 0)
        self._calls = CallAccount()
        self._payloads = PayloadAccount(layout, None if quick else _vault(layout, manifest.origin))
        self._expected: dict[int, list[tuple[str, bytes]]] = {}
        self._agreed: list[tuple[str, int]] = []
        self._last_agreed = 0
        self._own_notes: dict[int, bytes] = {}
        self._sealed = 0
        self._sealed_ts = self._last_ts = ""
        self._clock_steps = self._first_step = 0
        self._findings: list[Finding] = []

    def run(self, heads: Sequence[tuple[str, Checkpoint]]) -> Verdict:
        for source, head in heads:
            self._expect(source, head)
        try:
            self._expect_own_checkpoints()
            if self._scan():
                self._finish()
        except OSError as error:
            raise unreadable(self._layout.directory, error) from error
        if self._clock_steps:
            detail = f"times the clock went back: {self._clock_steps}"
            self._findings.append(Finding("clock", Severity.NOTE, detail, self._first_step))
        for account in (self._payloads, self._calls):
            self._findings += account.findings()
        order = list(Severity)
        self._findings.sort(key=lambda finding: (order.index(finding.severity), finding.seq is None))
        anchors = [Anchor(source, size) for source, size in self._agreed if source]
        return Verdict(
            origin=self._manifest.origin,
            vkey=str(self._key),
            every_signature=not self._quick,
            size=self._frontier.size,
            segments=self._reader.entered,
            root=self._frontier.root(),
            sealed=self._sealed,
            checkpoint=self._own_notes.get(self._sealed, b""),
            unsealed_s=seconds_between(self._sealed_ts, self._last_ts),
            last_ts=self._last_ts,
            anchors=tuple(sorted(anchors, key=lambda anchor: anchor.size)),
            calls=self._calls.count(),
            payloads=self._payloads.count(),
            findings=tuple(self._findings),
        )

    def _expect(self, source: str, head: Checkpoint) -> None:
        self._expected.setdefault(head.size, []).append((source, head.root))

    def _expect_own_checkpoints(self) -> None:
        """Add the log's own checkpoints (source "") to what the records must agree with."""
        own = read_checkpoint(self._layout.checkpoint)
        if own is None:
            self._warn("no_checkpoint", "the log has no checkpoint")
        else:
            self._expect_note(own, "the checkpoint is not valid")
        end = size = 0
        for offset, raw in published_notes(self._layout):
            end = offset
            head = self._expect_note(raw, "a published checkpoint is not valid")
            if head is None:
                return
            if head.size < size:
                self._violate("checkpoint", "the published checkpoints go backwards")
                return
            size = head.size
        if _file_size(self._layout.checkpoints) != end:
            self._warn("torn_checkpoints", "the last published checkpoint is unfinished")

    def _expect_note(self, raw: bytes, problem: str) -> Checkpoint | None:
        try:
            head = open_checkpoint(raw, self._key)
        except NoteError as error:
            self._violate("checkpoint", f"{problem}: {error}")
            return None
        self._expect("", head)
        if head.size >= max(self._own_notes, default=0):
            self._own_notes = {head.size: raw}
        return head

    def _scan(self) -> bool:
        """Read record after record up to the first bad one; tell whether there was none."""
        self._compare_head()
        try:
            for line in self._reader.lines():
                try:
                    body, leaf = self._lines.accept(line)
                except FormatError as error:
                    self._name_bad_record(line, error)
                    return False
                self._frontier.push(leaf)
                self._place = (self._reader.segment, self._reader.offset)
                self._account(body, line)
                if self._frontier.size in self._expected and not self._compare_head():
                    return False
        except FormatError as error:
            if self._lines.last_is_signed():
                self._violate("tamper", error.reason, error.seq, error.segment, error.offset)
            else:
                self._name_previous_record()
            return False
        return True

    def _account(self, body: dict[str, JSON], line: bytes) -> None:
        seq = self._frontier.size - 1
        if seq == 0 and any(body.get(name) != value for name, value in self._manifest.members().items()):
            self._violate("manifest", "log.json and record 0 differ")
        ts = body.get("ts")
        if not isinstance(ts, str):
            ts = ""
        if ts < self._last_ts:
            self._clock_steps += 1
            self._first_step = self._first_step or seq
        self._last_ts = ts
        self._calls.add(seq, body)
        if b'"commit":' in line:  # spares the search through the members of all other records
            self._payloads.add(seq, self._reader.first, body)

    def _name_bad_record(self, line: bytes, error: FormatError) -> None:
        if not self._lines.last_is_signed():
            self._name_previous_record()
            return
        reader = self._reader
        kind = self._lines.classify(line, reader.size)
        detail = f"{_REASONS[kind]}: {error.reason}" if kind in _REASONS else error.reason
        self._violate(kind, detail, reader.size, reader.segment, reader.offset)

    def _name_previous_record(self) -> None:
        self._violate("tamper", "the signature is not valid", self._frontier.size - 1, *self._place)

    def _compare_head(self) -> bool:
        """Compare with the checkpoints of this size; tell whether reading on has any use."""
        size, root = self._frontier.size, self._frontier.root()
        for source, expected in self._expected.pop(size, ()):
            whose = source or "the log's own checkpoint"
            if root != expected:
                if not self._lines.last_is_signed():
                    self._name_previous_record()
                    return False
                detail = (
                    f"{whose} commits to another history of the first {size} records, "
                    f"which agreed up to size {self._last_agreed}"
                )
                self._violate("fork", detail, self._last_agreed)
                continue
            self._agreed.append((source, size))
            self._last_agreed = size
            if not source:
                self._sealed, self._sealed_ts = size, self._last_ts
        return True

    def _finish(self) -> None:
        """Judge the end of the log: the last signature, the torn tail, checkpoints beyond the end."""
        if not self._lines.last_is_signed():
            self._name_previous_record()
            return
        size = self._frontier.size
        for head_size in sorted(self._expected):
            for source, _ in self._expected[head_size]:
                whose = source or "its own checkpoint"
                detail = f"the log was cut: {whose} has {head_size} records, the log {size}"
                self._violate("truncated", detail, size, self._reader.segment, self._reader.end)
        self._payloads.close(size, self._reader.first)
        if (torn := self._reader.torn) is not None:
            detail = f"the last {torn.length} bytes are an unfinished record"
            self._findings.append(
                Finding("torn_tail", Severity.WARNING, detail, size, torn.segment, torn.offset)
            )
        if size == 0:
            self._warn("empty", "the log has no records")

    def _violate(
        self, kind: str, detail: str, seq: int | None = None, segment: str = "", offset: int | None = None
    ) -> None:
        self._findings.append(Finding(kind, Severity.VIOLATION, detail, seq, segment, offset))

    def _warn(self, kind: str, detail: str) -> None:
        self._findings.append(Finding(kind, Severity.WARNING, detail))


def _unnamed(key: TrustedKey, finding: Finding) -> Verdict:
    """Return the verdict on a log whose manifest does not even say which log it is."""
    nothing = CallCount(0, 0, 0, 0, (), 0, 0)
    return Verdict(
        origin=key.name or "",
        vkey="",
        every_signature=False,
        size=0,
        segments=0,
        root=EMPTY_ROOT,
        sealed=0,
        checkpoint=b"",
        unsealed_s=0.0,
        last_ts="",
        anchors=(),
        calls=nothing,
        payloads=PayloadCount(0, 0, 0),
        findings=(finding,),
    )


def _vault(layout: Layout, origin: str) -> Vault | None:
    try:
        return Vault.load(layout, origin)
    except PayloadError:
        return None


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

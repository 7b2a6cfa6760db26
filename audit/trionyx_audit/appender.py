"""The end of the log: one batch at a time becomes lines, reaches the disk, and only then becomes the tree.

Single-threaded and without a queue (`log` has both). After any error an appender is not to be used again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trionyx_audit.beside import Beside
from trionyx_audit.canonical import JSON, dump_profiled
from trionyx_audit.checkpoint import Checkpoint
from trionyx_audit.clock import Clock, timestamp
from trionyx_audit.errors import EncodingError
from trionyx_audit.keys import Signer
from trionyx_audit.note import VerifierKey
from trionyx_audit.payload import Vault
from trionyx_audit.record import CONTEXT, VERSION, Receipt, frame, leaf_hash
from trionyx_audit.recovery import Head
from trionyx_audit.storage import AppendFile, Layout, replace_file, sync_directory


@dataclass(frozen=True, slots=True)
class Entry:
    """A checked draft: members that keep the profile and are free of the log's own."""

    type: str
    members: dict[str, JSON]
    payloads: Mapping[str, bytes]


class Appender:
    """Writes batches and checkpoints at the end of one log.

    Args:
        layout: the log's directory, whose lock the caller holds.
        head: the end of the log as found on disk.
        segment_bytes: a segment that has reached this size is closed before the next batch.
    """

    def __init__(
        self,
        layout: Layout,
        head: Head,
        vault: Vault,
        *,
        signer: Signer,
        clock: Clock,
        entropy: Callable[[int], bytes],
        segment_bytes: int,
    ) -> None:
        self._layout = layout
        self._vault = vault
        self._signer = signer
        self._clock = clock
        self._entropy = entropy
        self._segment_bytes = segment_bytes
        self._origin = vault.origin
        self._key_id = VerifierKey(vault.origin, signer.public).id.hex()
        self._boot = entropy(8).hex()
        self._started = clock.monotonic_ns()
        self._frontier = head.frontier
        self._previous = head.previous
        self.sealed = head.sealed
        self._segment = AppendFile.reopen(layout.segment(head.first))
        self._payload = AppendFile.reopen(layout.payload(head.first))
        self._checkpoints = AppendFile.reopen(layout.checkpoints)
        # Lines and payloads reach the disk side by side; a batch waits for the slower one, not for both.
        self._beside = Beside("trionyx-audit-sync")

    @property
    def size(self) -> int:
        """Number of durable records."""
        return self._frontier.size

    def append(self, entries: Sequence[Entry]) -> list[Receipt | EncodingError]:
        """Make a batch durable; an entry that is too long is left out and answered with its error.

        Raises:
            StorageError: nothing of the batch is known to be durable; the appender is not to be used again.
        """
        if self._segment.size >= self._segment_bytes:
            self._rotate()
        for file in (self._segment, self._payload):
            file.check()
        answers: list[Receipt | EncodingError] = []
        lines: list[bytes] = []
        leaves: list[bytes] = []
        sealed_payloads: list[bytes] = []
        seq, previous = self._frontier.size, self._previous
        for entry in entries:
            try:
                line, blobs = self._encode(entry, seq, previous)
            except EncodingError as error:
                answers.append(error)
                continue
            leaf = leaf_hash(line)
            lines += (line, b"\n")
            leaves.append(leaf)
            sealed_payloads += blobs
            answers.append(Receipt(self._origin, seq, leaf))
            seq, previous = seq + 1, leaf.hex()
        if lines:
            self._write(b"".join(lines), b"".join(sealed_payloads))
            # INVARIANT: the tree and the chain advance only over bytes that are durable.
            for leaf in leaves:
                self._frontier.push(leaf)
            self._previous = previous
        return answers

    def publish(self) -> None:
        """Sign and publish a checkpoint over everything durable, unless the newest one says the same.

        Raises:
            StorageError: the checkpoint is not known to be durable; the appender is not to be used again.
        """
        if self.sealed == self._frontier.size:
            return
        checkpoint = Checkpoint(self._origin, self._frontier.size, self._frontier.root())
        note = checkpoint.signed(self._signer)
        self._checkpoints.check()
        self._checkpoints.write(b"%d\n%b" % (len(note), note))
        self._checkpoints.sync()
        replace_file(self._layout.checkpoint, note, 0o644)
        self.sealed = checkpoint.size

    def close(self) -> None:
        """Close the files; publishes nothing."""
        self._beside.close()
        for file in (self._segment, self._payload, self._checkpoints):
            file.close()

    def _encode(self, entry: Entry, seq: int, previous: str) -> tuple[bytes, list[bytes]]:
        members = dict(entry.members)
        blobs: list[bytes] = []
        for name, data in entry.payloads.items():
            commit, blob = self._vault.seal(seq, name, data, self._entropy)
            members[name] = {"commit": commit.hex(), "bytes": len(data)}
            blobs.append(blob)
        members |= {
            "v": VERSION,
            "log": self._origin,
            "seq": seq,
            "prev": previous,
            "kid": self._key_id,
            "ts": timestamp(self._clock.wall_ns()),
            "mono_ns": self._clock.monotonic_ns() - self._started,
            "boot": self._boot,
            "type": entry.type,
        }
        body = dump_profiled(members)
        return frame(body, self._signer.sign(CONTEXT + body)), blobs

    def _write(self, lines: bytes, payloads: bytes) -> None:
        if not payloads:
            self._segment.write(lines)
            self._segment.sync()
            return
        self._payload.write(payloads)
        self._segment.write(lines)
        self._beside.start(self._payload.sync)
        try:
            self._segment.sync()
        finally:
            self._beside.join()

    def _rotate(self) -> None:
        """Seal the full segment and its payloads and begin new ones, named by the next record."""
        self.publish()
        for file in (self._segment, self._payload):
            file.check()
            file.seal()
            file.close()
        first = self._frontier.size
        self._payload = AppendFile(self._layout.payload(first), 0, create=True)
        sync_directory(self._layout.payloads)
        self._segment = AppendFile(self._layout.segment(first), 0, create=True)
        sync_directory(self._layout.segments)

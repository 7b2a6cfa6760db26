"""Taking up a log where its last writer left it: what is on disk is checked, a torn tail is set aside.

Never rewrites a complete line, and refuses a log that does not verify: continuing it would sign the damage.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trionyx_audit.chain import Chain
from trionyx_audit.checkpoint import Checkpoint, open_checkpoint
from trionyx_audit.clock import timestamp
from trionyx_audit.errors import AuditError, FormatError, NoteError, PayloadError, StorageError
from trionyx_audit.keys import verifies
from trionyx_audit.merkle import Frontier
from trionyx_audit.note import VerifierKey
from trionyx_audit.payload import Vault, entries
from trionyx_audit.reading import (
    LineReader,
    Manifest,
    TornTail,
    located,
    published_notes,
    read_checkpoint,
    read_manifest,
)
from trionyx_audit.record import CONTEXT, body_of, signature_of
from trionyx_audit.storage import (
    AppendFile,
    Layout,
    cut_file,
    make_directory,
    replace_file,
    storage_error,
    sync_directory,
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found when a log was taken up whose last writer did not close it.

    Args:
        size: complete records found.
        unsealed: how many of them no checkpoint covers; each may or may not have been acknowledged.
        torn_bytes: bytes of an unfinished last line, set aside and cut off.
        torn_file: file in the log's directory that keeps them, or "".
    """

    size: int
    unsealed: int
    torn_bytes: int
    torn_file: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log on disk, ready to be continued.

    Args:
        manifest: what `log.json` says; record 0 repeats it under the log's signature.
        frontier: tree over all records.
        previous: hex leaf hash of the last record.
        first: first record of the segment to continue.
        sealed: size of the newest published checkpoint.
        recovery: what an unclean end left behind, or None.
    """

    manifest: Manifest
    frontier: Frontier
    previous: str
    first: int
    sealed: int
    recovery: Recovery | None


def create(layout: Layout, key: VerifierKey, wall_ns: int, entropy: Callable[[int], bytes]) -> None:
    """Lay out a new log; the manifest comes last, so that a half-made log is recognised and made again.

    Raises:
        StorageError: files of an older log are in the way, or something is not known to be durable.
    """
    for directory in (layout.segments, layout.payloads, layout.keyvault):
        make_directory(directory)
    if any(path.stat().st_size for path in layout.segments.iterdir()):
        raise StorageError(f"{layout.directory}: there are records but no log.json")
    Vault.create(layout, key.name, entropy)
    for path in (layout.segment(0), layout.payload(0), layout.checkpoints):
        if not path.exists():
            AppendFile(path, 0, create=True).close()
        sync_directory(path.parent)
    manifest = Manifest(key.name, str(key), timestamp(wall_ns))
    replace_file(layout.manifest, manifest.encode(), 0o644)


def take_up(layout: Layout, key: VerifierKey) -> Head:
    """Check an existing log and cut off what its last writer left unfinished.

    Every line's form and place is checked, the tree against the newest checkpoint, and the signatures of all
    records that no checkpoint covers.

    Raises:
        StorageError: the log belongs to another key or name, does not verify, or cannot be cut.
    """
    try:
        return _take_up(layout, key)
    except StorageError:
        raise
    except AuditError as error:
        raise StorageError(f"{layout.directory}: the log cannot be continued: {error}") from error
    except OSError as error:
        raise storage_error(layout.directory, error) from error


def _take_up(layout: Layout, key: VerifierKey) -> Head:
    manifest = read_manifest(layout)
    if manifest.origin != key.name:
        raise StorageError(f"{layout.directory}: the log has another origin")
    if manifest.vkey != str(key):
        raise StorageError(f"{layout.directory}: the log was begun with another key")
    sealed = _newest_checkpoint(layout, key)
    frontier, chain, reader = Frontier(), Chain(key.name), LineReader(layout)
    public = Ed25519PublicKey.from_public_bytes(key.public)
    for line in reader.lines():
        try:
            _, leaf = chain.accept(line)
        except FormatError as error:
            raise located(error, reader) from error
        frontier.push(leaf)
        if frontier.size > sealed.size:
            signature = signature_of(line)
            if signature is None or not verifies(public, signature, CONTEXT + body_of(line)):
                raise located(FormatError("the signature is not valid"), reader)
        elif frontier.size == sealed.size and frontier.root() != sealed.root:
            raise StorageError(f"{layout.directory}: the records are not the ones of the checkpoint")
    if frontier.size < sealed.size:
        raise StorageError(
            f"{layout.directory}: cut to {frontier.size} records, the checkpoint has {sealed.size}"
        )
    if not reader.segments:
        raise StorageError(f"{layout.directory}: there is no segment")
    first = reader.segments[-1]
    torn_file = _set_aside(layout, reader.torn) if reader.torn else ""
    _drop_payloads_ahead(layout, reader.segments)
    _cut_payloads(layout, first, frontier.size)
    recovery = None
    if reader.torn or (frontier.size > sealed.size and sealed.size):
        torn_bytes = reader.torn.length if reader.torn else 0
        recovery = Recovery(frontier.size, frontier.size - sealed.size, torn_bytes, torn_file)
    return Head(manifest, frontier, chain.previous, first, sealed.size, recovery)


def _newest_checkpoint(layout: Layout, key: VerifierKey) -> Checkpoint:
    """Return the larger of the current and the last published checkpoint; cut an unfinished publication."""
    newest = Checkpoint(key.name, 0, b"")
    end, last = 0, b""
    for offset, note in published_notes(layout):
        end, last = offset, note
    if layout.checkpoints.stat().st_size != end:
        cut_file(layout.checkpoints, end)
    for raw in (last, read_checkpoint(layout.checkpoint)):
        if raw:
            try:
                found = open_checkpoint(raw, key)
            except NoteError as error:
                raise StorageError(f"{layout.directory}: {error}") from error
            newest = max(newest, found, key=lambda checkpoint: checkpoint.size)
    return newest


def _set_aside(layout: Layout, torn: TornTail) -> str:
    """Copy a torn tail to its own file, then cut it off."""
    path = layout.segments / torn.segment
    with path.open("rb") as file:
        file.seek(torn.offset)
        tail = file.read()
    target = layout.directory / f"torn-{torn.offset}"
    count = 0
    while target.exists():
        count += 1
        target = layout.directory / f"torn-{torn.offset}.{count}"
    replace_file(target, tail, 0o600)
    cut_file(path, torn.offset)
    return target.name


def _drop_payloads_ahead(layout: Layout, segments: tuple[int, ...]) -> None:
    """Remove payload files of a segment that a crash kept from being begun: none of it was acknowledged."""
    ahead = [
        path for path in layout.payloads.iterdir() if path.stem.isdecimal() and int(path.stem) > segments[-1]
    ]
    for path in ahead:
        path.unlink()
    if ahead:
        sync_directory(layout.payloads)


def _cut_payloads(layout: Layout, first: int, size: int) -> None:
    """Cut the last payload file after its last whole entry whose record exists."""
    path: Path = layout.payload(first)
    if not path.exists():
        AppendFile(path, 0, create=True).close()
        sync_directory(path.parent)
    end = 0
    for entry in entries(path):
        if entry.seq >= size:
            break
        end = entry.offset + 4 + entry.length
    if os.stat(path).st_size != end:
        cut_file(path, end)


def load_vault(layout: Layout, origin: str) -> Vault:
    """Return the vault of a log that is taken up.

    Raises:
        StorageError: its key is gone, so that new payloads could not be stored.
    """
    try:
        return Vault.load(layout, origin)
    except PayloadError as error:
        raise StorageError(f"{layout.directory}: {error}") from error

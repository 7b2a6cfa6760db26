"""The writer: many producers, one thread that signs, writes and acknowledges after the disk has confirmed.

What is acknowledged is durable. The first error of any kind ends the writer for good: pending and later
records fail, and no checkpoint is made from a state that is not known to be on disk. A new `Log.open` starts
from the disk.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from trionyx_audit.appender import Appender, Entry
from trionyx_audit.canonical import JSON, decode_body
from trionyx_audit.clock import Clock, SystemClock
from trionyx_audit.errors import EncodingError, StorageError
from trionyx_audit.keys import Signer
from trionyx_audit.note import VerifierKey
from trionyx_audit.payload import MAX_PAYLOAD
from trionyx_audit.record import (
    COMMON,
    Draft,
    Receipt,
    check_payload_name,
    check_type,
    commitments,
)
from trionyx_audit.recovery import Head, Recovery, create, load_vault, take_up
from trionyx_audit.storage import DirectoryLock, Layout, make_directory

__all__ = ["Draft", "Log", "Receipt", "Recovery"]

MAX_BATCH = 512
MAX_BATCH_BYTES = 16 * 2**20
SEGMENT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Pending:
    entry: Entry
    weight: int
    future: Future[Receipt]


class Log:
    """An open log: the one writer of its directory. Use `Log.open`."""

    def __init__(
        self,
        appender: Appender,
        lock: DirectoryLock,
        clock: Clock,
        *,
        origin: str,
        recovered: Recovery | None,
        checkpoint_every: int,
        checkpoint_interval_s: float,
    ) -> None:
        self.origin = origin
        self.recovered = recovered
        self._appender = appender
        self._lock = lock
        self._clock = clock
        self._checkpoint_every = checkpoint_every
        self._checkpoint_interval_ns = int(checkpoint_interval_s * 1e9)
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
        # Guards `_refusal` and the right to put into the queue, so that nothing is left behind in it.
        self._gate = threading.Lock()
        self._refusal: str | None = None
        self._failure: str | None = None
        self._released = False
        self._thread = threading.Thread(target=self._run, name="trionyx-audit-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        signer: Signer,
        origin: str,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        checkpoint_every: int = 1000,
        checkpoint_interval_s: float = 1.0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Log:
        """Create a log, or take up an existing one after checking it; publishes a checkpoint.

        Args:
            directory: made if missing (its parents too); must be on a local file system.
            signer: the log's key; an existing log only opens with the key it was begun with.
            origin: the log's name, a schema-less URL.
            clock: wall and monotonic time; the machine's if None.
            entropy: source of random bytes for salts and keys.
            checkpoint_every: records between two checkpoints at most, about; ≥ 1.
            checkpoint_interval_s: seconds until a record is covered by a checkpoint at most, about.
            segment_bytes: size at which a segment is closed.

        Raises:
            LockedError: another writer has the log open.
            StorageError: the log cannot be made, does not verify, or is not known to be durable.
            KeyMaterialError: the origin cannot be a key name, or the public key is not to be trusted.
        """
        clock = clock or SystemClock()
        layout = Layout(directory)
        key = VerifierKey(origin, signer.public)
        make_directory(directory)
        lock = DirectoryLock(layout.lock)
        try:
            if not layout.manifest.exists():
                create(layout, key, clock.wall_ns(), entropy)
            head = take_up(layout, key)
            appender = Appender(
                layout,
                head,
                load_vault(layout, origin),
                signer=signer,
                clock=clock,
                entropy=entropy,
                segment_bytes=segment_bytes,
            )
            opening = _opening_entries(appender.size, head)
            if opening:
                appender.append(opening)
            appender.publish()
        except BaseException:
            lock.close()
            raise
        return cls(
            appender,
            lock,
            clock,
            origin=origin,
            recovered=head.recovery,
            checkpoint_every=checkpoint_every,
            checkpoint_interval_s=checkpoint_interval_s,
        )

    @property
    def size(self) -> int:
        """Number of durable records."""
        return self._appender.size

    @property
    def failure(self) -> str | None:
        """Why the writer ended for good, or None while it is sound."""
        return self._failure

    def submit(self, draft: Draft) -> Future[Receipt]:
        """Hand a record to the writer; never waits for the disk. Safe from any thread.

        Returns:
            A future that holds the receipt once the record is signed and durable, or fails with
            `EncodingError` (the draft can be no record; the log is unharmed) or `StorageError` (the record is
            not known to be durable).
        """
        future: Future[Receipt] = Future()
        try:
            pending = _Pending(_checked(draft), sum(map(len, draft.payloads.values())), future)
        except EncodingError as error:
            future.set_exception(error)
            return future
        with self._gate:
            if self._refusal is None:
                self._queue.put(pending)
                return future
        future.set_exception(StorageError(self._refusal))
        return future

    def close(self) -> None:
        """Write what is pending, publish a checkpoint, give the directory free; a second call does nothing.

        Raises:
            StorageError: the writer failed; whatever was acknowledged is durable all the same.
        """
        with self._gate:
            if self._refusal is None:
                self._refusal = "the log is closed"
                self._queue.put(None)
        self._thread.join()
        if self._released:
            return
        self._released = True
        try:
            self._appender.close()
        finally:
            self._lock.close()
        if self._failure is not None:
            raise StorageError(self._failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        batch: deque[_Pending] = deque()
        try:
            due: int | None = None
            open_ = True
            while open_:
                batch, open_ = self._take(due)
                if batch:
                    self._commit(batch)
                due = self._seal(due, closing=not open_)
        except BaseException as error:
            # Whatever it was, memory may now differ from the disk: nothing more is written from it.
            self._fail(batch, error)

    def _take(self, due: int | None) -> tuple[deque[_Pending], bool]:
        """Wait for the first record or the next checkpoint, then take what is there; never waits for more."""
        batch: deque[_Pending] = deque()
        weight = 0
        timeout = None if due is None else max(0, due - self._clock.monotonic_ns()) / 1e9
        try:
            item = self._queue.get(timeout=timeout)
            while item is not None:
                if item.future.set_running_or_notify_cancel():
                    batch.append(item)
                    weight += item.weight
                if len(batch) >= MAX_BATCH or weight >= MAX_BATCH_BYTES:
                    return batch, True
                item = self._queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: deque[_Pending]) -> None:
        answers = self._appender.append([pending.entry for pending in batch])
        for answer in answers:
            pending = batch.popleft()
            if isinstance(answer, Receipt):
                pending.future.set_result(answer)
            else:
                pending.future.set_exception(answer)

    def _seal(self, due: int | None, *, closing: bool) -> int | None:
        """Publish a checkpoint when one is due; return when the next one is."""
        unsealed = self._appender.size - self._appender.sealed
        if not unsealed:
            return None
        now = self._clock.monotonic_ns()
        if due is None:
            due = now + self._checkpoint_interval_ns
        if not closing and unsealed < self._checkpoint_every and now < due:
            return due
        self._appender.publish()
        return None

    def _fail(self, batch: deque[_Pending], error: BaseException) -> None:
        reason = str(error) if isinstance(error, StorageError) else f"internal error: {error}"
        message = f"the log has failed and takes no more records: {reason}"
        with self._gate:
            self._failure = self._refusal = message
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is not None and item.future.set_running_or_notify_cancel():
                batch.append(item)
        for pending in batch:
            pending.future.set_exception(StorageError(message))


def _opening_entries(size: int, head: Head) -> list[Entry]:
    """Return the records that the log itself writes when it is opened."""
    entries: list[Entry] = []
    recovery = head.recovery
    if size == 0:
        entries.append(Entry("log.open", head.manifest.members(), {}))
    if recovery is not None:
        members: dict[str, JSON] = {
            "found": recovery.size,
            "unsealed": recovery.unsealed,
            "torn_bytes": recovery.torn_bytes,
        }
        if recovery.torn_file:
            members["torn_file"] = recovery.torn_file
        entries.append(Entry("log.recover", members, {}))
    return entries


def _checked(draft: Draft) -> Entry:
    check_type(draft.type)
    if draft.type.startswith("log."):
        raise EncodingError("record types below log. belong to the log")
    members = decode_body(draft.body)
    if not COMMON.isdisjoint(members):
        raise EncodingError("the body holds a member that belongs to the log")
    if commitments(members):
        raise EncodingError("the body holds a member that looks like a payload commitment")
    for name, data in draft.payloads.items():
        check_payload_name(name)
        if name in members:
            raise EncodingError("a payload has the name of a member")
        if len(data) > MAX_PAYLOAD:
            raise EncodingError(f"a payload is longer than {MAX_PAYLOAD} bytes")
    return Entry(draft.type, members, dict(draft.payloads))

"""Files of a log: their names, and the few ways in which they are ever written.

What is said to be durable is durable, or `StorageError` is raised; nothing is tried again, because a failed
fsync may have dropped the very pages that a second one would then report as clean.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trionyx_audit.errors import LockedError, StorageError

SEGMENT_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of one log lie below its directory."""

    directory: Path

    @property
    def manifest(self) -> Path:
        """Name, creation time and key of the log; informative, never trusted."""
        return self.directory / "log.json"

    @property
    def lock(self) -> Path:
        """Held with flock by the one writer for as long as it lives."""
        return self.directory / "lock"

    @property
    def segments(self) -> Path:
        """Directory of the segment files."""
        return self.directory / "seg"

    @property
    def checkpoint(self) -> Path:
        """The latest signed checkpoint, replaced atomically."""
        return self.directory / "checkpoint"

    @property
    def checkpoints(self) -> Path:
        """Every published checkpoint, each after a line with its length in bytes."""
        return self.directory / "checkpoints.log"

    @property
    def payloads(self) -> Path:
        """Directory of the encrypted payloads, one file per segment."""
        return self.directory / "payload"

    @property
    def keyvault(self) -> Path:
        """Directory of the keys that wrap the payload keys."""
        return self.directory / "keyvault"

    def segment(self, first: int) -> Path:
        """Return the segment file that begins with record `first`."""
        return self.segments / f"{first:016d}{SEGMENT_SUFFIX}"

    def payload(self, first: int) -> Path:
        """Return the payload file beside the segment that begins with record `first`."""
        return self.payloads / f"{first:016d}.blob"


class AppendFile:
    """An append-only file that notices when somebody else touched it.

    Args:
        path: its place; must be on a local file system.
        size: bytes it holds according to whoever opened it.
    """

    __slots__ = ("_descriptor", "_identity", "path", "size")

    def __init__(self, path: Path, size: int, *, create: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
            status = os.fstat(self._descriptor)
        except OSError as error:
            raise storage_error(path, error) from error
        self.path = path
        self.size = size
        self._identity = (status.st_dev, status.st_ino)

    @classmethod
    def reopen(cls, path: Path) -> AppendFile:
        """Open an existing file at the size it has now; the caller has just checked its content."""
        try:
            # A writer that ended between sealing a segment and beginning the next one left it read-only.
            path.chmod(0o600)
            size = path.stat().st_size
        except OSError as error:
            raise storage_error(path, error) from error
        return cls(path, size, create=False)

    def check(self) -> None:
        """Refuse to go on when the file was unlinked, replaced, cut or written to by somebody else.

        Raises:
            StorageError: it was.
        """
        try:
            held = os.fstat(self._descriptor)
            named = os.stat(self.path, follow_symlinks=False)
        except OSError as error:
            raise storage_error(self.path, error) from error
        if held.st_nlink != 1 or (named.st_dev, named.st_ino) != self._identity:
            raise StorageError(f"{self.path.name}: the file was replaced or removed while the log was open")
        if held.st_size != self.size:
            raise StorageError(f"{self.path.name}: the file was changed by somebody else")

    def write(self, data: bytes) -> None:
        """Append without making durable; a short write is an error.

        Raises:
            StorageError: not all bytes were taken.
        """
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            raise storage_error(self.path, error) from error
        if written != len(data):
            raise StorageError(f"{self.path.name}: only {written} of {len(data)} bytes were written")
        self.size += written

    def sync(self) -> None:
        """Make everything written so far durable.

        Raises:
            StorageError: it is not known to be.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def seal(self) -> None:
        """Take away the right to write: the segment is complete.

        Raises:
            StorageError: the mode could not be changed.
        """
        try:
            os.fchmod(self._descriptor, 0o440)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        """Close without syncing; what was not synced was never acknowledged. Closing again does nothing."""
        # INVARIANT: a descriptor is closed once; its number may belong to somebody else's file by then.
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never waits, as opening a pipe that somebody left there would.

    Raises:
        OSError: there is none, it cannot be read, or it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")


class DirectoryLock:
    """The right to write a log, held until `close` or the end of the process.

    Raises:
        LockedError: another writer holds it.
        StorageError: the lock file cannot be opened.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            # flock, not fcntl record locks: those are per process and let a second thread in.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise LockedError(f"{path.parent}: another writer has the log open") from error
            raise storage_error(path, error) from error
        self._descriptor = descriptor

    def close(self) -> None:
        """Give the right back."""
        os.close(self._descriptor)


def make_directory(path: Path) -> None:
    """Create a directory with mode 0700 if it is missing, and its parents, durably.

    Raises:
        StorageError: it cannot be created.
    """
    missing = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    # A directory that is there already may be one whose name an earlier writer had no time to make durable.
    for made in missing or [path]:
        sync_directory(made.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        StorageError: they are not known to be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(path, error) from error


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Give a file new content, durably, so that a reader sees the old bytes or the new ones, whole.

    Raises:
        StorageError: the new content is not known to be durable.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if os.write(descriptor, data) != len(data):
                raise StorageError(f"{path.name}: only a part was written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError as error:
        raise storage_error(path, error) from error
    sync_directory(path.parent)


def cut_file(path: Path, size: int) -> None:
    """Cut a file to its first `size` bytes, durably.

    Raises:
        StorageError: it is not known to be cut.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, error: OSError) -> StorageError:
    """Return the error to raise for a failed system call on `path`."""
    return StorageError(f"{path}: {(error.strerror or 'input/output error').lower()}")

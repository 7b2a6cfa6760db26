"""Reading a log directory: segments, lines, the manifest and the published checkpoints.

Needs neither lock nor key, holds one line at a time, and bounds everything it reads: the log may be hostile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trionyx_audit.canonical import JSON, decode_body, encode_body
from trionyx_audit.chain import Chain
from trionyx_audit.errors import EncodingError, FormatError, UnreadableError, UnsupportedError
from trionyx_audit.note import MAX_NOTE_BYTES
from trionyx_audit.record import FORMAT, MAX_LINE, Record
from trionyx_audit.storage import SEGMENT_SUFFIX, Layout, open_regular

MAX_MANIFEST_BYTES = 65_536


MAX_ZEROS = 64 << 20
"""Longest tail of zeros that a crash may have left, bytes."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `log.json` claims; unsigned, so only ever a hint, but record 0 repeats it under the signature.

    Args:
        origin: the log's name.
        vkey: verifier key of the log's signer.
        created: RFC 3339 UTC.
    """

    origin: str
    vkey: str
    created: str

    def members(self) -> dict[str, JSON]:
        """Return what record 0 repeats; the origin is in every record anyway."""
        return {"format": FORMAT, "vkey": self.vkey, "created": self.created}

    def encode(self) -> bytes:
        """Return the content of `log.json`."""
        return encode_body(self.members() | {"origin": self.origin}) + b"\n"


@dataclass(frozen=True, slots=True)
class TornTail:
    """Bytes after the last newline of the log: a write that never finished.

    Args:
        segment: file name of the last segment.
        offset: byte offset where they begin.
        length: their number.
    """

    segment: str
    offset: int
    length: int


class LineReader:
    """A cursor over the lines of all segments, in order; `lines` may be called again to read what was added.

    Does not parse lines. After `lines` has ended, `torn` tells what was left at the end.
    """

    __slots__ = (
        "_begun",
        "_layout",
        "end",
        "entered",
        "first",
        "offset",
        "segment",
        "size",
        "torn",
    )

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._begun = False
        self.first = 0
        self.segment = ""
        self.offset = self.end = 0
        self.entered = 0
        self.size = 0
        self.torn: TornTail | None = None

    @property
    def segments(self) -> tuple[int, ...]:
        """First sequence numbers of the segment files that exist now, ascending.

        Raises:
            FormatError: a file that is no segment lies among them.
            UnreadableError: the directory cannot be listed.
        """
        try:
            names = sorted(os.listdir(self._layout.segments))
        except OSError as error:
            raise unreadable(self._layout.segments, error) from error
        firsts: list[int] = []
        for name in names:
            stem = name.removesuffix(SEGMENT_SUFFIX)
            if len(stem) != 16 or not (stem.isascii() and stem.isdecimal()) or stem == name:
                raise FormatError("a file among the segments is not one of them", seq=self.size, offset=0)
            firsts.append(int(stem))
        return tuple(firsts)

    def lines(self) -> Iterator[bytes]:
        """Yield the complete lines not yet read, without their newlines.

        While a line is out, `segment` and `offset` say where it lies, `first` where its segment begins, and
        `size` is its sequence number.

        Raises:
            FormatError: a segment is missing or misnamed, or a line is too long or cut off mid-log.
            UnreadableError: a file cannot be read.
        """
        firsts = self.segments
        if self._begun and self.first not in firsts:
            raise FormatError(
                "the segment being read was removed", seq=self.size, offset=0, segment=self.segment
            )
        for place, first in enumerate(firsts):
            if first < self.first:
                continue
            if not self._begun or first != self.first:
                self._enter(first)
            yield from self._segment_lines(last=place == len(firsts) - 1)

    def _enter(self, first: int) -> None:
        self.segment = self._layout.segment(first).name
        if first != self.size:
            raise FormatError(
                f"a segment is missing: the next one begins with record {first}",
                seq=self.size,
                offset=0,
                segment=self.segment,
            )
        self._begun = True
        self.first = first
        self.entered += 1
        self.offset = self.end = 0

    def _segment_lines(self, *, last: bool) -> Iterator[bytes]:
        path = self._layout.segments / self.segment
        self.torn = None
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size < self.end:
                    raise FormatError(
                        "the segment was cut while it was read",
                        seq=self.size,
                        segment=self.segment,
                        offset=self.end,
                    )
                file.seek(self.end)
                while line := file.readline(MAX_LINE + 1):
                    self.offset = self.end
                    if line[-1] != 0x0A:
                        self._unfinished(file, len(line), last=last)
                        return
                    self.end += len(line)
                    yield line[:-1]
                    self.size += 1
        except OSError as error:
            raise unreadable(path, error) from error

    def _unfinished(self, file: BinaryIO, length: int, *, last: bool) -> None:
        remaining = os.fstat(file.fileno()).st_size - self.offset
        if length > MAX_LINE and not self._only_zeros_follow(file):
            reason = f"a line is longer than {MAX_LINE} bytes"
        elif not last:
            reason = "the segment ends in the middle of a line"
        else:
            self.torn = TornTail(self.segment, self.offset, max(remaining, length))
            return
        raise FormatError(reason, seq=self.size, offset=self.offset, segment=self.segment)

    def _only_zeros_follow(self, file: BinaryIO) -> bool:
        """Tell whether the rest of the file is what a crash leaves of a grown but unwritten file.

        A file that is grown beyond any batch is no such rest, and would take for ever to read.
        """
        if os.fstat(file.fileno()).st_size - self.offset > MAX_ZEROS:
            return False
        while block := file.read(1 << 20):
            if block.count(0) != len(block):
                return False
        return True


def records(directory: Path, *, start: int = 0) -> Iterator[Record]:
    """Yield the complete records of a log in order; checks framing, form and chain, but no signature.

    An unfinished last line is not a record and is passed over. Records before `start` are checked too.

    Args:
        directory: the log's directory.
        start: first sequence number to yield.

    Raises:
        FormatError: with the place of the first record that cannot stand there.
        UnreadableError: a file cannot be read.
        UnsupportedError: the log is of another format version.
    """
    layout = Layout(directory)
    chain = Chain(read_manifest(layout).origin)
    reader = LineReader(layout)
    for line in reader.lines():
        try:
            body, _ = chain.accept(line)
        except FormatError as error:
            raise located(error, reader) from error
        if reader.size >= start:
            yield Record(reader.size, str(body["type"]), body, line)


def read_manifest(layout: Layout) -> Manifest:
    """Return what `log.json` claims.

    Raises:
        FormatError: malformed.
        UnreadableError: missing or not readable.
        UnsupportedError: of another format version.
    """
    try:
        with open_regular(layout.manifest) as file:
            text = file.read(MAX_MANIFEST_BYTES)
    except OSError as error:
        raise unreadable(layout.manifest, error) from error
    try:
        members = decode_body(text.removesuffix(b"\n"))
    except EncodingError as error:
        raise FormatError(f"log.json is {error}") from error
    if members.get("format") != FORMAT:
        raise UnsupportedError("log.json names another format version")
    origin, vkey, created = members.get("origin"), members.get("vkey"), members.get("created")
    if not isinstance(origin, str) or not isinstance(vkey, str) or not isinstance(created, str):
        raise FormatError("log.json lacks origin, vkey or created")
    manifest = Manifest(origin, vkey, created)
    if manifest.encode() != text:
        raise FormatError("log.json holds more than it should")
    return manifest


def published_notes(layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Yield every published note with the byte offset after it; ends at the first that is not whole.

    A missing file holds no notes. Whether all bytes were notes shows in the last offset and the file's size.

    Raises:
        UnreadableError: the file exists and cannot be read.
    """
    try:
        with open_regular(layout.checkpoints) as file:
            end = 0
            while True:
                head = file.readline(16)
                digits = head[:-1]
                if head[-1:] != b"\n" or not digits.isdigit() or int(digits) > MAX_NOTE_BYTES:
                    return
                if b"%d" % int(digits) != digits:
                    return  # one note has one spelling
                note = file.read(int(digits))
                if len(note) != int(digits):
                    return
                end += len(head) + len(note)
                yield end, note
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(layout.checkpoints, error) from error


def read_checkpoint(path: Path) -> bytes | None:
    """Return the bytes of a checkpoint file, or None if there is none.

    Raises:
        UnreadableError: it exists and cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read(MAX_NOTE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def located(error: FormatError, reader: LineReader) -> FormatError:
    """Return the error with the place of the line that the reader gave out last."""
    return FormatError(error.reason, seq=reader.size, offset=reader.offset, segment=reader.segment)


def unreadable(path: Path, error: OSError) -> UnreadableError:
    """Return the error to raise for a file that the operating system does not let us read."""
    return UnreadableError(f"{path}: {(error.strerror or 'input/output error').lower()}")

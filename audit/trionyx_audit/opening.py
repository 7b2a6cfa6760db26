"""Payloads of records, found and decrypted with the log's own keyvault."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from trionyx_audit.errors import PayloadError
from trionyx_audit.payload import Entry, Vault, entries, read_entry
from trionyx_audit.reading import LineReader, read_manifest, unreadable
from trionyx_audit.record import Record, commitments
from trionyx_audit.storage import Layout


class PayloadOpener:
    """Opens the payloads of records, segment by segment: fastest in the order of the log.

    Args:
        directory: the log's directory.

    Raises:
        PayloadError: the keyvault's key is erased, malformed or not readable.
        FormatError, UnreadableError, UnsupportedError: the log's directory cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._layout = Layout(directory)
        self._vault = Vault.load(self._layout, read_manifest(self._layout).origin)
        self._firsts = LineReader(self._layout).segments
        self._first = -1
        self._entries: dict[tuple[int, str], Entry] = {}

    def open(self, record: Record) -> dict[str, bytes | None]:
        """Return each payload a record commits to; None where it is missing or not the one committed to.

        Raises:
            UnreadableError: a payload file cannot be read.
        """
        return {
            name: self._one(record.seq, name, commit)
            for name, (commit, _) in commitments(record.body).items()
        }

    def _one(self, seq: int, name: str, commit: str) -> bytes | None:
        first = self._firsts[bisect_right(self._firsts, seq) - 1]
        path = self._layout.payload(first)
        try:
            if first != self._first:
                self._first = first
                self._entries = {(entry.seq, entry.name): entry for entry in entries(path)}
            entry = self._entries.get((seq, name))
            if entry is None:
                return None
            return self._vault.open(seq, name, bytes.fromhex(commit), read_entry(path, entry))
        except (PayloadError, ValueError):
            return None
        except OSError as error:
            raise unreadable(path, error) from error

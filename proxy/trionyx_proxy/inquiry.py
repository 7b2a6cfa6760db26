"""Reading a run's log for `explain` and `graph`: verified first, then told from exactly the records that verified.

Writes nothing into a log. What it cannot verify it refuses, or says so (`Basis`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.errors import FormatError
from trionyx_audit.merkle import Frontier
from trionyx_audit.opening import PayloadOpener
from trionyx_audit.reading import read_manifest, records
from trionyx_audit.record import leaf_hash
from trionyx_audit.storage import Layout
from trionyx_audit.verdict import Severity, Verdict
from trionyx_audit.verify import verify
from trionyx_policies.bundle import load_bundle
from trionyx_policies.errors import PolicyError
from trionyx_proxy.core.request import Reason
from trionyx_proxy.errors import ConfigError, EvidenceError, Problem
from trionyx_proxy.story.chronicle import Call, Chronicle, Entry
from trionyx_proxy.story.explanation import Basis, Explanation, Titles, Trust, explain
from trionyx_proxy.story.plaintext import name
from trionyx_proxy.story.reading import read

_CHANGED = "the log changed while it was read; try again"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A log that was read.

    Args:
        directory: the log's.
        leaves: leaf hash of each record that was read.
    """

    directory: Path
    basis: Basis
    chronicle: Chronicle
    leaves: tuple[bytes, ...]

    def call(self, wanted: str) -> Call:
        """Return the call of that id or number.

        Raises:
            ConfigError: there is none.
        """
        found = self.chronicle.find(wanted)
        if found is None:
            count = len(self.chronicle.calls)
            raise ConfigError(
                (Problem("", f"no call {name(wanted)} in this log; it has {count}, numbered from 1"),)
            )
        return found

    def explain(self, call: Call, titles: Titles, *, with_values: bool) -> Explanation:
        """Explain a call, with the values of its arguments if they are asked for and can be opened.

        Raises:
            PayloadError: the keyvault's key is erased or not readable.
            EvidenceError: the log is no longer the one that was read.
        """
        values = self._arguments(call) if with_values and call.deciding_seq >= 0 else None
        return explain(self.chronicle, call, self.basis, titles, values)

    def _arguments(self, call: Call) -> object:
        record = next(records(self.directory, start=call.deciding_seq))
        if leaf_hash(record.line) != self.leaves[call.deciding_seq]:
            raise EvidenceError(_CHANGED)
        opened = PayloadOpener(self.directory).open(record).get("args")
        if opened is None:
            raise EvidenceError("the arguments are missing, or not the ones that the record commits to")
        return orjson.loads(opened)


def inquire(directory: Path, key: TrustedKey | None, *, unverified: bool) -> Inquiry:
    """Verify and read a run's log.

    Args:
        directory: the log's.
        key: trusted for it; None checks only form and chain.
        unverified: whether to read a log all the same that does not verify, up to its damage.

    Raises:
        EvidenceError: the log does not verify.
        KeyMaterialError: the key is for other logs.
        UnreadableError, UnsupportedError: it cannot be read.
    """
    verdict = None if key is None else verify(directory, key)
    notes: list[str] = []
    if verdict is not None and verdict.violation is not None:
        if not unverified:
            place = "" if verdict.violation.seq is None else f" (record {verdict.violation.seq})"
            raise EvidenceError(f"the log does not verify: {verdict.violation.detail}{place}")
        notes.append(verdict.violation.detail)
    reading = _Reading(directory, verdict)
    chronicle = read(reading.entries())
    if reading.damage is not None:
        if not unverified:
            raise EvidenceError(f"the log does not verify: {reading.damage}")
        notes.append(reading.damage.reason)
    is_damaged = bool(notes)
    if verdict is not None:
        if not is_damaged and reading.frontier.root() != verdict.root:
            raise EvidenceError(_CHANGED)
        notes += [found.detail for found in verdict.findings if found.severity is Severity.WARNING]
    trust = Trust.DAMAGED if is_damaged else Trust.VERIFIED if verdict else Trust.UNCHECKED
    basis = Basis(reading.origin, trust, tuple(notes), len(reading.leaves))
    return Inquiry(directory, basis, chronicle, tuple(reading.leaves))


class _Reading:
    """Reads records up to the size that was verified, and remembers their hashes; ends at the first damage."""

    def __init__(self, directory: Path, verdict: Verdict | None) -> None:
        self._directory = directory
        self._size = None if verdict is None else verdict.size
        self.origin = "" if verdict is None else verdict.origin
        self.frontier = Frontier()
        self.leaves: list[bytes] = []
        self.damage: FormatError | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield the records."""
        try:
            self.origin = self.origin or read_manifest(Layout(self._directory)).origin
            for record in records(self._directory):
                if self._size is not None and record.seq >= self._size:
                    return
                leaf = leaf_hash(record.line)
                self.leaves.append(leaf)
                self.frontier.push(leaf)
                yield Entry(record.seq, record.type, record.body)
        except FormatError as error:
            self.damage = error


def titles_of(bundle: Path | None, *, must: bool) -> dict[str, dict[str, Reason]]:
    """Return what a bundle, and the shipped one, say of their rules, by digest of the bundle.

    Args:
        bundle: a directory; None for the shipped bundle alone.
        must: whether `bundle` was asked for by name: then it has to be usable.

    Raises:
        PolicyError: `bundle` cannot be used, and must be.
    """
    found: dict[str, dict[str, Reason]] = {}
    for source in dict.fromkeys((bundle, None)):
        try:
            loaded = load_bundle(source)
        except PolicyError:
            if must and source is not None:
                raise
            continue
        found[loaded.digest] = {
            id_: Reason(id_, rule.title, rule.remedy) for id_, rule in loaded.rules.items()
        }
    return found


def json_text(value: object) -> str:
    """Return one line of pure ASCII JSON with sorted members; control characters stand escaped in it."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f") + "\n"

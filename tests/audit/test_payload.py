"""Payloads: opened only by the right key, for the right record, and only if they are what was committed to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.errors import PayloadError
from trionyx_audit.payload import Entry, Vault, commitment, entries, read_entry

VAULT = Vault("log.example", bytes(32))


@settings(max_examples=30)
@given(st.integers(0, 2**53), st.binary(max_size=100))
def test_a_payload_round_trips(seq: int, data: bytes) -> None:
    commit, entry = VAULT.seal(seq, "args", data, os.urandom)
    assert VAULT.open(seq, "args", commit, entry[4:]) == data
    assert data == b"" or len(data) < 8 or data not in entry


@pytest.mark.guarantee("G28")
def test_equal_payloads_have_unequal_commitments() -> None:
    first, _ = VAULT.seal(1, "args", b"yes", os.urandom)
    second, _ = VAULT.seal(1, "args", b"yes", os.urandom)
    assert first != second


def test_a_payload_opens_nowhere_else() -> None:
    commit, entry = VAULT.seal(7, "args", b"data", os.urandom)
    for vault, seq, name, other in (
        (Vault("log.example", bytes([1]) * 32), 7, "args", commit),
        (Vault("other.example", bytes(32)), 7, "args", commit),
        (VAULT, 8, "args", commit),
        (VAULT, 7, "result", commit),
        (VAULT, 7, "args", bytes(32)),
    ):
        with pytest.raises(PayloadError):
            vault.open(seq, name, other, entry[4:])
    for place in range(4, len(entry)):
        changed = entry[4:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]
        with pytest.raises(PayloadError):
            VAULT.open(7, "args", commit, changed)
    for end in range(4, len(entry) - 1, 7):
        with pytest.raises(PayloadError):
            VAULT.open(7, "args", commit, entry[4:end])


def test_a_holder_of_the_key_cannot_swap_the_content() -> None:
    """The ciphertext is right in every way, but the commitment is to something else."""
    salt = bytes(32)
    commit = commitment(salt, b"other")

    def entropy(count: int) -> bytes:
        return bytes(count)

    class Lying(Vault):
        def _bound(self, seq: int, _: bytes) -> bytes:
            return super()._bound(seq, commit)

    _, entry = Lying("log.example", bytes(32)).seal(7, "args", b"data", entropy)
    with pytest.raises(PayloadError, match="not the one committed to"):
        VAULT.open(7, "args", commit, entry[4:])


def test_a_file_of_entries_ends_at_the_first_that_is_not_whole(place: Path) -> None:
    path = place / "blob"
    assert list(entries(path)) == []
    sealed = [VAULT.seal(seq, "args", b"x" * seq, os.urandom)[1] for seq in (1, 2)]
    for tail in (b"", b"\x00", bytes(400), sealed[0][:-1], (100).to_bytes(4, "big") + bytes([255]) * 96):
        path.write_bytes(b"".join(sealed) + tail)
        found = list(entries(path))
        assert [(entry.seq, entry.name) for entry in found] == [(1, "args"), (2, "args")]
        assert read_entry(path, found[1]) == sealed[1][4:]
    path.write_bytes((90).to_bytes(4, "big") + bytes(8) + bytes([2]) + b"\xff\xff" + bytes(79))
    assert list(entries(path)) == []
    with pytest.raises(PayloadError, match="cut"):
        read_entry(path, Entry(1, "args", 0, 1000))

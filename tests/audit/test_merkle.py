"""The tree against the recursive definition of RFC 6962, and against Go's implementation."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_audit.errors import ProofError
from trionyx_audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
)

LEAVES = [sha256(b"\x00" + bytes([number])).digest() for number in range(64)]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 64])
def test_roots_and_proofs_are_those_of_the_definition(size: int) -> None:
    leaves = LEAVES[:size]
    root = Frontier(leaves).root()
    assert root == mth(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert list(proof) == path(index, leaves)
        check_inclusion(root, size, index, leaves[index], proof)
        grown = consistency_proof(leaves, index + 1)
        assert list(grown) == subproof(index + 1, leaves, True)
        check_consistency(index + 1, mth(leaves[: index + 1]), size, root, grown)


@pytest.mark.guarantee("G18")
def test_go_makes_the_same_proofs(auditcheck: Callable[..., str]) -> None:
    for size, expected in enumerate(json.loads(auditcheck("proofs", "40")), start=1):
        leaves = LEAVES[:size]
        assert b64encode(Frontier(leaves).root()).decode() == expected["root"]
        for index in range(size):
            ours = [b64encode(node).decode() for node in inclusion_proof(leaves, index)]
            assert ours == expected["inclusion"][index]
            ours = [b64encode(node).decode() for node in consistency_proof(leaves, index + 1)]
            assert ours == expected["consistency"][index]


@given(st.integers(1, 64), st.data())
def test_no_other_leaf_place_size_or_root_has_this_proof(size: int, data: st.DataObject) -> None:
    leaves = LEAVES[:size]
    root = Frontier(leaves).root()
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(leaves, index)
    wrong = bytes(32)
    attempts: list[tuple[bytes, int, int, bytes, tuple[bytes, ...]]] = [
        (wrong, size, index, leaves[index], proof),
        (root, size, index, wrong, proof),
        (root, size, index, leaves[index], (*proof, wrong)),
        (root, size, -1, leaves[index], proof),
        (root, size, size, leaves[index], proof),
    ]
    if proof:
        attempts.append((root, size, index, leaves[index], proof[:-1]))
        attempts.append((root, size, index, leaves[index], (wrong, *proof[1:])))
        attempts.append((root, size, index ^ 1, leaves[index], proof))
    for attempt in attempts:
        with pytest.raises(ProofError):
            check_inclusion(*attempt)


@given(st.integers(1, 64), st.data())
def test_no_other_history_is_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    old_root, root = mth(LEAVES[:old]), mth(LEAVES[:size])
    proof = consistency_proof(LEAVES[:size], old)
    wrong = bytes(32)
    attempts: list[tuple[int, bytes, int, bytes, tuple[bytes, ...]]] = [
        (old, wrong, size, root, proof),
        (old, old_root, size, wrong, proof),
        (old, old_root, size, root, (*proof, wrong)),
        (size + 1, old_root, size, root, proof),
        (-1, old_root, size, root, proof),
    ]
    if proof:
        attempts += [(old, old_root, size, root, proof[:-1]), (old, old_root, size, root, ())]
        attempts.append((old, old_root, size, root, (*proof[:-1], wrong)))
    for attempt in attempts:
        with pytest.raises(ProofError):
            check_consistency(*attempt)


def test_the_empty_tree_is_a_prefix_of_every_tree() -> None:
    check_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    check_consistency(0, EMPTY_ROOT, 5, mth(LEAVES[:5]), ())
    with pytest.raises(ProofError, match="old root"):
        check_consistency(0, bytes(32), 5, mth(LEAVES[:5]), ())
    with pytest.raises(ProofError, match="too long"):
        check_consistency(0, EMPTY_ROOT, 5, mth(LEAVES[:5]), (bytes(32),))


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(ProofError, match="no leaf"):
        inclusion_proof(LEAVES[:3], index)


@pytest.mark.parametrize("size", [0, 4])
def test_there_is_no_proof_from_a_size_that_never_was(size: int) -> None:
    with pytest.raises(ProofError, match="no consistency proof"):
        consistency_proof(LEAVES[:3], size)


def test_a_proof_that_ends_early_is_too_short() -> None:
    with pytest.raises(ProofError, match="too short"):
        check_consistency(3, bytes(32), 5, bytes(32), ())

"""The Merkle tree of RFC 6962: heads in constant space per level, inclusion and consistency proofs.

Leaves enter as leaf hashes (`record.leaf_hash`). Nothing here knows records, files or signatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from trionyx_audit.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962 section 2.1)."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to append leaves and to give the root at every size.

    Does not hold the leaves; proofs need those (`inclusion_proof`, `consistency_proof`).
    """

    __slots__ = ("_subtrees", "size")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        # INVARIANT: one root per set bit of `size`, largest complete subtree first.
        self._subtrees: list[bytes] = []
        for leaf in leaves:
            self.push(leaf)

    def push(self, leaf: bytes) -> None:
        """Append one 32-byte leaf hash."""
        remaining = self.size
        subtrees = self._subtrees
        while remaining & 1:
            leaf = sha256(b"\x01" + subtrees.pop() + leaf).digest()
            remaining >>= 1
        subtrees.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the 32-byte root over all leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        root = self._subtrees[-1]
        for subtree in reversed(self._subtrees[:-1]):
            root = node_hash(subtree, root)
        return root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index` in the tree of all `leaves`, sibling first, root's child last.

    Args:
        leaves: the tree's leaf hashes.
        index: 0 ≤ index < len(leaves).

    Raises:
        ProofError: there is no such leaf.

    Source: RFC 6962 section 2.1.1.
    """
    if not 0 <= index < len(leaves):
        raise ProofError(f"there is no leaf {index} in a tree of size {len(leaves)}")
    low, high = 0, len(leaves)
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_root(leaves, middle, high))
            high = middle
        else:
            path.append(_range_root(leaves, low, middle))
            low = middle
    return tuple(reversed(path))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first `old_size` leaves is a prefix of the tree of all `leaves`.

    Args:
        leaves: the larger tree's leaf hashes.
        old_size: 1 ≤ old_size ≤ len(leaves); the empty tree is a prefix of everything and has no proof.

    Raises:
        ProofError: there is no such proof.

    Source: RFC 6962 section 2.1.2.
    """
    if not 1 <= old_size <= len(leaves):
        raise ProofError(f"no consistency proof from size {old_size} to size {len(leaves)}")
    low, high = 0, len(leaves)
    path: list[bytes] = []
    while old_size != high:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(_range_root(leaves, middle, high))
            high = middle
        else:
            path.append(_range_root(leaves, low, middle))
            low = middle
    # A complete old tree is known to the checker already; otherwise its last subtree leads the proof.
    if low > 0:
        path.append(_range_root(leaves, low, high))
    return tuple(reversed(path))


def check_inclusion(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> None:
    """Check that `leaf` is leaf `index` of the tree with this size and root.

    Raises:
        ProofError: it is not shown to be.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of size {size}")
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofError("the inclusion proof is too short")
    if node != root:
        raise ProofError("the inclusion proof does not lead to the root")


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the old tree is a prefix of the new one.

    Raises:
        ProofError: it is not shown to be.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"size {new_size} cannot follow size {old_size}")
    if old_size in (0, new_size):
        if path:
            raise ProofError("the consistency proof is too long")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise ProofError("the old root is not the root of that size")
        return
    steps = list(path)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        raise ProofError("the consistency proof is too short")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if place & 1 or place == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise ProofError("the consistency proof is too short")
    if old_node != old_root:
        raise ProofError("the consistency proof does not lead to the old root")
    if new_node != new_root:
        raise ProofError("the consistency proof does not lead to the new root")


def _split(size: int) -> int:
    """Return the largest power of two below `size` (≥ 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(leaves: Sequence[bytes], low: int, high: int) -> bytes:
    return Frontier(leaves[place] for place in range(low, high)).root()

"""Proofs over the hash tree: an entry is in it, a later tree holds an earlier one. RFC 6962, 2.1.1, 2.1.2. Pure."""

from collections.abc import Sequence
from hashlib import sha256

from gateway.audit.merkle import HASH_BYTES

MOST_HASHES = 63
"""The longest consistency proof there can be (tlog-witness, "add-checkpoint"); inclusion proofs are shorter."""

Range = tuple[int, int]
"""Entries from the first number up to the second, exclusive: a subtree whose hash stands in a proof."""


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the subtrees whose hashes prove entry *index* of a tree of *size*, from the leaf to the root.

    Raises:
        ValueError: there is no such entry.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the subtrees whose hashes prove that a tree of *new* entries began as the tree of *old* entries.

    Empty when *old* is 0 or equals *new*: nothing is to be proven then.

    Raises:
        ValueError: *old* is greater than *new*, or negative.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} entries cannot have grown out of one of {old}")
    if old in {0, new}:
        return []
    found: list[Range] = []
    start, end, is_whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    # The old tree itself, when it is one subtree of the new one, is what the verifier holds already.
    if not is_whole:
        found.append((start, end))
    return found[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether *proof* shows that *leaf* is the hash of entry *index* of the tree of *size* and *root*."""
    if not 0 <= index < size or any(len(item) != HASH_BYTES for item in (leaf, root, *proof)):
        return False
    found, place, last = leaf, index, size - 1
    for other in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = _node(other, found)
            # On the right edge a subtree stands alone for some levels.
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = _node(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether *proof* shows that the first *old* entries of the tree of *new* are those of *old_root*.

    The empty tree is consistent with every tree, by the empty proof.
    """
    if not 0 <= old <= new or any(len(item) != HASH_BYTES for item in (old_root, new_root, *proof)):
        return False
    if old == 0:
        return not proof
    if old == new:
        return not proof and old_root == new_root
    rest = list(proof)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if place == 0:
        before = after = old_root
    elif rest:
        before = after = rest.pop(0)
    else:
        return False
    for other in rest:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = _node(other, before), _node(other, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = _node(after, other)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(count: int) -> int:
    """Return the largest power of two below *count*, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()

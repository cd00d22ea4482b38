"""The hash tree over a log's entries: RFC 6962, section 2.1. Pure."""

from collections.abc import Iterable
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry: SHA-256(0x00 || entry)."""
    return sha256(b"\0" + entry).digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to add entries and to know the root.

    At most 64 hashes whatever the size of the log. *size* counts the entries added.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._hashes: list[bytes] = []

    @classmethod
    def restore(cls, size: int, hashes: Iterable[bytes]) -> "Frontier":
        """Make the frontier that *size* and *hashes* (largest subtree first) described when it was saved.

        Raises:
            ValueError: the hashes cannot be those of a tree of this size.
        """
        kept = list(hashes)
        if size < 0 or len(kept) != size.bit_count():
            raise ValueError(f"a tree of {size} entries has no frontier of {len(kept)} hashes")
        if any(len(item) != HASH_BYTES for item in kept):
            raise ValueError(f"a hash of the frontier is not {HASH_BYTES} bytes long")
        frontier = cls()
        frontier.size = size
        frontier._hashes = kept
        return frontier

    def append(self, entry: bytes) -> None:
        """Add one entry."""
        self.append_leaf(leaf_hash(entry))

    def append_leaf(self, leaf: bytes) -> None:
        """Add one entry whose leaf hash is known."""
        hashes = self._hashes
        left = self.size
        self.size = left + 1
        while left & 1:
            leaf = sha256(b"\1" + hashes.pop() + leaf).digest()
            left >>= 1
        hashes.append(leaf)

    def root(self) -> bytes:
        """Return the root hash of every entry added so far."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = sha256(b"\1" + left + root).digest()
        return root

    def hashes(self) -> tuple[bytes, ...]:
        """Return the hashes to save, largest subtree first; with *size* they restore this frontier."""
        return tuple(self._hashes)


def full_root(leaves: bytes) -> bytes:
    """Return the root of a full tree: *leaves* are a power of two of leaf hashes, one after the other.

    Several times faster than adding each to a ``Frontier``.
    """
    while len(leaves) > HASH_BYTES:
        leaves = b"".join(
            [
                sha256(b"\1" + leaves[at : at + 2 * HASH_BYTES]).digest()
                for at in range(0, len(leaves), 2 * HASH_BYTES)
            ]
        )
    return leaves

"""The hash tree of RFC 6962."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.merkle import EMPTY_ROOT, Frontier, full_root, leaf_hash
from tests.unit.audit.logs import root_of

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962.json").read_text())
ENTRIES = [bytes.fromhex(item) for item in VECTORS["entries"]]


def definition(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word: recursive, split at the largest power of two below n."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return sha256(b"\1" + definition(entries[:split]) + definition(entries[split:])).digest()


@pytest.mark.parametrize("size", range(len(ENTRIES) + 1))
def test_roots_of_the_reference_tests(size: int) -> None:
    assert root_of(ENTRIES[:size]).hex() == VECTORS["roots"][size]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_frontier_gives_the_root_of_the_definition(entries: list[bytes]) -> None:
    assert root_of(entries) == definition(entries)


@given(st.lists(st.binary(max_size=8), max_size=40), st.lists(st.binary(max_size=8), max_size=40))
def test_a_saved_frontier_goes_on_as_if_never_stopped(before: list[bytes], after: list[bytes]) -> None:
    first = Frontier()
    for entry in before:
        first.append(entry)
    second = Frontier.restore(first.size, first.hashes())
    for entry in after:
        second.append_leaf(leaf_hash(entry))
    assert second.root() == definition(before + after)
    assert second.size == len(before) + len(after)


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize(
    ("size", "hashes"),
    [
        (1, []),
        (3, [b"x" * 32]),
        (2, [b"x" * 32, b"y" * 32]),
        (1, [b"short"]),
        (-1, []),
    ],
)
def test_a_frontier_that_cannot_be_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"frontier"):
        Frontier.restore(size, hashes)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64])
def test_a_full_tree_has_the_root_of_the_definition(size: int) -> None:
    entries = [b"%d" % number for number in range(size)]
    assert full_root(b"".join(map(leaf_hash, entries))) == definition(entries)

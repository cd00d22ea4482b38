"""Inclusion and consistency over the hash tree of RFC 6962."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.merkle import leaf_hash
from gateway.audit.proofs import (
    consistency_ranges,
    inclusion_ranges,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.audit.logs import root_of

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962_proofs.json").read_text())
ROOTS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962.json").read_text())
LARGEST = 140


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def inclusion(of: list[bytes], index: int) -> list[bytes]:
    return [root_of(of[start:end]) for start, end in inclusion_ranges(index, len(of))]


def consistency(of: list[bytes], old: int) -> list[bytes]:
    return [root_of(of[start:end]) for start, end in consistency_ranges(old, len(of))]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case[0])
def test_inclusion_proofs_of_the_reference_tests(case: list[Any]) -> None:
    _, index, size, leaf, root, proof, holds = case
    found = verify_inclusion(raw(leaf), index, size, [raw(item) for item in proof], raw(root))
    assert found is holds


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case[0])
def test_consistency_proofs_of_the_reference_tests(case: list[Any]) -> None:
    _, old, new, old_root, new_root, proof, holds = case
    found = verify_consistency(old, raw(old_root), new, raw(new_root), [raw(item) for item in proof])
    assert found is holds


@pytest.mark.parametrize("case", [case for case in VECTORS["inclusion"] if case[-1] and case[5]])
def test_made_inclusion_proofs_are_those_of_the_reference_tests(case: list[Any]) -> None:
    _, index, size, _, root, proof, _ = case
    of = [bytes.fromhex(item) for item in ROOTS["entries"]][:size]
    assert root_of(of) == raw(root)
    assert inclusion(of, index) == [raw(item) for item in proof]


@pytest.mark.parametrize("case", [case for case in VECTORS["consistency"] if case[-1] and case[5]])
def test_made_consistency_proofs_are_those_of_the_reference_tests(case: list[Any]) -> None:
    _, old, new, _, _, proof, _ = case
    of = [bytes.fromhex(item) for item in ROOTS["entries"]][:new]
    assert consistency(of, old) == [raw(item) for item in proof]


@given(st.data())
def test_every_entry_is_proven_and_no_other_passes_for_it(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, LARGEST))
    index = data.draw(st.integers(0, size - 1))
    of = entries(size)
    root, proof = root_of(of), inclusion(of, index)
    assert verify_inclusion(leaf_hash(of[index]), index, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    other = data.draw(st.integers(0, LARGEST).filter(lambda value: value != index))
    assert not verify_inclusion(leaf_hash(of[index]), other, size, proof, root)
    assert not verify_inclusion(leaf_hash(of[index]), index, size, [*proof, bytes(32)], root)
    if proof:
        assert not verify_inclusion(leaf_hash(of[index]), index, size, proof[:-1], root)


@given(st.data())
def test_growth_is_proven_and_a_rewritten_past_is_not(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, LARGEST))
    old = data.draw(st.integers(1, new))
    of = entries(new)
    before, after, proof = root_of(of[:old]), root_of(of), consistency(of, old)
    assert verify_consistency(old, before, new, after, proof)
    rewritten = list(of)
    rewritten[data.draw(st.integers(0, old - 1))] = b"rewritten"
    assert not verify_consistency(old, before, new, root_of(rewritten), consistency(rewritten, old))
    assert not verify_consistency(old, before, new, after, [*proof, bytes(32)])
    if proof:
        spoilt = data.draw(st.integers(0, len(proof) - 1))
        flipped = [bytes([item[0] ^ 1]) + item[1:] if at == spoilt else item for at, item in enumerate(proof)]
        assert not verify_consistency(old, before, new, after, flipped)


@given(
    st.integers(-2, LARGEST),
    st.integers(-2, LARGEST),
    st.lists(st.binary(min_size=31, max_size=33), max_size=8),
)
def test_junk_is_refused_and_never_fails_otherwise(first: int, second: int, proof: list[bytes]) -> None:
    assert not verify_inclusion(bytes(32), first, second, proof, b"\1" * 32)
    if first != 0 or proof:
        assert not verify_consistency(first, bytes(32), second, b"\1" * 32, proof)


def test_the_empty_tree_is_the_beginning_of_every_tree() -> None:
    assert verify_consistency(0, root_of([]), 7, root_of(entries(7)), [])
    assert not verify_consistency(0, root_of([]), 7, root_of(entries(7)), [bytes(32)])
    assert consistency_ranges(0, 7) == consistency_ranges(7, 7) == []


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_an_entry_that_is_not_there_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no entry"):
        inclusion_ranges(index, size)


def test_a_tree_does_not_grow_smaller() -> None:
    with pytest.raises(ValueError, match="grown"):
        consistency_ranges(4, 3)

"""Which orders of numbers are a walk, and what honest work looks like."""

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.walks import BLOCK, BLOCK_SPAN, LEAST, WINDOW, Walks, walk_of
from gateway.vocabulary.records import Walk
from tests.thorough import EXAMPLES

DR_MARTIN, INTRUDER = "a" * 32, "f" * 32


def walked(numbers: Iterable[int], account: str = INTRUDER) -> list[tuple[Walk, int] | None]:
    walks = Walks()
    return [walks.step(account, "ipp", str(number)) for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "walk"),
    [
        (range(1001, 1009), Walk.ASCENDING),
        (range(1008, 1000, -1), Walk.DESCENDING),
        (range(1001, 1100, 7), Walk.STRIDED),
        (range(9000, 5000, -250), Walk.STRIDED),
        ((1003, 1001, 1004, 1002, 1007, 1005, 1008, 1006), Walk.BLOCK),
    ],
)
def test_a_walk_is_told_with_its_eighth_number(numbers: Iterable[int], walk: Walk) -> None:
    """L03"""
    told = walked(numbers)
    assert told[: LEAST - 1] == [None] * (LEAST - 1)
    assert told[LEAST - 1] == (walk, LEAST)


def test_numbers_in_between_hide_no_walk() -> None:
    randomly = random.Random(4)
    numbers = [
        number for step in range(12) for number in (1001 + step, 500_000 + randomly.randrange(400_000))
    ]
    assert walked(numbers)[-2] == (Walk.BLOCK, 12)


def test_a_block_is_told_whatever_its_order() -> None:
    for seed in range(20):
        block = list(range(40_000, 40_080))
        random.Random(seed).shuffle(block)
        assert any(told is not None for told in walked(block[:WINDOW])), seed


def test_work_in_a_large_hospital_shows_no_walk() -> None:
    for seed in range(200):
        randomly = random.Random(seed)
        assert walked([randomly.randrange(1, 200_000) for _ in range(120)]) == [None] * 120


def test_the_same_patient_again_is_no_step() -> None:
    numbers = [number for number in range(1001, 1008) for _ in range(5)]
    assert set(walked(numbers)) == {None}


@pytest.mark.parametrize("clear", ["A1001", "", "1e3", "٣", "2690549588157801234", "-4"])
def test_ids_that_are_no_plain_numbers_are_no_steps(clear: str) -> None:
    walks = Walks()
    for number in range(1001, 1008):
        walks.step(INTRUDER, "ipp", str(number))
    assert walks.step(INTRUDER, "ipp", clear) is None
    assert walks.step(INTRUDER, "ipp", "1008") == (Walk.ASCENDING, 8)


def test_accounts_and_numberings_are_apart_and_memory_is_bounded() -> None:
    walks = Walks()
    for number in range(1001, 1008):
        assert walks.step(INTRUDER, "ipp", str(number)) is None
    assert walks.step(DR_MARTIN, "ipp", "1008") is None
    assert walks.step(INTRUDER, "ins", "1008") is None
    for other in range(10_000):
        walks.step(str(other), "ipp", "1")
    assert walks.step(INTRUDER, "ipp", "1008") is None


@given(
    start=st.integers(1, 10**12),
    step=st.integers(1, 10**4),
    order=st.permutations(range(LEAST)),
)
def test_one_distance_in_any_order_is_a_walk(start: int, step: int, order: list[int]) -> None:
    told = walk_of([start + step * place for place in order])
    assert told is not None
    assert told[1] == LEAST
    assert (told[0] is Walk.STRIDED) == (step > 1)


@settings(max_examples=2 * EXAMPLES)
@given(st.lists(st.integers(1, 10**9), unique=True, max_size=WINDOW))
def test_what_is_told_is_there(numbers: list[int]) -> None:
    told, ranked = walk_of(numbers), sorted(numbers)
    gaps = [after - before for before, after in pairwise(ranked)]
    most = max((gaps.count(gap) for gap in gaps), default=0) + 1
    if told is None:
        assert most < LEAST or len(numbers) < LEAST
    elif told == (Walk.BLOCK, BLOCK) and most < LEAST:
        spans = [b - a for a, b in zip(ranked, ranked[BLOCK - 1 :], strict=False)]
        assert min(spans) < BLOCK * BLOCK_SPAN
    else:
        assert told[1] == most

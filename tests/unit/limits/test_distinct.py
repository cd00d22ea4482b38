"""Distinct patients: exact, weighted, free to see again, and bounded in every rolling window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import distinct
from gateway.limits.measured import Measured

HOUR_MS = 3_600_000
NOW_MS = 1_790_000_000_000
A, B, C, D = (bytes([number]) * 8 for number in range(4))


def measure(
    seen: dict[bytes, int],
    last_opened: dict[bytes, int],
    *,
    opened: tuple[bytes, ...] = (),
    listed: tuple[bytes, ...] = (),
    hard: int = 2,
    now_ms: int = NOW_MS,
) -> Measured:
    return distinct.measure(
        seen, last_opened, now_ms, HOUR_MS, opened, listed, listed_weight_milli=200, hard=hard
    )


@pytest.mark.parametrize(
    ("seen", "last_opened", "opened", "listed", "before", "after"),
    [
        # The first time costs: a whole one opened, a fifth listed.
        ({}, {}, (A,), (), 0, 1000),
        ({}, {}, (), (A,), 0, 200),
        ({}, {}, (A,), (B, C), 0, 1400),
        # Again is free, in either way of seeing.
        ({A: NOW_MS - 1}, {A: NOW_MS - 1}, (A,), (), 1000, 1000),
        ({A: NOW_MS - 1}, {A: NOW_MS - 1}, (), (A,), 1000, 1000),
        ({A: NOW_MS - 1}, {}, (), (A,), 200, 200),
        # Opening somebody who was listed costs the rest.
        ({A: NOW_MS - 1}, {}, (A,), (), 200, 1000),
        # At the window's far edge a patient is gone; a millisecond inside, not.
        ({A: NOW_MS - HOUR_MS}, {A: NOW_MS - HOUR_MS}, (A,), (), 0, 1000),
        ({A: NOW_MS - HOUR_MS + 1}, {A: NOW_MS - HOUR_MS + 1}, (A,), (), 1000, 1000),
        # Opened long ago, listed lately: counts as listed.
        ({A: NOW_MS - 1}, {A: NOW_MS - HOUR_MS}, (), (B,), 200, 400),
    ],
)
def test_weights(
    seen: dict[bytes, int],
    last_opened: dict[bytes, int],
    opened: tuple[bytes, ...],
    listed: tuple[bytes, ...],
    before: int,
    after: int,
) -> None:
    use = measure(seen, last_opened, opened=opened, listed=listed)
    assert (use.before, use.after) == (before, after)


def test_seeing_again_is_free_even_over_a_lowered_bound() -> None:
    had = {A: NOW_MS - 3, B: NOW_MS - 2, C: NOW_MS - 1}
    assert not measure(had, had, opened=(A, B, C), hard=2).crossed
    assert measure(had, had, opened=(A, D), hard=2).crossed


def test_a_bound_is_reached_and_not_crossed() -> None:
    had = {A: NOW_MS - 3}
    assert not measure(had, had, opened=(B,), hard=2).crossed
    assert measure(had, had, opened=(B,), listed=(C,), hard=2).crossed


MEMBERS = [bytes([number]) * 8 for number in range(12)]
SOME = st.lists(st.sampled_from(MEMBERS), max_size=4, unique=True)


@given(
    hard=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, HOUR_MS), SOME, SOME), max_size=40),
)
def test_never_more_than_the_bound_in_any_rolling_window(
    hard: int, steps: list[tuple[int, list[bytes], list[bytes]]]
) -> None:
    seen: dict[bytes, int] = {}
    last_opened: dict[bytes, int] = {}
    accepted: list[tuple[int, bytes, bool]] = []
    now_ms = NOW_MS
    for gap_ms, opened, listed in steps:
        now_ms += gap_ms
        only_listed = [member for member in listed if member not in opened]
        use = measure(
            seen, last_opened, opened=tuple(opened), listed=tuple(only_listed), hard=hard, now_ms=now_ms
        )
        if use.crossed:
            later_ms = now_ms + -(-use.retry_us // 1000)
            again = measure(
                seen, last_opened, opened=tuple(opened), listed=tuple(only_listed), hard=hard, now_ms=later_ms
            )
            assert not again.crossed or 1000 * len(opened) + 200 * len(only_listed) > 1000 * hard
            continue
        seen.update(dict.fromkeys((*opened, *listed), now_ms))
        last_opened.update(dict.fromkeys(opened, now_ms))
        accepted += [(now_ms, member, True) for member in opened]
        accepted += [(now_ms, member, False) for member in only_listed]
    for end_ms, _, _ in accepted:
        inside = [(member, was) for at_ms, member, was in accepted if end_ms - HOUR_MS < at_ms <= end_ms]
        fully = {member for member, was in inside if was}
        assert 1000 * len(fully) + 200 * len({member for member, _ in inside} - fully) <= 1000 * hard

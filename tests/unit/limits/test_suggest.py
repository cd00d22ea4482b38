"""Caps from what was observed: the sample, the percentiles, the proposal, and who would have been stopped."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.suggest import CONTROLS, ENOUGH_DAYS, Finding, Observed, percentile, rounded
from gateway.vocabulary.limits import ACCOUNT_CONTROLS, Charge, Control
from tests.people import CLERK_LEA, DR_MARTIN

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS


def patients(count: int, first: int = 0) -> tuple[bytes, ...]:
    return tuple(number.to_bytes(8, "big") for number in range(first, first + count))


def found(observed: Observed, control: Control, present: dict[Control, int] | None = None) -> Finding:
    return next(one for one in observed.findings("ward", present or {}) if one.control is control)


@pytest.mark.parametrize(
    ("amount", "cap"), [(0, 1), (0.4, 1), (7.5, 8), (10, 10), (10.5, 12), (31, 40), (100, 100), (101, 120),
                        (450, 500), (1_501, 2_000), (99_000_000, 100_000_000)],
)  # fmt: skip
def test_caps_are_round(amount: float, cap: int) -> None:
    assert rounded(amount) == cap


@given(st.lists(st.integers(0, 1000), min_size=1).map(sorted), st.sampled_from([0.5, 0.95, 0.995]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(ordered: list[int], share: float) -> None:
    value = percentile(ordered, share)
    assert sum(one <= value for one in ordered) >= math.ceil(share * len(ordered))
    assert sum(one < value for one in ordered) < math.ceil(share * len(ordered))


def test_the_sample_is_the_most_of_each_day_and_idle_days_do_not_count() -> None:
    observed = Observed(lambda _: 200, START_MS)
    # 30 in ten minutes, later 5 more of which 2 are known; nothing on the second day; one on the third.
    observed.note(START_MS, DR_MARTIN.login, "ward", Charge(opened=patients(30)))
    observed.note(START_MS + 5 * 3_600_000, DR_MARTIN.login, "ward", Charge(opened=patients(5, 28)))
    observed.note(START_MS + 2 * DAY_MS, DR_MARTIN.login, "ward", Charge(opened=patients(1)))
    observed.note(START_MS, CLERK_LEA.login, "ward", Charge(listed=patients(50), rows=50))
    assert observed.classes == ("ward",)
    assert observed.accounts("ward") == 2
    assert list(found(observed, Control.PATIENTS_10MIN).peaks) == [1, 10, 30]
    assert found(observed, Control.PATIENTS_24H).most == 33
    assert found(observed, Control.ROWS_1H).peaks == [0, 0, 50]


def test_the_week_before_fills_the_windows_but_is_not_in_the_sample() -> None:
    observed = Observed(lambda _: 200, START_MS)
    observed.note(START_MS - DAY_MS, DR_MARTIN.login, "ward", Charge(opened=patients(100)))
    observed.note(START_MS + 1, DR_MARTIN.login, "ward", Charge(opened=patients(1, 100)))
    assert found(observed, Control.PATIENTS_7D).peaks == [101]
    assert found(observed, Control.PATIENTS_24H).peaks == [1]


def test_no_cap_is_proposed_from_too_few_days() -> None:
    observed = Observed(lambda _: 200, START_MS)
    for number in range(ENOUGH_DAYS - 1):
        observed.note(START_MS, f"agent.{number}", "ward", Charge(opened=patients(10)))
    assert found(observed, Control.PATIENTS_24H).proposed is None
    observed.note(START_MS, "one.more", "ward", Charge(opened=patients(10)))
    assert found(observed, Control.PATIENTS_24H).proposed == 15


def test_who_would_have_been_stopped_by_either_cap() -> None:
    observed = Observed(lambda _: 200, START_MS)
    for number in range(ENOUGH_DAYS):
        observed.note(START_MS, f"agent.{number}", "ward", Charge(opened=patients(10)))
    for day in range(3):
        observed.note(
            START_MS + day * DAY_MS, DR_MARTIN.login, "ward", Charge(opened=patients(41, 1_000 * day))
        )
    told = found(observed, Control.PATIENTS_10MIN, {Control.PATIENTS_10MIN: 41})
    assert (told.present, told.proposed) == (41, 80)
    assert told.stopped_present.days == 0
    told = found(observed, Control.PATIENTS_10MIN, {Control.PATIENTS_10MIN: 40})
    assert told.stopped_present.by_account == {DR_MARTIN.login: 3}
    assert told.stopped_proposed.days == 0


def test_every_control_that_the_log_tells_is_there() -> None:
    assert set(ACCOUNT_CONTROLS) - set(CONTROLS) == {Control.REQUESTS, Control.SIGHTINGS_1H}

"""The region's days follow the table of profiles: typical range, peak, order of time, and the same luck each time."""

import statistics
from collections import defaultdict
from random import Random

import pytest

from gateway.vocabulary.records import RouteKind
from loadtest.region.days import Professional
from loadtest.region.profiles import PROFILES, Calendar, Profile, staff
from loadtest.region.world import DAY_S, SECOND_US

CALENDAR = Calendar(28)
PATIENTS = range(3_000)


def opened_by_day(profile: Profile, people: int, seed: int = 1) -> list[int]:
    """Return how many distinct patients were opened on each professional-day."""
    found: list[int] = []
    for number in range(people):
        days: dict[int, set[bytes]] = defaultdict(set)
        for day, _, page in Professional(profile, PATIENTS, Random(f"{seed}/{number}")).pages(CALENDAR):
            days[day].update(page.charge.opened)
        found += [len(patients) for patients in days.values() if patients]
    return found


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_days_patients_follow_the_table(profile: Profile) -> None:
    days = opened_by_day(profile, 12)
    assert profile.low <= statistics.median(days) <= profile.high
    usual = profile.median * (1 + (profile.rush - 1) / 5)
    assert usual * 0.75 <= statistics.median(days) <= usual * 1.4
    assert max(days) <= profile.peak


def test_peaks_are_reached_by_somebody() -> None:
    draw = Random(3)
    for profile in PROFILES:
        most = max(profile.patients_of_day(draw, profile.rush) for _ in range(5_000))
        assert profile.peak * 0.6 <= most <= profile.peak


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_pages_come_in_order_of_time_and_the_same_each_time(profile: Profile) -> None:
    pages = list(Professional(profile, PATIENTS, Random(5)).pages(CALENDAR))
    assert pages == list(Professional(profile, PATIENTS, Random(5)).pages(CALENDAR))
    assert pages != list(Professional(profile, PATIENTS, Random(6)).pages(CALENDAR))
    moments = [at_us for _, at_us, _ in pages]
    assert moments == sorted(moments)
    # A shift belongs to the day on which it began, and nobody works on for two days.
    assert all(0 <= at_us - day * DAY_S * SECOND_US < 2 * DAY_S * SECOND_US for day, at_us, _ in pages)


def test_mondays_and_eves_of_holidays_are_busier() -> None:
    desk = next(one for one in PROFILES if one.name == "admission desk")
    days: dict[bool, list[int]] = defaultdict(list)
    for number in range(40):
        counted: dict[int, set[bytes]] = defaultdict(set)
        for day, _, page in Professional(desk, PATIENTS, Random(number)).pages(CALENDAR):
            counted[day].update(page.charge.opened)
        for day, patients in counted.items():
            days[CALENDAR.factor(desk, day) > 1].append(len(patients))
    assert statistics.median(days[True]) > 1.2 * statistics.median(days[False])


def test_nights_are_worked_by_some_nurses_only() -> None:
    nurse = next(one for one in PROFILES if one.night)
    night = Professional(
        nurse, PATIENTS, next(Random(seed) for seed in range(99) if _works_nights(nurse, seed))
    )
    hours = {at_us // SECOND_US // 3_600 % 24 for _, at_us, _ in night.pages(CALENDAR)}
    assert hours <= {20, 21, 22, 23, *range(9)}
    assert {23, 2} <= hours


def _works_nights(profile: Profile, seed: int) -> bool:
    one = Professional(profile, PATIENTS, Random(seed))
    next(one.pages(CALENDAR))
    return one.night


def test_directors_go_through_their_waiting_lists() -> None:
    director = next(one for one in PROFILES if one.review)
    rows = [
        len(page.charge.listed)
        for seed in range(20)
        for _, _, page in Professional(director, PATIENTS, Random(seed)).pages(CALENDAR)
        if page.kind is RouteKind.LISTING
    ]
    assert rows.count(50) > 20


def test_a_region_has_everybody_in_its_share() -> None:
    for size in (60, 300, 500):
        people = staff(size)
        assert {one.name for one in people} == {one.name for one in PROFILES}
        assert abs(len(people) - size) <= len(PROFILES)

"""Each signal alone: what makes it fire, what does not, and that its state stays small."""

import random
from datetime import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.detection import breadth, enumeration, hours, networks, pace, searches
from tests.unit.detection.days import HOME, HOUR_MS, PARIS, SECOND_WARD, WARD

# --- enumeration ---


def test_new_patients_along_their_numbers_count_from_the_eighth_on() -> None:
    state = enumeration.Opened()
    told = [enumeration.judge(state, member, walked, 8) for walked, member in enumerate(range(100, 112), 1)]
    assert told == [None] * 7 + [8, 9, 10, 11, 12]


def test_the_same_residents_every_morning_are_no_enumeration() -> None:
    state = enumeration.Opened()
    for member in range(60):
        enumeration.judge(state, member, 0, 8)
    for _ in range(5):
        assert {enumeration.judge(state, member, 24, 8) for member in range(60)} == {None}


def test_residents_of_every_morning_stay_known_whoever_else_comes_and_goes() -> None:
    state, others = enumeration.Opened(), iter(range(1_000, 100_000))
    for _ in range(40):
        for resident in range(30):
            enumeration.judge(state, resident, 0, 8)
        for _ in range(30):
            enumeration.judge(state, next(others), 0, 8)
        assert all(enumeration.knows(state, resident) for resident in range(30))
    assert len(state.known) == 4 * enumeration.MOST_KNOWN


def test_a_walk_over_known_patients_with_some_new_ones_is_none() -> None:
    state = enumeration.Opened()
    for member in range(60):
        enumeration.judge(state, member, 0, 8)
    for morning in range(5):
        for member in range(60):
            assert enumeration.judge(state, member, 24, 8) is None
        assert enumeration.judge(state, 1_000 + morning, 24, 8) is None


@given(st.lists(st.integers(0, 2**32 - 1), max_size=700))
def test_whom_an_account_opened_is_remembered_within_bounds(members: list[int]) -> None:
    state = enumeration.Opened()
    for member in members:
        enumeration.judge(state, member, 24, 8)
    assert len(state.known) <= 4 * enumeration.MOST_KNOWN
    distinct = list(dict.fromkeys(members))
    if len(distinct) <= enumeration.MOST_KNOWN:
        assert all(enumeration.knows(state, member) for member in distinct)


def test_bytes_of_two_neighbours_are_nobody() -> None:
    state = enumeration.Opened()
    enumeration.judge(state, 0x01020304, 0, 8)
    enumeration.judge(state, 0x05060708, 0, 8)
    assert not enumeration.knows(state, 0x03040506)


# --- pace ---


def paced(gaps_ms: list[int], *, first_ms: int = 1_000_000) -> tuple[tuple[str, int], ...] | None:
    state, when_ms, told = pace.Paced(), first_ms, None
    for member, gap_ms in enumerate([0, *gaps_ms]):
        when_ms += gap_ms
        told = pace.judge(state, member, when_ms, patients=20, fast_ms=5_000, regular_percent=25)
    return told


@pytest.mark.parametrize(
    ("gaps_ms", "regular"),
    [
        ([1_000] * 20, 0),
        ([100, 200] * 10, 0),
        ([4_999] * 20, 0),
        ([40_000] * 20, 1),
        ([36_000, 44_000] * 10, 1),
        ([600_000] * 20, 1),
    ],
)
def test_no_person_opens_records_so(gaps_ms: list[int], regular: int) -> None:
    told = paced(gaps_ms)
    assert told is not None
    assert dict(told)["regular"] == regular
    assert paced(gaps_ms[:19]) is None


def test_a_program_that_waits_give_or_take_a_third_is_told() -> None:
    for seed in range(100):
        randomly = random.Random(seed)
        assert paced([int(randomly.uniform(27_000, 53_000)) for _ in range(20)]) is not None, seed


def test_reading_at_leisure_is_a_persons_pace() -> None:
    for seed in range(500):
        randomly = random.Random(seed)
        gaps = [int(1_000 * min(1_700, 15 + randomly.lognormvariate(4, 1))) for _ in range(20)]
        assert paced(gaps) is None, seed


def test_tabs_opened_at_once_after_a_list_are_a_persons() -> None:
    assert paced([60_000, *[900] * 8, 240_000, *[1_100] * 7, 90_000, 30_000, 200_000]) is None
    assert paced(([300_000] + [900] * 3) * 5) is None


def test_pages_that_refresh_themselves_are_no_haste() -> None:
    state = pace.Paced()
    told = [
        pace.judge(state, number % 3, 1_000 * number, patients=20, fast_ms=5_000, regular_percent=25)
        for number in range(500)
    ]
    assert set(told) == {None}


def test_after_a_break_it_is_counted_anew() -> None:
    assert paced([1_000] * 15 + [pace.BREAK_MS + 1] + [1_000] * 15) is None


@given(st.lists(st.integers(0, 10**7), max_size=60))
def test_pace_never_fails_and_stays_small(gaps_ms: list[int]) -> None:
    state, when_ms = pace.Paced(), 10**9
    for member, gap_ms in enumerate(gaps_ms):
        when_ms += gap_ms - 10**6
        told = pace.judge(state, member, when_ms, patients=20, fast_ms=5_000, regular_percent=25)
        assert told is None or dict(told)["patients"] == 20
    assert len(state.gaps_ms) <= 20
    assert len(state.recent) <= 20


# --- searches ---


def test_sixty_narrow_searches_within_an_hour() -> None:
    state = searches.Searched()
    assert [searches.judge(state, 1_000 * n, 60) for n in range(61)] == [None] * 59 + [60, 60]
    state = searches.Searched()
    assert {searches.judge(state, (HOUR_MS // 59 + 1) * n, 60) for n in range(600)} == {None}


@given(st.lists(st.integers(0, HOUR_MS), max_size=80), st.integers(1, 20))
def test_searches_are_counted_as_a_list_would(gaps_ms: list[int], most: int) -> None:
    state, times = searches.Searched(), [0]
    for gap_ms in gaps_ms:
        times.append(times[-1] + gap_ms)
        told = searches.judge(state, times[-1], most)
        there = sum(times[-1] - each < HOUR_MS for each in times[1:])
        assert (told is not None) == (there >= most)
    assert len(state.at_ms) <= most


# --- breadth ---


def peers(*days: int) -> breadth.Peers:
    made = breadth.Peers()
    for day in days:
        made.add(day)
    return made


def test_breadth_is_held_against_the_class() -> None:
    usual, today = peers(*[5, 8, 10, 12, 15] * 20), breadth.Today()
    told = [breadth.judge(today, (n,), usual, opened=True, times=8, least=20) for n in range(50)]
    # The median is 10, the deviation 2, held at a quarter of the median.
    assert [each is not None for each in told] == [breadth_ > 10 + 8 * 2.5 for breadth_ in range(1, 51)]
    assert told[-1] == (50, 10)


def test_a_class_without_experience_says_nothing() -> None:
    today = breadth.Today()
    for n in range(500):
        assert breadth.judge(today, (n,), peers(*[3] * 49), opened=True, times=8, least=20) is None


def test_listed_patients_weigh_a_fifth_and_nobody_twice() -> None:
    today = breadth.Today()
    breadth.judge(today, tuple(range(50)), peers(), opened=False, times=8, least=20)
    assert today.breadth == 10
    breadth.judge(today, (0, 1, 2, 3, 4), peers(), opened=True, times=8, least=20)
    assert today.breadth == 5 + 9
    breadth.judge(today, (0, 1, 2, 3, 4), peers(), opened=True, times=8, least=20)
    assert today.breadth == 14


def test_few_cannot_move_what_is_usual() -> None:
    """Ten trained accounts of a class of a hundred, 200 patients a day for weeks, leave the median where it was."""
    trained = peers(*([10] * 90 + [200] * 10) * 15)
    assert (trained.middle, trained.spread) == (10, 2.5)
    assert len(trained.days) <= breadth.MOST_DAYS


@settings(max_examples=50)
@given(st.lists(st.integers(1, 10_000), min_size=50, max_size=120))
def test_nobody_within_what_the_class_does_is_far_above_it_by_the_median(days: list[int]) -> None:
    usual, today = peers(*days), breadth.Today()
    told = breadth.judge(today, tuple(range(int(usual.middle))), usual, opened=True, times=8, least=1)
    assert told is None


# --- networks ---


@pytest.mark.parametrize(
    ("client", "network"),
    [
        (WARD, "192.0.2.0/24"),
        (SECOND_WARD, "192.0.2.0/24"),
        (HOME, "198.51.100.0/24"),
        ("2001:db8:1:2::5", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        (None, None),
        ("", None),
        ("unknown", None),
    ],
)
def test_networks_of_addresses(client: str | None, network: str | None) -> None:
    assert networks.network_of(client) == network


def test_a_network_is_new_once_and_only_to_who_has_worked_some_days() -> None:
    known: list[str] = []
    assert not networks.judge(known, WARD, 0)
    assert not networks.judge(known, SECOND_WARD, 9)
    assert networks.judge(known, HOME, 9)
    assert not networks.judge(known, HOME, 9)


def test_what_is_unknown_is_not_judged() -> None:
    """L07 Without an address nothing is said: neither trusted nor blocked."""
    known = ["192.0.2.0/24"]
    assert not networks.judge(known, None, 100)
    assert known == ["192.0.2.0/24"]


def test_networks_are_bounded() -> None:
    known: list[str] = []
    for number in range(200):
        networks.judge(known, f"10.0.{number}.1", 50)
    assert len(known) == networks.MOST_NETWORKS


def test_the_ward_of_every_day_outlives_any_number_of_passing_addresses() -> None:
    known: list[str] = []
    networks.judge(known, WARD, 0)
    for number in range(200):
        networks.judge(known, f"10.0.{number}.1", 50)
        assert not networks.judge(known, WARD, 50)


# --- hours ---


def filled(spans: dict[range, int]) -> hours.Hours:
    made = hours.Hours()
    for span, each in spans.items():
        for slot in span:
            made.slots[slot] = each
    return made


OFFICE = {range(8, 18): 60}
NIGHT = datetime(2026, 9, 9, 3, 10, tzinfo=PARIS)
NOON = datetime(2026, 9, 9, 12, 10, tzinfo=PARIS)
SATURDAY = datetime(2026, 9, 12, 12, 10, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("own", "peers_", "at", "days", "strange"),
    [
        (OFFICE, OFFICE, NIGHT, 30, True),
        (OFFICE, OFFICE, SATURDAY, 30, True),
        (OFFICE, OFFICE, NOON, 30, False),
        (OFFICE, OFFICE, NIGHT, 9, False),
        (OFFICE, {range(8, 18): 40}, NIGHT, 30, False),
        (OFFICE, {range(24): 60}, NIGHT, 30, False),
        ({range(8, 18): 60, range(2, 5): 3}, OFFICE, NIGHT, 30, False),
    ],
    ids=["night", "weekend", "noon", "young account", "young class", "class of nights", "own nights"],
)
def test_unusual_hours(
    own: dict[range, int], peers_: dict[range, int], at: datetime, days: int, strange: bool
) -> None:
    """L04 Hours in which the account has not worked before."""
    assert hours.judge(filled(own), filled(peers_), at, days) is strange


def test_an_hour_counts_once_however_much_is_done_in_it() -> None:
    own, peers_ = filled(OFFICE), filled(OFFICE)
    assert hours.judge(own, peers_, NIGHT, 30)
    assert not any(hours.judge(own, peers_, NIGHT, 30) for _ in range(1_000))
    assert own.slots[3] == 1


def test_what_was_usual_fades() -> None:
    own = filled({range(8, 18): 400})
    hours.judge(own, hours.Hours(), NIGHT, 30)
    assert own.slots[8] == 200


@given(st.lists(st.datetimes(timezones=st.just(PARIS)), max_size=50))
def test_hours_never_fail_and_can_be_written_down(moments: list[datetime]) -> None:
    own, peers_ = hours.Hours(), hours.Hours()
    for moment in moments:
        hours.judge(own, peers_, moment, 100)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(own), type=hours.Hours) == own

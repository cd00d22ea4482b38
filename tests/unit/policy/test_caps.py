"""Which rule gives each number: by table, by property, and on the nights on which the clocks change."""

import itertools
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.caps import (
    ALWAYS,
    WEEK_MINUTES,
    CapBound,
    CapRule,
    Place,
    fits,
    held,
    local_minute,
    resolve,
    tie,
)
from gateway.vocabulary.limits import BreakGlass, Control, Limit, LimitSet, Mode

PARIS = "Europe/Paris"
WARD = LimitSet(
    "ward",
    (
        Limit(Control.PATIENTS_1H, 100, soft=40),
        Limit(Control.ROWS_1H, 2_000, soft=600),
        Limit(Control.EXPORTS_24H, 5, Mode.OBSERVE),
    ),
    listed_weight_milli=125,
    break_glass=BreakGlass(),
)


def rule(name: str, hard: int, control: Control = Control.PATIENTS_1H, **conditions: object) -> CapRule:
    return CapRule(name, (CapBound(control, hard),), **conditions)  # type: ignore[arg-type]


NIGHT = rule("night", 30, hours=(21 * 60, 7 * 60))
WARDS = rule("wards", 80, classes=frozenset({"ward", "desk"}))
WARD_NIGHT = rule("ward-night", 20, classes=frozenset({"ward"}), hours=(21 * 60, 7 * 60))
LILLE = rule("lille", 60, establishments=frozenset({"590000001"}), apps=frozenset({"parcours"}))
LILLE_NIGHT = rule(
    "lille-night", 15, establishments=frozenset({"590000001"}), apps=frozenset({"parcours"}), hours=(0, 360)
)
RULES = (NIGHT, WARDS, WARD_NIGHT, LILLE, LILLE_NIGHT)
MONDAY_NOON, MONDAY_3, MONDAY_22 = 720, 180, 22 * 60


@pytest.mark.parametrize(
    ("place", "hard", "source"),
    [
        (Place("other", "dossier", None, MONDAY_NOON), 100, None),
        (Place("other", "dossier", None, MONDAY_22), 30, "night"),
        (Place("other", "dossier", None, WEEK_MINUTES - 1), 30, "night"),
        (Place("other", "dossier", None, 419), 30, "night"),
        (Place("other", "dossier", None, 420), 100, None),
        (Place("desk", "dossier", None, MONDAY_NOON), 80, "wards"),
        (Place("ward", "dossier", None, MONDAY_22), 20, "ward-night"),
        (Place("other", "parcours", "590000001", MONDAY_NOON), 60, "lille"),
        (Place("other", "parcours", "590000002", MONDAY_NOON), 100, None),
        (Place("other", "dossier", "590000001", MONDAY_NOON), 100, None),
        (Place("other", "parcours", "590000001", MONDAY_3), 15, "lille-night"),
    ],
)
def test_the_most_specific_rule_wins(place: Place, hard: int, source: str | None) -> None:
    found = resolve(WARD, RULES, place)
    assert (found.limits.limits[0].hard, found.sources[0]) == (hard, source)
    # Nothing else of the class moves.
    assert found.limits.limits[1:] == WARD.limits[1:]
    assert (found.limits.listed_weight_milli, found.limits.break_glass) == (125, BreakGlass())


@pytest.mark.parametrize(
    ("limit", "bound", "expected"),
    [
        # The share of the class is kept where no soft bound is written, and nobody is asked whom nobody asked.
        (Limit(Control.ROWS_1H, 100, soft=40), CapBound(Control.ROWS_1H, 50), (50, 20)),
        (Limit(Control.ROWS_1H, 100), CapBound(Control.ROWS_1H, 50), (50, None)),
        (Limit(Control.ROWS_1H, 100, soft=100), CapBound(Control.ROWS_1H, 50), (50, None)),
        (Limit(Control.ROWS_1H, 100, soft=40), CapBound(Control.ROWS_1H, 50, 7), (50, 7)),
        (Limit(Control.ROWS_1H, 100), CapBound(Control.ROWS_1H, 50, 7), (50, 7)),
    ],
)
def test_what_a_rule_leaves_out_comes_from_the_class(
    limit: Limit, bound: CapBound, expected: tuple[int, int | None]
) -> None:
    [found] = held(
        LimitSet("c", (limit,)), [CapRule("r", (bound,), apps=frozenset({"a"}))], Place("c", "a", None, 0)
    ).limits
    assert (found.hard, found.soft, found.mode) == (*expected, limit.mode)


def test_a_rule_may_have_a_mode_of_its_own() -> None:
    bound = CapBound(Control.PATIENTS_1H, 5, mode=Mode.OBSERVE)
    found = held(WARD, [CapRule("r", (bound,), apps=frozenset({"a"}))], Place("ward", "a", None, 0))
    assert [limit.mode for limit in found.limits] == [Mode.OBSERVE, Mode.ENFORCE, Mode.OBSERVE]


def test_hours_belong_to_the_day_on_which_they_begin() -> None:
    weekend = rule("weekend", 1, hours=(21 * 60, 7 * 60), days=frozenset({5, 6}))
    at = {
        "Saturday 20:59": 5 * 1440 + 1259,
        "Saturday 21:00": 5 * 1440 + 1260,
        "Sunday 06:59": 6 * 1440 + 419,
        "Monday 06:59": 419,
        "Monday 07:00": 420,
        "Monday 21:00": 1260,
    }
    holding = [when for when, minute in at.items() if fits(weekend, Place("c", "a", None, minute))]
    assert holding == ["Saturday 21:00", "Sunday 06:59", "Monday 06:59"]
    assert rule("day", 1, days=frozenset({0})).minutes == (1 << 1440) - 1
    assert rule("round", 1, hours=(60, 60)).minutes == ALWAYS == rule("all", 1).minutes


def at(text: str) -> int:
    """Return the moment that *text* names, in Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-11-23T00:00:00+01:00", 0),
        ("2026-07-06T02:30:00+02:00", 150),
        # 29 March 2026: 02:00 becomes 03:00. 25 October 2026: 03:00 becomes 02:00, and 02:30 comes twice.
        ("2026-03-29T00:59:59+00:00", 6 * 1440 + 119),
        ("2026-03-29T01:00:00+00:00", 6 * 1440 + 180),
        ("2026-10-25T00:30:00+00:00", 6 * 1440 + 150),
        ("2026-10-25T01:30:00+00:00", 6 * 1440 + 150),
        ("2026-10-25T02:30:00+00:00", 6 * 1440 + 210),
    ],
)
def test_clocks_on_the_wall_tell_the_time_of_day(moment: str, shown: int) -> None:
    assert local_minute(at(moment), PARIS) == shown


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-03-28T21:00:00+01:00", 9), ("2026-10-24T21:00:00+02:00", 11)]
)
def test_a_night_is_a_night_when_the_clocks_change(evening: str, hours: int) -> None:
    night, begun_ms = rule("night", 1, hours=(21 * 60, 7 * 60)), at(evening)

    def holds(minute: int) -> bool:
        return fits(night, Place("c", "a", None, local_minute(begun_ms + minute * 60_000, PARIS)))

    assert not holds(-1)
    assert sum(1 for _ in itertools.takewhile(holds, itertools.count())) == hours * 60


@given(st.integers(1_577_836_800, 2_208_988_800), st.sampled_from([PARIS, "Indian/Reunion"]))
def test_every_moment_has_one_minute_of_the_week(at_s: int, zone: str) -> None:
    moment = datetime.fromtimestamp(at_s, UTC)
    minute = local_minute(at_s * 1000, zone)
    wall = moment.astimezone(ZoneInfo(zone))
    assert (minute // 1440, minute % 1440) == (wall.weekday(), wall.hour * 60 + wall.minute)


SOME = st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=2)
A_RULE = st.builds(
    CapRule,
    name=st.text("rst", min_size=1, max_size=3),
    bounds=st.lists(
        st.builds(
            CapBound,
            st.sampled_from([Control.PATIENTS_1H, Control.ROWS_1H]),
            st.integers(1, 50),
            st.one_of(st.none(), st.integers(0, 50)),
        ),
        min_size=1,
        max_size=2,
        unique_by=lambda bound: bound.control,
    ).map(tuple),
    classes=SOME,
    apps=SOME,
    establishments=SOME,
    hours=st.one_of(st.none(), st.tuples(st.integers(0, 1439), st.integers(1, 1440))),
    days=st.frozensets(st.integers(0, 6), max_size=2),
)
A_PLACE = st.builds(
    Place,
    st.sampled_from("abcd"),
    st.sampled_from("abcd"),
    st.sampled_from(["a", "b", "c", "d", None]),
    st.integers(0, WEEK_MINUTES - 1),
)


@given(st.lists(A_RULE, max_size=6, unique_by=lambda one: one.name), A_PLACE, st.randoms())
def test_resolution_is_total_and_does_not_depend_on_the_order(
    rules: list[CapRule], place: Place, random: Random
) -> None:
    found = resolve(WARD, rules, place)
    assert [limit.control for limit in found.limits.limits] == [limit.control for limit in WARD.limits]
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert resolve(WARD, shuffled, place) == found
    for limit, usual, source in zip(found.limits.limits, WARD.limits, found.sources, strict=True):
        if source is None:
            assert limit == usual
            continue
        [winner] = [one for one in rules if one.name == source]
        assert fits(winner, place)
        rivals = [one for one in rules if fits(one, place) and one.bound(limit.control)]
        assert winner.conditions == max(one.conditions for one in rivals)


@given(st.lists(A_RULE, max_size=5, unique_by=lambda one: one.name), A_PLACE)
def test_where_no_tie_is_reported_one_rule_alone_is_the_most_specific(
    rules: list[CapRule], place: Place
) -> None:
    if any(tie(first, second, rules) for index, second in enumerate(rules) for first in rules[:index]):
        return
    for control in (Control.PATIENTS_1H, Control.ROWS_1H):
        speaking = sorted(one.conditions for one in rules if fits(one, place) and one.bound(control))
        assert len(speaking) < 2 or speaking[-1] > speaking[-2]


@pytest.mark.parametrize(
    ("first", "second", "others", "tied"),
    [
        (NIGHT, WARDS, (), Control.PATIENTS_1H),
        # A rule of the conditions of both settles it, one that covers but a part of it does not.
        (NIGHT, WARDS, (rule("both", 1, classes=frozenset({"ward", "desk"}), hours=(0, 1440)),), None),
        (NIGHT, WARDS, (WARD_NIGHT,), Control.PATIENTS_1H),
        (NIGHT, rule("wards", 9, Control.ROWS_1H, classes=frozenset({"ward"})), (), None),
        (NIGHT, rule("noon", 9, hours=(600, 840)), (), None),
        (WARDS, rule("other", 9, classes=frozenset({"other"})), (), None),
        (WARDS, WARD_NIGHT, (), None),
    ],
)  # fmt: skip
def test_ties(first: CapRule, second: CapRule, others: tuple[CapRule, ...], tied: Control | None) -> None:
    assert tie(first, second, (first, second, *others)) == tied
    assert tie(second, first, (first, second, *others)) == tied

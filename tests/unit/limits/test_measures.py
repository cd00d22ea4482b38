"""The strict posture and a plan blanc: what they make of bounds, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.classes import compile_classes
from gateway.limits.measures import asks_at, held, pool_states, states
from gateway.limits.store import encode_limits, encode_states
from gateway.vocabulary.limits import Control, Limit, LimitSet, Mode, Pool
from gateway.vocabulary.measures import MeasureRules, PlanBlancRule, StrictRule

PATIENTS = Control.PATIENTS_1H
RULES = MeasureRules(StrictRule(500), PlanBlancRule(3_000, frozenset({PATIENTS}), ((PATIENTS, 100),)))


@pytest.mark.parametrize(
    ("hard", "soft", "strict", "plan_blanc", "both"),
    [
        (40, 20, (20, 10), (100, 50), (40, 20)),
        (20, 8, (10, 4), (60, 24), (20, 8)),
        # Nobody is asked whom nobody asked.
        (40, None, (20, None), (100, None), (40, None)),
        (40, 40, (20, None), (100, None), (40, 40)),
        # At least one, and what lies above the ceiling stays.
        (1, 0, (1, 0), (3, 0), (1, 0)),
        (300, 150, (150, 75), (300, 150), (300, 150)),
        (0, None, (0, None), (0, None), (0, None)),
    ],
)
def test_what_each_measure_makes_of_a_bound(
    hard: int,
    soft: int | None,
    strict: tuple[int, int | None],
    plan_blanc: tuple[int, int | None],
    both: tuple[int, int | None],
) -> None:
    limits = LimitSet("ward", (Limit(PATIENTS, hard, soft=soft),))
    usual, *told = states(limits, RULES)
    assert usual == limits
    assert [(one.limits[0].hard, one.limits[0].soft) for one in told] == [strict, plan_blanc, both]


def test_requests_are_left_alone_and_a_plan_raises_only_what_it_is_for() -> None:
    limits = LimitSet("ward", (Limit(Control.REQUESTS, 60, soft=30), Limit(Control.EXPORTS_24H, 20, soft=5)))
    _, strict, plan_blanc, both = states(limits, RULES)
    assert both == strict
    assert strict.limits == (Limit(Control.REQUESTS, 60, soft=30), Limit(Control.EXPORTS_24H, 10, soft=2))
    assert plan_blanc == limits


@pytest.mark.parametrize("pool", Pool)
def test_a_plan_makes_room_where_its_people_meet_and_never_at_the_sites_breaker(pool: Pool) -> None:
    control = Control(f"{pool.value}-patients-24h")
    bounds = LimitSet(pool.value, (Limit(control, 600, soft=450),))
    usual, strict, plan_blanc, both = (one.limits[0] for one in pool_states(pool, bounds, RULES))
    assert (usual.hard, strict.hard, strict.soft) == (600, 300, 225)
    assert (plan_blanc.hard, both.hard) == ((600, 300) if pool is Pool.SITE else (1_800, 600))


LIMITS = st.builds(
    LimitSet,
    name=st.just("random"),
    limits=st.lists(
        st.builds(
            Limit,
            st.sampled_from(list(Control)),
            st.integers(0, 3_000),
            st.sampled_from(list(Mode)),
            st.one_of(st.none(), st.integers(0, 3_000)),
        ),
        unique_by=lambda limit: limit.control,
        max_size=10,
    ).map(tuple),
)
ANY_RULES = st.builds(
    MeasureRules,
    st.builds(StrictRule, st.integers(1, 1_000)),
    st.builds(
        PlanBlancRule,
        st.integers(1_000, 10_000),
        st.frozensets(st.sampled_from(list(Control))),
        st.dictionaries(st.sampled_from(list(Control)), st.integers(1, 3_000)).map(
            lambda ceilings: tuple(ceilings.items())
        ),
    ),
)


def below(lower: LimitSet, upper: LimitSet) -> bool:
    """Tell whether nobody has more under *lower* than under *upper*, nor is asked later."""
    return all(
        a.hard <= b.hard and asks_at(a) <= asks_at(b) and (a.control, a.mode) == (b.control, b.mode)
        for a, b in zip(lower.limits, upper.limits, strict=True)
    )


@given(LIMITS, ANY_RULES)
def test_strict_never_raises_a_cap_and_a_plan_blanc_never_lowers_one(
    limits: LimitSet, rules: MeasureRules
) -> None:
    usual, strict, plan_blanc, both = states(limits, rules)
    assert usual == limits
    assert below(strict, usual)
    assert below(usual, plan_blanc)
    assert below(both, plan_blanc)
    assert below(strict, both)
    # Under the strict posture nobody has more than usual, whatever the plan.
    assert below(both, usual)


@given(LIMITS, ANY_RULES)
def test_no_plan_raises_above_its_ceiling(limits: LimitSet, rules: MeasureRules) -> None:
    ceilings = dict(rules.plan_blanc.ceilings)
    raised = held(limits, rules, strict=False, plan_blanc=True)
    for before, after in zip(limits.limits, raised.limits, strict=True):
        if after.hard != before.hard:
            assert after.control in rules.plan_blanc.raises
            assert after.hard <= ceilings[after.control]
        asked = before.soft is not None and before.soft < before.hard
        assert (after.soft is not None and after.soft < after.hard) == asked


@given(LIMITS, ANY_RULES)
def test_the_store_is_told_all_four_in_order(limits: LimitSet, rules: MeasureRules) -> None:
    assert encode_states(limits, rules).split("/") == [encode_limits(one) for one in states(limits, rules)]


def test_the_built_in_classes_stay_within_the_ceilings() -> None:
    rules = MeasureRules()
    ceilings = dict(rules.plan_blanc.ceilings)
    for limits in compile_classes({}).values():
        raised = held(limits, rules, strict=False, plan_blanc=True)
        for usual, limit in zip(limits.limits, raised.limits, strict=True):
            assert limit.hard <= max(usual.hard, ceilings.get(limit.control, 0))

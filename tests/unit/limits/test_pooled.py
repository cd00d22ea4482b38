"""What holds those who are counted together, by who asks."""

from gateway.configuration.classes import compile_classes
from gateway.configuration.pools import check_pools, compile_pools
from gateway.configuration.schema_pools import PoolsSpec
from gateway.limits.pooled import alike, pooled
from gateway.vocabulary.limits import POOLED_CONTROLS, WINDOW_S, Control, Limit, LimitSet, Mode, Pool, Pools

POOLS = compile_pools(PoolsSpec())
CLASSES = compile_classes({})


def bounds(limits: LimitSet, pool: Pool) -> dict[Control, Limit]:
    return {one.control: one for one in pooled(POOLS, limits)[pool].limits}


def test_fifteen_people_at_their_peak_are_not_even_asked_on_one_device() -> None:
    day = bounds(CLASSES["standard"], Pool.DEVICE)[Control.DEVICE_PATIENTS_24H]
    assert 15 * 30 <= (day.soft or 0) < day.hard == 600
    assert bounds(CLASSES["standard"], Pool.CLUSTER)[Control.CLUSTER_PATIENTS_24H].hard == 600


def test_a_class_that_sees_many_has_room_for_two_of_its_accounts() -> None:
    day = bounds(CLASSES["heavy"], Pool.CLUSTER)[Control.CLUSTER_PATIENTS_24H]
    assert (day.hard, day.soft) == (900, 675)
    written = Pools({Pool.SITE: (Limit(Control.SITE_PATIENTS_24H, 10),)})
    assert pooled(written, CLASSES["heavy"])[Pool.SITE].limits == (Limit(Control.SITE_PATIENTS_24H, 10),)


def test_a_class_that_is_only_observed_is_not_stopped_by_its_pools() -> None:
    watched = LimitSet("trial", tuple(Limit(c, 300, Mode.OBSERVE) for c in (Control.PATIENTS_24H,)))
    assert bounds(watched, Pool.DEVICE)[Control.DEVICE_PATIENTS_24H].mode is Mode.OBSERVE
    assert bounds(watched, Pool.DEVICE)[Control.DEVICE_PATIENTS_7D].mode is Mode.ENFORCE


def test_the_breakers_only_alarm_unless_told_otherwise() -> None:
    for pool in (Pool.ESTABLISHMENT, Pool.SITE):
        assert {one.mode for one in bounds(CLASSES["standard"], pool).values()} == {Mode.OBSERVE}
    told = compile_pools(PoolsSpec.model_validate({"site": {"mode": Mode.ENFORCE, "patients_24h": 9_000}}))
    assert Limit(Control.SITE_PATIENTS_24H, 9_000, Mode.ENFORCE) in told.limits[Pool.SITE]


def test_windows_are_those_of_the_account() -> None:
    assert all(WINDOW_S[one] == WINDOW_S[alike(one)] for one in POOLED_CONTROLS)
    assert alike(Control.ROWS_1H) is Control.ROWS_1H


def test_a_soft_bound_above_the_hard_one_is_a_fault_and_null_is_no_window() -> None:
    spec = PoolsSpec.model_validate({"device": {"patients_7d": None, "patients_1h": {"soft": 9, "hard": 5}}})
    [problem] = check_pools(spec)
    assert problem.at == ("pools", "device", "patients_1h", "soft")
    controls = [one.control for one in compile_pools(spec).limits[Pool.DEVICE]]
    assert Control.DEVICE_PATIENTS_7D not in controls

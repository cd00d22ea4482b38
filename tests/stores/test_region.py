"""The region in virtual time: what it meets is what the oracles say, and the same each time."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.configuration.load import load
from gateway.demo.configuration import REALM, write_configuration
from gateway.policy.policy import Realm
from gateway.vocabulary.limits import PATIENT_CONTROLS, Charge, Control, Pools
from gateway.vocabulary.signals import Act
from loadtest.region.days import member
from loadtest.region.gate import Account, Gate, Met, Page
from loadtest.region.honest import Staff, unit
from loadtest.region.profiles import Calendar
from loadtest.region.store import VirtualStore, a_store
from loadtest.region.thieves import BEGIN_US, FAST, Gang, Loot, Plan
from loadtest.region.watching import Watcher
from loadtest.region.world import DAY_S, HOUR_S, SECOND_US, START_US, World


@pytest.fixture(scope="module")
def running() -> Iterator[VirtualStore]:
    with tempfile.TemporaryDirectory(prefix="ecluse-region-") as name, a_store(Path(name)) as store:
        yield store


@pytest.fixture
def empty(running: VirtualStore) -> VirtualStore:
    running.empty()
    return running


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Realm:
    return load(write_configuration(tmp_path_factory.mktemp("c"), 8443, 8000)).policy.realms[REALM]


def rob(store: VirtualStore, realm: Realm, plan: Plan) -> Gang:
    gate, gang = Gate(World(store), realm), Gang(plan, 1)
    gang.begin(gate)
    gate.world.run()
    return gang


def gone(gang: Gang, seconds: int) -> int:
    return max(one.gone(BEGIN_US + seconds * SECOND_US) for one in gang.loot.values())


def test_a_fast_thief_meets_every_window_in_turn(empty: VirtualStore, realm: Realm) -> None:
    gang = rob(empty, realm, Plan("fast", accounts=2))
    # The account's owner saw a few patients in the week before, and they count.
    for seconds, cap in ((60, 60), (600, 80), (HOUR_S, 120), (DAY_S, 200), (7 * DAY_S, 400)):
        assert cap * 0.9 <= gone(gang, seconds) <= cap
    assert set(gang.loot["fast.0"].stops) == {one.value for one in (
        Control.PATIENTS_10MIN, Control.PATIENTS_1H, Control.PATIENTS_24H, Control.PATIENTS_7D)}  # fmt: skip
    assert all(360 <= loot.gone() <= 400 for loot in gang.loot.values())


def test_what_is_taken_together_is_taken_once(empty: VirtualStore, realm: Realm) -> None:
    gang = rob(empty, realm, Plan("in turn", turns=True, accounts=3))
    assert all(360 <= loot.gone() <= 400 for loot in gang.loot.values())
    assert gone(gang, 60) == 20


def test_one_relayed_code_opens_one_session(empty: VirtualStore, realm: Realm) -> None:
    gang = rob(empty, realm, Plan("relayed", codes=1, accounts=1))
    (loot,) = gang.loot.values()
    # The first soft bound asks for a code that nobody can relay any more.
    assert loot.stops == {"no code left": 1}
    assert loot.gone() == 40


def test_a_session_ends_on_the_virtual_clock(empty: VirtualStore, realm: Realm) -> None:
    gate, met = Gate(World(empty), realm), []
    account = Account("dr.martin", "standard", "590000001")
    gate.enrol(account)

    async def live() -> None:
        for at_s in (0, 60, 60 + realm.sessions.idle_s - 1, 60 + 2 * realm.sessions.idle_s):
            await gate.world.until(START_US + at_s * SECOND_US)
            met.append(await gate.ask(account, Page(Charge(opened=(member(1),)))))

    gate.world.begin(live(), START_US)
    gate.world.run()
    assert [one.challenged for one in met] == [True, False, False, True]
    assert all(one.passed for one in met)


def expected(region: Staff, limits: dict[str, dict[Control, int]]) -> set[tuple[str, int]]:
    """Return the professional-days on which a meter went over *limits*."""
    return {
        day
        for name, days in region.days.items()
        for day, peaks in days.peaks.items()
        if any(
            use > limits[region.profiles[name].account_class].get(one, 1 << 60) * unit(one)
            for one, use in peaks.items()
        )
    }


def tight(realm: Realm) -> Realm:
    """Return *realm* with half of every bound on patients: caps that honest people do meet."""
    classes = {
        name: replace(
            limits,
            limits=tuple(
                replace(one, hard=one.hard // 2, soft=one.soft // 2)
                if one.control in PATIENT_CONTROLS and one.soft is not None
                else one
                for one in limits.limits
            ),
        )
        for name, limits in realm.classes.items()
    }
    return replace(realm, classes=classes)


def test_the_region_meets_what_the_meters_say_and_the_same_each_time(
    empty: VirtualStore, realm: Realm
) -> None:
    found, realm = [], tight(realm)
    for _ in range(2):
        empty.empty()
        gate, region = Gate(World(empty), realm), Staff()
        region.employ(gate, 40, Calendar(3), 7)
        gate.world.run()
        found.append(region)
    region = found[0]
    assert [days.soft for days in region.days.values()] == [days.soft for days in found[1].days.values()]
    assert region.requests == found[1].requests
    asked = {
        name: {one.control: one.soft for one in limits.limits if one.soft is not None}
        for name, limits in realm.classes.items()
    }
    hard = {name: {one.control: one.hard for one in limits.limits} for name, limits in realm.classes.items()}
    stopped = {day for days in region.days.values() for day in days.hard}
    assert stopped == expected(region, hard)
    # Who was stopped has seen less than a meter without caps, so the soft days are compared among the others.
    people = {who for who, _ in stopped}
    soft = {day for days in region.days.values() for day in days.soft if day[0] not in people}
    assert soft == {day for day in expected(region, asked) if day[0] not in people}
    assert soft


def test_a_loot_knows_what_left_before_the_first_stop() -> None:
    loot = Loot()
    page = Page(Charge(opened=(member(1),)))
    for second in range(3):
        loot.note(page, Met(second * SECOND_US, passed=True))
    loot.note(page, Met(3 * SECOND_US, False, Control.PATIENTS_10MIN, 600))
    assert (loot.gone(loot.first_stop_us), loot.first_sign_us, loot.stops["patients-10min"]) == (
        3,
        3_000_000,
        1,
    )


def test_the_slow_drip_never_meets_the_short_windows(empty: VirtualStore, realm: Realm) -> None:
    """K02 A patient every 40 s: the day and the week stop it."""
    gang = rob(empty, realm, Plan("slow", pace_s=40, accounts=1))
    (loot,) = gang.loot.values()
    assert set(loot.stops) == {Control.PATIENTS_24H.value, Control.PATIENTS_7D.value}
    assert 360 <= loot.gone() <= 400
    assert FAST.pace_s < 40


def test_the_watcher_asks_and_then_locks(empty: VirtualStore, realm: Realm) -> None:
    gate, gang = Gate(World(empty, together_s=3_600.0), realm), Gang(FAST, 1)
    watcher = Watcher(gate)
    Staff(measured=False).employ(gate, 45, Calendar(3), 1)
    gang.begin(gate)
    gate.world.run()
    for name, loot in gang.loot.items():
        first = watcher.acted_since(name, BEGIN_US)
        assert first is not None
        assert first - BEGIN_US < 60 * SECOND_US
        assert loot.stops["account-locked"] == 1
        assert loot.gone() < 300
        assert [one.act for one in watcher.acts[name]] == [Act.ASK, Act.LOCK]


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Pools:
    return load(write_configuration(tmp_path_factory.mktemp("p"), 8443, 8000)).policy.pools


def taken(gang: Gang, seconds: int) -> int:
    return sum(one.gone(BEGIN_US + seconds * SECOND_US) for one in gang.loot.values())


def test_ten_accounts_on_one_device_take_six_hundred_in_a_day_and_not_two_thousand(
    empty: VirtualStore, realm: Realm, pools: Pools
) -> None:
    """No watcher: what the pools alone hold. A gang that nothing ties together takes ten times an account's cap."""
    found = []
    for one_device in (True, False):
        empty.empty()
        gate = Gate(World(empty), realm, pools)
        gang = Gang(Plan("gang", pace_s=20, one_device=one_device, days=1), 1)
        gang.begin(gate)
        gate.world.run()
        found.append(gang)
    tied, loose = found
    # What the owners saw in the week before counts in the cluster.
    assert 500 <= taken(tied, DAY_S) <= 600
    assert taken(loose, DAY_S) >= 1_900
    stops = {name for loot in tied.loot.values() for name in loot.stops}
    assert Control.CLUSTER_PATIENTS_24H.value in stops


def test_the_watcher_ends_such_a_gang_on_its_first_day(
    empty: VirtualStore, realm: Realm, pools: Pools
) -> None:
    """Ids over the whole base at random, every code given: without ties nothing ends them, with a device all do."""
    gate = Gate(World(empty), realm, pools)
    watcher = Watcher(gate)
    gang = Gang(Plan("shuffled", shuffled=True, one_device=True), 1)
    gang.begin(gate)
    gate.world.run()
    assert taken(gang, 7 * DAY_S) <= 600
    assert all(watcher.acts[name][-1].act is Act.LOCK for name in gang.loot)


def test_a_ward_at_its_peak_on_one_pc_is_never_asked_nor_stopped(
    empty: VirtualStore, realm: Realm, pools: Pools
) -> None:
    """Fifteen nurses, thirty patients each and none in common, one PC, one day: more than any ward has."""
    gate, met = Gate(World(empty), realm, pools), []
    Watcher(gate)

    async def work(account: Account, number: int) -> None:
        draw = Random(number)
        # A patient every quarter of an hour or so, as people work: a round, a pause, two at once.
        moments = sorted(8 * HOUR_S + round(8 * HOUR_S * draw.random()) for _ in range(30))
        hers = draw.sample(range(100_000 * number, 100_000 * (number + 1)), 30)
        for patient, second in zip(hers, moments, strict=True):
            await gate.world.until(START_US + second * SECOND_US)
            met.append(await gate.ask(account, Page(Charge(opened=(member(patient),)))))

    for number in range(15):
        nurse = Account(f"nurse{number}", "standard", "590000001", device="ward-pc")
        gate.enrol(nurse)
        gate.world.begin(work(nurse, number), START_US)
    gate.world.run()
    assert len(met) == empty.command("ZCARD", "ecluse:device:ward-pc:opened") == 450
    assert all(one.passed and not one.soft and not one.owed for one in met)

"""Logins with a device that is new: whose is told, whose is not, and that nobody is asked for that alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.detection import State, devices, sentence
from gateway.vocabulary.signals import Act, Rules, Signal, SignalMode
from gateway.watching.snapshot import FILE, Memory, Snapshot
from tests.unit.detection.days import CLERK_LEA, DR_MARTIN, HOME, NURSE_BEN, Region, at_ms, working_days

BEN, LEA, MARTIN = NURSE_BEN.login, CLERK_LEA.login, DR_MARTIN.login
HOSPITAL, OTHER = "590000001", "590000002"
WARD_PC, OWN, THIEFS = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "ffffffffffffffff"
PATIENTS = (11, 500, 70_000)


def shift(
    region: Region, login: str, device: str, day: int, where: str | None = HOSPITAL, **more: Any
) -> None:
    """Have somebody log in on the morning of *day* and read a few records."""
    region.log_in(login, device, at_ms(day, 9))
    for step, number in enumerate(PATIENTS):
        when_ms = at_ms(day, 9.1 + step / 4)
        region.open(login, number, when_ms, device=device, establishment=where, **more)


def at_work(login: str = MARTIN, device: str = OWN, days: int = 12, **more: Any) -> Region:
    region = Region(**more)
    for day in working_days(days):
        shift(region, login, device, day)
    return region


def test_a_new_device_of_somebody_who_has_a_usual_one_is_told_and_asks_nobody() -> None:
    region = at_work()
    assert region.signals() == []
    told = region.log_in(MARTIN, THIEFS, at_ms(21, 9))
    (found,) = told.findings
    assert (found.signal, found.account_class, found.establishment) == (
        Signal.NEW_DEVICE,
        "standard",
        HOSPITAL,
    )
    assert told.verdict is None
    assert sentence(found, "fr") == (
        "Connexion avec un appareil nouveau pour ce compte, "
        "qui en utilisait un connu pour 10 de ses 10 dernières connexions."
    )
    assert sentence(found, "en") == (
        "Login with a device new to this account, which used a known one for 10 of its last 10 logins."
    )


def test_a_new_device_is_new_once_and_the_usual_one_stays_usual() -> None:
    region = at_work()
    for day, device in ((21, THIEFS), (22, THIEFS), (23, OWN), (24, THIEFS)):
        region.log_in(MARTIN, device, at_ms(day, 9))
    assert region.signals() == [Signal.NEW_DEVICE]


def test_a_new_device_on_a_new_network_asks_nobody_since_a_code_was_just_given() -> None:
    region = at_work()
    region.log_in(MARTIN, THIEFS, at_ms(21, 9))
    region.open(MARTIN, 12, at_ms(21, 9.1), device=THIEFS, establishment=HOSPITAL, client=HOME)
    assert region.signals() == [Signal.NEW_DEVICE, Signal.NEW_NETWORK]
    assert region.acts(MARTIN) == []


def test_searches_from_a_new_device_are_asked_for_a_code_and_from_the_usual_one_are_not() -> None:
    for device, acts in ((THIEFS, [Act.ASK]), (OWN, [])):
        region = at_work()
        region.log_in(MARTIN, device, at_ms(21, 9))
        for attempt in range(60):
            region.show(MARTIN, [], at_ms(21, 9.1) + 20_000 * attempt)
        assert region.acts(MARTIN) == acts


def test_whose_browser_forgets_everything_each_night_is_left_in_peace() -> None:
    region = Region()
    for day in working_days(40):
        shift(region, LEA, f"{day:016x}", day)
    assert region.findings == []
    assert len(region.state.accounts[f"region/{LEA}"].logins.devices) == devices.MOST_DEVICES


@pytest.mark.parametrize(("forgetful", "told"), [(3, False), (2, True)])
def test_whose_logins_are_often_on_new_devices_has_no_usual_one(forgetful: int, told: bool) -> None:
    """Ten logins, the last some of them on devices never seen: with three there is no usual device left."""
    own = devices.Logins()
    for device in [OWN] * 11 + [f"{number:016x}" for number in range(forgetful)]:
        devices.judge(own, "parcours", device, shared=False, least=8)
    assert (devices.judge(own, "parcours", THIEFS, shared=False, least=8) is not None) is told


def test_an_account_of_few_logins_has_no_usual_device() -> None:
    own = devices.Logins()
    # The first of them was itself on a new one.
    for _ in range(8):
        devices.judge(own, "parcours", OWN, shared=False, least=8)
    assert devices.judge(own, "parcours", "1" * 16, shared=False, least=8) is None
    own = devices.Logins()
    for _ in range(9):
        devices.judge(own, "parcours", OWN, shared=False, least=8)
    assert devices.judge(own, "parcours", "1" * 16, shared=False, least=8) == (8, 9)


def test_another_app_opened_for_the_first_time_is_no_new_device() -> None:
    """Each app has a cookie of its own: the same browser is another device there."""
    region = at_work()
    region.log_in(MARTIN, "c" * 16, at_ms(21, 9), app="imagerie")
    assert region.signals() == []


# --- what the establishment works with ---


def test_a_nurse_who_sits_down_at_another_ward_pc_is_left_in_peace() -> None:
    region = at_work(LEA, WARD_PC, 3)
    for day in working_days(12):
        shift(region, BEN, OWN, day)
    region.log_in(BEN, WARD_PC, at_ms(21, 9))
    assert region.signals() == []


@pytest.mark.parametrize(
    ("days", "where", "told"),
    [(3, HOSPITAL, False), (2, HOSPITAL, True), (9, OTHER, True), (9, None, True)],
    ids=["three days", "two days", "another house", "nobody's"],
)
def test_a_device_is_the_establishments_after_three_days_of_work_there(
    days: int, where: str | None, told: bool
) -> None:
    region = at_work(BEN)
    for day in range(14, 14 + days):
        shift(region, LEA, WARD_PC, day, where)
    region.log_in(BEN, WARD_PC, at_ms(25, 9))
    assert (region.signals(BEN) == [Signal.NEW_DEVICE]) is told


def test_where_accounts_have_no_establishment_the_class_shares() -> None:
    region = Region()
    for day in working_days(12):
        shift(region, BEN, OWN, day, None)
        shift(region, LEA, WARD_PC, day, None)
        shift(region, MARTIN, "d" * 16, day, None, account_class="physician")
    region.log_in(BEN, WARD_PC, at_ms(21, 9))
    assert region.signals() == []
    region.log_in(BEN, "d" * 16, at_ms(21, 10))
    assert region.signals() == [Signal.NEW_DEVICE]


def test_a_thiefs_browser_is_told_for_each_account_of_its_first_days() -> None:
    """One browser behind ten stolen accounts of one house, all on one day: it is nobody's PC yet."""
    people = [f"agent{number}" for number in range(10)]
    region = Region()
    for day in working_days(10):
        for number, login in enumerate(people):
            shift(region, login, f"{number:016x}", day)
    for number, login in enumerate(people):
        region.log_in(login, THIEFS, at_ms(21, 9 + number / 10))
        region.open(login, 12, at_ms(21, 9.05 + number / 10), device=THIEFS, establishment=HOSPITAL)
    assert [each.account for each in region.findings if each.signal is Signal.NEW_DEVICE] == people


def test_the_day_that_runs_does_not_count_and_a_day_counts_once() -> None:
    shared: devices.Shared = {}
    for day in (1, 1, 1, 2, 2, 3):
        devices.note_work(shared, HOSPITAL, WARD_PC, day)
    assert shared == {f"{HOSPITAL}/{WARD_PC}": (3, 3)}
    assert not devices.is_shared(shared, HOSPITAL, WARD_PC, 3)
    assert devices.is_shared(shared, HOSPITAL, WARD_PC, 4)


# --- modes, memory ---


@pytest.mark.parametrize("mode", [SignalMode.OFF, SignalMode.OBSERVE])
def test_it_has_a_mode_of_its_own(mode: SignalMode) -> None:
    rules = Rules()
    rule = replace(rules.signals[Signal.NEW_DEVICE], mode=mode, weight=500)
    region = at_work(rules=replace(rules, signals={**rules.signals, Signal.NEW_DEVICE: rule}))
    told = region.log_in(MARTIN, THIEFS, at_ms(21, 9))
    assert [each.mode for each in told.findings] == ([] if mode is SignalMode.OFF else [mode])
    assert told.verdict is None


def test_it_never_asks_with_any_one_signal_of_the_ordinary_and_never_alone() -> None:
    rules = Rules()
    weight = rules.signals[Signal.NEW_DEVICE].weight
    assert 0 < weight < rules.ask_at
    for signal in (Signal.NEW_NETWORK, Signal.UNUSUAL_HOURS):
        assert weight + rules.signals[signal].weight < rules.ask_at


def test_what_is_remembered_is_bounded_and_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "MOST_SHARED", 50)
    own, shared = devices.Logins(), dict[str, tuple[int, int]]()
    for day in range(1, 300):
        devices.note_work(shared, HOSPITAL, WARD_PC, day)
        devices.note_work(shared, HOSPITAL, f"{day:016x}", day)
        devices.judge(own, f"app{day}", f"{day:016x}", shared=False, least=8)
        devices.judge(own, "parcours", OWN, shared=False, least=8)
    assert len(shared) == 50
    assert shared[f"{HOSPITAL}/{WARD_PC}"] == (299, 299)
    assert (len(own.devices), len(own.by_app)) == (devices.MOST_DEVICES, devices.MOST_APPS)
    assert own.devices[-1] == OWN
    assert own.by_app["parcours"] == "1" * devices.LOGINS


_LOGINS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60)


@given(_LOGINS, st.integers(1, 10))
def test_nothing_is_said_without_enough_known_logins(story: list[tuple[str, bool]], least: int) -> None:
    own, known = devices.Logins(), list[bool]()
    for device, shared in story:
        expected = shared or device in own.devices
        told = devices.judge(own, "parcours", device, shared=shared, least=least)
        usual = sum(known[-devices.LOGINS :])
        assert told == (None if expected or usual < least else (usual, min(len(known), devices.LOGINS)))
        known.append(expected)


def test_a_memory_written_before_devices_were_known_is_read_and_goes_on(tmp_path: Path) -> None:
    """What older versions wrote lacks the fields: everything else is kept, devices are learned from now on."""
    region, snapshot = at_work(), Snapshot(tmp_path)
    written = msgspec.msgpack.decode(msgspec.msgpack.encode(Memory({"gateway": (1, 2)}, region.state)))
    del written["state"]["shared"]
    for account in written["state"]["accounts"].values():
        for name in ("logins", "account_class", "establishment"):
            del account[name]
    (tmp_path / FILE).write_bytes(msgspec.msgpack.encode(written))
    memory = snapshot.load()
    kept = memory.state.accounts[f"region/{MARTIN}"]
    assert (memory.places, kept.days) == ({"gateway": (1, 2)}, 12)
    assert (kept.logins, memory.state.shared) == (devices.Logins(), {})
    region.state = memory.state
    for day in range(21, 31):
        shift(region, MARTIN, OWN, day)
    assert region.signals() == []
    region.log_in(MARTIN, THIEFS, at_ms(32, 9))
    assert region.signals() == [Signal.NEW_DEVICE]


def test_what_is_known_survives_being_written_down() -> None:
    region = at_work()
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(region.state), type=State)
    assert again == region.state
    assert again.shared


@pytest.mark.parametrize("detail", [None, {}, {"device": 7}, {"device": None}, "text"])
def test_a_login_that_names_no_device_is_passed_over(detail: object) -> None:
    region = at_work()
    before = region.state.accounts[f"region/{MARTIN}"].logins.devices.copy()
    told = region.watch(region.event("session-opened", MARTIN, at_ms(21, 9), detail=detail))
    assert told.findings == ()
    assert region.state.accounts[f"region/{MARTIN}"].logins.devices == before

"""People at work and thieves, watched: who is asked for a code, who is locked, who is left in peace."""

import random
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.detection import State, sentence
from gateway.detection.state import MOST_ACCOUNTS
from gateway.vocabulary.signals import Act, Finding, Rules, Signal, SignalMode, SignalRule
from tests.unit.detection.days import (
    CLERK_LEA,
    DR_MARTIN,
    HOME,
    HOUR_MS,
    INTRUDER,
    NURSE_BEN,
    Region,
    at_ms,
    honest_day,
    pseudonym,
    working_days,
)

THIEF = INTRUDER.login


def with_mode(mode: SignalMode, *signals: Signal) -> Rules:
    rules = Rules()
    changed = {each: replace(rules.signals[each], mode=mode) for each in signals or Signal}
    return replace(rules, signals={**rules.signals, **changed})


def at_work(
    people: int = 12, days: int = 15, rules: Rules | None = None, canaries: tuple[str, ...] = ()
) -> Region:
    """Return a region in which some people have worked for some days."""
    region = Region(rules, canaries)
    for day in working_days(days):
        for person in range(people):
            honest_day(region, f"agent{person}", day, seed=7)
    return region


@pytest.mark.parametrize(
    "numbers",
    [
        range(1001, 1100),
        range(1100, 1000, -1),
        range(1001, 1800, 7),
        random.Random(5).sample(range(1001, 1081), 80),
    ],
    ids=["ascending", "descending", "strided", "shuffled in a block"],
)
def test_whoever_walks_through_the_numbers_owes_a_code_before_the_thirtieth_patient(numbers: range) -> None:
    """L03"""
    region = Region()
    randomly = random.Random(3)
    when_ms = at_ms(0, 10)
    opened = 0
    for number in numbers:
        opened += 1
        when_ms += int(1_000 * randomly.lognormvariate(4, 1))
        if region.open(THIEF, number, when_ms).verdict is not None:
            break
    assert region.signals() == [Signal.ENUMERATION]
    assert region.acts(THIEF) == [Act.ASK]
    assert opened <= 30


def test_a_slow_drip_is_asked_for_a_code_on_its_first_day() -> None:
    """K02 A program that opens one patient every 40 s, give or take a third, at random."""
    region, randomly, when_ms = at_work(), random.Random(2), at_ms(21, 9)
    opened = 0
    while not region.acts(THIEF):
        opened += 1
        when_ms += int(randomly.uniform(27_000, 53_000))
        region.open(THIEF, randomly.randrange(400_000), when_ms)
    assert opened <= 25
    assert region.signals(THIEF) == [Signal.PACE]


def test_a_thief_who_gives_the_code_is_locked_once_the_signs_add_up() -> None:
    """A relayed code opens the way once: walking, paced and broad beyond the class, the account is locked."""
    region, when_ms, opened = at_work(), at_ms(21, 10), 0
    while Act.LOCK not in region.acts(THIEF):
        opened += 1
        when_ms += 10_000
        if region.open(THIEF, 5_000 + opened, when_ms).verdict is not None and region.acts(THIEF) == [
            Act.ASK
        ]:
            region.code(THIEF, when_ms + 20_000)
    assert region.acts(THIEF) == [Act.ASK, Act.LOCK]
    assert opened < 120
    assert set(region.verdicts[-1].signals) == {Signal.ENUMERATION, Signal.PACE, Signal.BREADTH}


def test_nobody_is_locked_who_was_not_asked_first() -> None:
    region, when_ms = at_work(), at_ms(21, 10)
    for opened in range(400):
        when_ms += 1_000
        region.open(THIEF, 5_000 + opened, when_ms)
    assert region.acts(THIEF) == [Act.ASK]


def test_a_code_settles_what_was_seen_for_an_hour() -> None:
    region, when_ms = Region(), at_ms(0, 10)
    desk = CLERK_LEA.login
    for number in range(60):
        when_ms += 90_000 + 40_000 * (number % 3)
        if region.open(desk, 7_000 + number, when_ms).verdict is not None:
            region.code(desk, when_ms + 30_000)
    # An admission desk that works through the day's files in their order, for some two hours.
    assert region.acts(desk) == [Act.ASK, Act.ASK]


def test_a_debt_that_nobody_pays_is_asked_for_again_when_it_is_over() -> None:
    region, when_ms = Region(), at_ms(0, 10)
    for number in range(30):
        when_ms += 400_000
        region.open(THIEF, 7_000 + number, when_ms)
    assert region.acts(THIEF) == [Act.ASK] * 3


def test_a_new_network_at_night_is_asked_for_a_code() -> None:
    """L04 Neither alone asks for anything; both together do, and say so."""
    region = at_work(people=20)
    region.open("agent1", 3, at_ms(21, 11), client=HOME)
    assert (region.signals("agent1"), region.acts("agent1")) == ([Signal.NEW_NETWORK], [])
    region.open("agent2", 3, at_ms(22, 3))
    assert (region.signals("agent2"), region.acts("agent2")) == ([Signal.UNUSUAL_HOURS], [])
    region.open("agent3", 3, at_ms(22, 3.1), client=HOME)
    assert region.signals("agent3") == [Signal.NEW_NETWORK, Signal.UNUSUAL_HOURS]
    assert region.acts("agent3") == [Act.ASK]


def test_three_hundred_behind_one_address_are_left_in_peace() -> None:
    """L05"""
    region = Region()
    for day in working_days(3):
        for person in range(300):
            honest_day(region, f"agent{person}", day, seed=11)
    assert region.verdicts == []
    assert len(region.findings) == 0


def test_honest_weeks_ask_nobody_for_a_code() -> None:
    region = at_work(people=15, days=40)
    assert region.verdicts == []
    assert len(region.findings) < 5


def test_names_typed_into_the_search_are_told() -> None:
    region, when_ms = Region(), at_ms(0, 10)
    for attempt in range(60):
        when_ms += 20_000
        region.show(THIEF, [attempt] if attempt % 3 == 0 else [], when_ms)
    assert region.signals() == [Signal.SEARCHES]
    assert region.acts(THIEF) == []


def test_whoever_trains_slowly_is_held_against_the_class_all_the_same() -> None:
    """L08 Two thieves who see ten patients more each day never make it usual; and no verdict raises anything."""
    region = at_work(people=15, days=12)
    for step, day in enumerate(day for day in range(17, 45) if day % 7 < 5):
        for person in range(15):
            honest_day(region, f"agent{person}", day, seed=7)
        for thief in ("thief1", "thief2"):
            honest_day(region, thief, day, seed=8, patients=10 + 10 * step)
    broad = [each for each in region.findings if each.signal is Signal.BREADTH]
    assert {each.account for each in broad} == {"thief1", "thief2"}
    assert min(dict(each.figures)["patients"] for each in broad) < 100
    assert {each.act for each in region.verdicts} <= {Act.ASK, Act.LOCK}


# --- decoys ---

DECOY = 999_001


@pytest.mark.parametrize(
    ("kind", "opened", "caught"), [("record", True, True), ("export", False, True), ("listing", False, False)]
)
def test_a_decoy_locks_who_opens_or_exports_it_and_nobody_who_sees_it_listed(
    kind: str, opened: bool, caught: bool
) -> None:
    """L01"""
    region = Region(canaries=[pseudonym(DECOY)])
    login = DR_MARTIN.login
    if opened:
        told = region.open(login, DECOY, at_ms(0, 10))
    else:
        told = region.show(login, [1, DECOY, 2], at_ms(0, 10), kind=kind)
    assert region.acts(login) == ([Act.LOCK] if caught else [])
    assert [each.signal for each in told.findings] == ([Signal.CANARY] if caught else [])


def test_a_decoy_locks_again_after_the_account_was_unlocked() -> None:
    region = Region(canaries=[pseudonym(DECOY)])
    for minute in range(3):
        region.open(THIEF, DECOY, at_ms(0, 10) + 60_000 * minute)
    assert region.acts(THIEF) == [Act.LOCK] * 3


def test_an_observed_decoy_is_told_and_locks_nobody() -> None:
    region = Region(with_mode(SignalMode.OBSERVE, Signal.CANARY), [pseudonym(DECOY)])
    region.open(THIEF, DECOY, at_ms(0, 10))
    assert (region.signals(), region.verdicts) == ([Signal.CANARY], [])
    assert region.findings[0].mode is SignalMode.OBSERVE


# --- modes, pauses, memory ---


def raid(region: Region, count: int = 60) -> None:
    for number in range(count):
        region.open(THIEF, 1_001 + number, at_ms(0, 10) + 2_000 * number)


def test_observed_signals_are_told_and_do_nothing() -> None:
    region = Region(with_mode(SignalMode.OBSERVE))
    raid(region)
    assert region.signals() == [Signal.ENUMERATION, Signal.PACE]
    assert region.verdicts == []


def test_signals_that_are_off_say_nothing() -> None:
    region = Region(with_mode(SignalMode.OFF), [pseudonym(1_001)])
    raid(region)
    assert (region.findings, region.verdicts) == ([], [])


def test_what_happened_during_a_pause_is_learned_and_not_acted_on_but_for_decoys() -> None:
    region = Region(canaries=[pseudonym(DECOY)])
    region.late_ms = HOUR_MS
    raid(region)
    assert (region.findings, region.verdicts) == ([], [])
    assert len(region.state.accounts[f"region/{THIEF}"].opened.known) == 60 * 4
    region.open(THIEF, DECOY, at_ms(0, 10.1))
    assert region.acts(THIEF) == [Act.LOCK]


def test_after_a_pause_what_lasts_still_counts() -> None:
    region = Region()
    region.late_ms = 400_000
    raid(region)
    assert region.verdicts == []
    region.late_ms = 0
    region.open(THIEF, 400_000, at_ms(0, 10.1))
    assert region.acts(THIEF) == [Act.ASK]


def test_a_watch_that_is_written_down_and_read_back_goes_on_as_if_nothing_had_happened() -> None:
    straight, broken = at_work(people=4, days=6), at_work(people=4, days=6)
    broken.state = msgspec.msgpack.decode(msgspec.msgpack.encode(broken.state), type=State)
    for region in (straight, broken):
        raid(region)
        honest_day(region, "agent1", 8, seed=1)
    assert broken.findings == straight.findings
    assert broken.verdicts == straight.verdicts
    assert broken.state == straight.state
    assert list(broken.state.accounts) == list(straight.state.accounts)


def test_accounts_are_bounded_and_the_oldest_goes_first() -> None:
    region = Region()
    for number in range(MOST_ACCOUNTS + 5):
        region.state.account("region", f"agent{number}")
        region.state.account("region", NURSE_BEN.login)
    assert len(region.state.accounts) == MOST_ACCOUNTS
    assert f"region/{NURSE_BEN.login}" in region.state.accounts
    assert "region/agent0" not in region.state.accounts


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"kind": "access"},
        {"kind": "access", "realm": "region", "account": "a", "at_ms": "soon"},
        {"kind": "access", "realm": "region", "account": None, "at_ms": 1},
        {"kind": "started", "at_ms": 1},
        {"kind": "of-another-version", "realm": "region", "account": "a", "at_ms": 1},
        {"kind": "access", "realm": "region", "account": "a", "at_ms": 1, "detail": {"walked": "many"}},
        {
            "kind": "access",
            "realm": "region",
            "account": "a",
            "at_ms": 1,
            "client": "nowhere",
            "patients": None,
        },
    ],
)
def test_entries_about_nobody_or_of_other_versions_are_passed_over(event: dict[str, object]) -> None:
    region = Region()
    region.watch({"at_ms": 1, **event} if "at_ms" not in event else event) if event.get(
        "at_ms"
    ) != "soon" else None
    assert (region.findings, region.verdicts) == ([], [])


events = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["open", "list", "search", "code"]),
    st.integers(0, 300),
    st.integers(0, 4_000_000),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=120), st.integers(1, 200), st.integers(1, 300))
def test_a_lock_follows_a_code_that_was_asked_for_and_given(
    story: list[tuple[str, str, int, int]], ask_at: int, lock_at: int
) -> None:
    """Whatever happens, and with whatever scores: first a code is asked for, then it is given, then perhaps a lock."""
    region = Region(
        replace(Rules(), ask_at=ask_at, lock_at=max(ask_at, lock_at), searches_1h=3, paced_patients=3)
    )
    when_ms, asked, given = at_ms(0, 8), set(), set()
    for login, what, number, wait_ms in story:
        when_ms += wait_ms
        if what == "code":
            region.code(login, when_ms)
            if login in asked:
                given.add(login)
            continue
        if what == "open":
            told = region.open(login, number, when_ms)
        else:
            told = region.show(login, [number] if what == "search" else range(number, number + 9), when_ms)
        if told.verdict is None:
            continue
        assert told.verdict.account == login
        if told.verdict.act is Act.ASK:
            assert told.verdict.score >= ask_at
            asked.add(login)
        else:
            assert told.verdict.score >= lock_at
            assert login in given


# --- sentences ---

FIGURES: dict[Signal, dict[str, int]] = {
    Signal.ENUMERATION: {"patients": 12},
    Signal.PACE: {"patients": 20, "mean_ms": 2_100, "spread": 60, "regular": 0},
    Signal.SEARCHES: {"searches": 60},
    Signal.BREADTH: {"patients": 88, "usual": 11},
    Signal.NEW_NETWORK: {"days": 15, "networks": 2},
    Signal.NEW_DEVICE: {"known": 9, "logins": 10},
    Signal.UNUSUAL_HOURS: {"hour": 3, "days": 15},
    Signal.POOLED: {"cluster": 1, "minutes": 1_440},
    Signal.CANARY: {"exported": 0},
}


@pytest.mark.parametrize("signal", Signal)
def test_each_signal_explains_itself_in_one_sentence_in_both_languages(signal: Signal) -> None:
    found = Finding(
        signal, SignalMode.ACT, "region", THIEF, 1, "gateway:7", tuple(FIGURES[signal].items()), "standard"
    )
    french, english = sentence(found, "fr"), sentence(found, "en")
    for text in (french, english):
        assert text.endswith(".")
        assert text.count(". ") == 0
        assert THIEF not in text
    assert french != english


def test_sentences_are_those_of_what_really_fires() -> None:
    region = at_work(people=20, canaries=(pseudonym(DECOY),))
    raid(region)
    region.open("agent3", DECOY, at_ms(22, 3.1), client=HOME)
    told = [sentence(each, "en") for each in region.findings]
    assert told == [
        "8 records that this account had never opened were opened along their numbers.",
        "20 records opened faster than they can be read: one every 2.0 s.",
        "Access from a network new to this account, which used 1 in 15 days of work.",
        "Access at about 3:00, when neither this account in 15 days nor its class works.",
        "A decoy was opened.",
    ]


def test_every_rule_weighs_less_than_a_lock_alone_and_decoys_need_no_weight() -> None:
    rules = Rules()
    assert set(rules.signals) == set(Signal)
    assert rules.signals[Signal.CANARY] == SignalRule(SignalMode.ACT, 0, 0)
    assert all(rule.weight < rules.lock_at for rule in rules.signals.values())

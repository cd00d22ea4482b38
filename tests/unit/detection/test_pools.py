"""What is told when those who share something have seen together all that they may."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.detection import State, breakers, observe, sentence
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import POOL_CONTROLS, Control, Pool
from gateway.vocabulary.signals import Act, Rules, Signal, SignalMode, SignalRule
from tests.people import DR_MARTIN

NOW_MS = 1_790_000_000_000
RULES = Rules()


def event(kind: EventKind, control: Control, at_ms: int = NOW_MS, **more: Any) -> dict[str, Any]:
    about = {
        "realm": "region",
        "account": DR_MARTIN.login,
        "account_class": "standard",
        "establishment": "590000001",
    }
    return (
        {"kind": kind.value, "control": control.value, "at_ms": at_ms, "writer": "gateway", "seq": 7}
        | about
        | more
    )


def test_whoever_meets_the_bound_of_a_device_owes_a_code_and_is_never_locked_for_that_alone() -> None:
    state, acts = State(), []
    for minute in range(0, 600, 10):
        at_ms = NOW_MS + minute * 60_000
        met = event(EventKind.WITHHELD, Control.DEVICE_PATIENTS_24H, at_ms, reason="cap")
        told = observe(state, met, RULES, now_ms=at_ms)
        if told.verdict is not None:
            acts.append(told.verdict.act)
            given = {**met, "kind": EventKind.STEP_UP_GIVEN.value, "at_ms": at_ms + 1}
            observe(state, given, RULES, now_ms=at_ms + 1)
    assert set(acts) == {Act.ASK}


def test_a_thief_who_gives_every_code_and_goes_on_like_a_program_is_locked() -> None:
    state = State()
    rules = replace(RULES, signals={**RULES.signals, Signal.PACE: SignalRule(SignalMode.ACT, 60, 3_600)})
    met = event(EventKind.WITHHELD, Control.CLUSTER_PATIENTS_24H, reason="cap")
    told = observe(state, met, rules, now_ms=NOW_MS)
    assert told.verdict is not None
    assert told.verdict.signals == (Signal.POOLED,)
    observe(state, {**met, "kind": "step-up-given", "at_ms": NOW_MS + 1}, rules, now_ms=NOW_MS + 1)
    acts = []
    for number in range(30):
        at_ms = NOW_MS + 1_000 * (number + 2)
        opened = event(EventKind.ACCESS, Control.REQUESTS, at_ms, opened=True, patients=[f"k1:{number:032x}"])
        told = observe(state, opened, rules, now_ms=at_ms)
        acts += [told.verdict.act] if told.verdict else []
    told = observe(state, met | {"at_ms": NOW_MS + 40_000}, rules, now_ms=NOW_MS + 40_000)
    assert told.verdict is not None
    assert (told.verdict.act, told.verdict.score) == (Act.LOCK, 160)


@pytest.mark.parametrize("control", [*POOL_CONTROLS[Pool.DEVICE], *POOL_CONTROLS[Pool.CLUSTER]])
def test_it_is_told_in_one_sentence_of_each_language(control: Control) -> None:
    [finding] = observe(
        State(), event(EventKind.WITHHELD, control, reason="cap"), RULES, now_ms=NOW_MS
    ).findings
    for language in ("fr", "en"):
        said = sentence(finding, language)
        assert said.endswith("minutes.")
        assert DR_MARTIN.login not in said


@pytest.mark.parametrize(
    ("kind", "control", "rule", "words"),
    [
        (EventKind.NEAR_LIMIT, Control.SITE_PATIENTS_24H, "site-patients-24h-near", "comes near"),
        (EventKind.WOULD, Control.SITE_PATIENTS_1H, "site-patients-1h", "is over"),
        (EventKind.WITHHELD, Control.SITE_PATIENTS_24H, "site-patients-24h", "Answers are withheld"),
        (EventKind.WOULD, Control.ESTABLISHMENT_PATIENTS_24H, "establishment-patients-24h", "590000001 is over"),
    ],
)  # fmt: skip
def test_a_breaker_alarms_near_and_over_and_names_nobody(
    kind: EventKind, control: Control, rule: str, words: str
) -> None:
    alert = breakers.judge(event(kind, control), now_ms=NOW_MS, act_within_s=300)
    assert alert is not None
    assert (alert.rule, alert.account, alert.done) == (rule, "", "")
    assert words in alert.english
    assert alert.establishment == ("590000001" if control.value.startswith("establishment") else "")
    assert DR_MARTIN.login not in alert.french + alert.english


def test_no_alarm_for_other_controls_and_long_ago() -> None:
    near = event(EventKind.NEAR_LIMIT, Control.DEVICE_PATIENTS_24H)
    assert breakers.judge(near, now_ms=NOW_MS, act_within_s=300) is None
    old = event(EventKind.WOULD, Control.SITE_PATIENTS_24H, NOW_MS - 301_000)
    assert breakers.judge(old, now_ms=NOW_MS, act_within_s=300) is None

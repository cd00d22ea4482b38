"""One entry of the log after the other: learned from, judged, weighed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from gateway.detection import breadth, devices, enumeration, hours, networks, pace, score, searches
from gateway.detection.seen import Seen, read
from gateway.detection.state import AccountState, State
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import POOL_CONTROLS, WINDOW_S, Control, Pool
from gateway.vocabulary.signals import Act, Finding, Rules, Signal, SignalMode, Verdict

Figures = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry made known: signals that fired, and what is to be done now."""

    findings: tuple[Finding, ...] = ()
    verdict: Verdict | None = None


NOTHING = Told()
_JUDGED = frozenset({EventKind.ACCESS, EventKind.SESSION_OPENED})
_ANSWERS = frozenset({EventKind.CODE_ACCEPTED, EventKind.STEP_UP_GIVEN})


def observe(
    state: State,
    event: Mapping[str, Any],
    rules: Rules,
    *,
    now_ms: int,
    zone: tzinfo = UTC,
    canaries: Collection[str] = (),
) -> Told:
    """Learn from *event*, a decoded entry with its writer, and return what it made known. Changes *state* alone.

    *canaries* are the pseudonyms of decoys, *zone* is where hours are local. An entry that is old at *now_ms*
    teaches and leads to nothing, unless it opened a decoy.
    """
    seen = read(event)
    if seen is None:
        return NOTHING
    if seen.kind in _ANSWERS:
        score.answer(state.account(seen.realm, seen.account).standing, seen.at_ms)
        return NOTHING
    if seen.kind not in _JUDGED and seen.pool is None:
        return NOTHING
    account = state.account(seen.realm, seen.account)
    if seen.pool is not None:
        found = _pooled(seen.pool)
    elif seen.kind == EventKind.SESSION_OPENED:
        seen = replace(seen, account_class=account.account_class, establishment=account.establishment)
        found = _logged_in(state, account, seen, rules, zone)
    else:
        found = _judge(state, account, seen, rules, zone, canaries)
    fired = [
        (signal, figures)
        for signal, figures in found
        if rules.signals[signal].mode is not SignalMode.OFF
        and score.fire(account.standing, signal, seen.at_ms, rules)
    ]
    caught = any(signal is Signal.CANARY for signal, _ in fired)
    if not caught and now_ms - seen.at_ms > 1_000 * rules.act_within_s:
        return NOTHING
    findings = tuple(_finding(seen, signal, figures, rules) for signal, figures in fired)
    if caught and rules.signals[Signal.CANARY].mode is SignalMode.ACT:
        total, counting = score.weigh(account.standing, seen.at_ms, rules)
        signals = (Signal.CANARY, *counting)
        return Told(findings, Verdict(Act.LOCK, seen.realm, seen.account, seen.at_ms, total, signals))
    total, counting = score.weigh(account.standing, seen.at_ms, rules)
    act = score.decide(account.standing, total, seen.at_ms, rules)
    if act is None:
        return Told(findings)
    return Told(findings, Verdict(act, seen.realm, seen.account, seen.at_ms, total, counting))


def _pooled(control: Control) -> list[tuple[Signal, Figures]]:
    figures = (("cluster", int(control in POOL_CONTROLS[Pool.CLUSTER])), ("minutes", WINDOW_S[control] // 60))
    return [(Signal.POOLED, figures)]


def _logged_in(
    state: State, account: AccountState, seen: Seen, rules: Rules, zone: tzinfo
) -> list[tuple[Signal, Figures]]:
    if seen.device is None:
        return []
    shared = devices.is_shared(state.shared, _at_work(seen), seen.device, _local(seen, zone).toordinal())
    told = devices.judge(account.logins, seen.app, seen.device, shared=shared, least=rules.known_logins)
    return [] if told is None else [(Signal.NEW_DEVICE, (("known", told[0]), ("logins", told[1])))]


def _local(seen: Seen, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(seen.at_ms / 1_000, zone)


def _at_work(seen: Seen) -> str:
    """Return who shares devices: an establishment, or a class where accounts have none."""
    return f"{seen.realm}/{seen.establishment or seen.account_class}"


def _judge(
    state: State,
    account: AccountState,
    seen: Seen,
    rules: Rules,
    zone: tzinfo,
    canaries: Collection[str],
) -> list[tuple[Signal, Figures]]:
    peers = state.of_class(seen.realm, seen.account_class)
    local = _local(seen, zone)
    account.account_class, account.establishment = seen.account_class, seen.establishment
    if seen.device is not None:
        devices.note_work(state.shared, _at_work(seen), seen.device, local.toordinal())
    if local.toordinal() > account.day:
        if account.today.breadth:
            peers.peers.add(account.today.breadth)
        account.day, account.days, account.today = local.toordinal(), account.days + 1, breadth.Today()
    # The day that runs is no experience yet.
    worked = account.days - 1
    found: list[tuple[Signal, Figures]] = []
    if networks.judge(account.networks, seen.client, worked):
        found.append((Signal.NEW_NETWORK, (("days", worked), ("networks", len(account.networks) - 1))))
    if hours.judge(account.hours, peers.hours, local, worked):
        found.append((Signal.UNUSUAL_HOURS, (("hour", local.hour), ("days", worked))))
    if seen.is_search and (count := searches.judge(account.searched, seen.at_ms, rules.searches_1h)):
        found.append((Signal.SEARCHES, (("searches", count),)))
    if seen.opened:
        found += _opened(account, seen, rules)
    above = breadth.judge(
        account.today,
        seen.members,
        peers.peers,
        opened=seen.opened,
        times=rules.breadth_times,
        least=rules.breadth_least,
    )
    if above is not None:
        found.append((Signal.BREADTH, (("patients", above[0]), ("usual", above[1]))))
    if seen.takes_out and canaries and any(pseudonym in canaries for pseudonym in seen.patients):
        found.append((Signal.CANARY, (("exported", int(not seen.opened)),)))
    return found


def _opened(account: AccountState, seen: Seen, rules: Rules) -> list[tuple[Signal, Figures]]:
    found: list[tuple[Signal, Figures]] = []
    for member in seen.members:
        if count := enumeration.judge(account.opened, member, seen.walked, rules.walk_patients):
            found.append((Signal.ENUMERATION, (("patients", count),)))
        paced = pace.judge(
            account.paced,
            member,
            seen.at_ms,
            patients=rules.paced_patients,
            fast_ms=rules.fast_ms,
            regular_percent=rules.regular_percent,
        )
        if paced is not None:
            found.append((Signal.PACE, paced))
    return found


def _finding(seen: Seen, signal: Signal, figures: Figures, rules: Rules) -> Finding:
    return Finding(
        signal=signal,
        mode=rules.signals[signal].mode,
        realm=seen.realm,
        account=seen.account,
        at_ms=seen.at_ms,
        event=seen.event,
        figures=figures,
        account_class=seen.account_class or None,
        establishment=seen.establishment,
    )

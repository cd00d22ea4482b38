"""From the words about signals to the rules that the watcher applies. Pure."""

from collections.abc import Iterator

from gateway.configuration.faults import Problem
from gateway.configuration.schema_signals import SignalSpec, SignalsSpec
from gateway.vocabulary.signals import Rules, Signal, SignalRule


def check_signals(spec: SignalsSpec) -> Iterator[Problem]:
    """Yield the faults of what is said about signals."""
    if spec.lock_at < spec.ask_at:
        yield Problem(
            ("signals", "lock_at"),
            "an account would be locked at a score at which it is not even asked for a code",
            "make it more than ask_at",
        )


def compile_signals(spec: SignalsSpec) -> Rules:
    """Return the rules of *spec*."""
    written: dict[Signal, SignalSpec] = {
        Signal.ENUMERATION: spec.enumeration,
        Signal.PACE: spec.pace,
        Signal.SEARCHES: spec.searches,
        Signal.BREADTH: spec.breadth,
        Signal.NEW_NETWORK: spec.new_network,
        Signal.NEW_DEVICE: spec.new_device,
        Signal.UNUSUAL_HOURS: spec.unusual_hours,
        Signal.POOLED: spec.pooled,
    }
    signals = {signal: SignalRule(one.mode, one.weight, one.lasts_s) for signal, one in written.items()}
    signals[Signal.CANARY] = SignalRule(spec.canary.mode, 0, 0)
    return Rules(
        signals={**Rules().signals, **signals},
        timezone=spec.timezone,
        ask_at=spec.ask_at,
        lock_at=spec.lock_at,
        ask_for_s=spec.ask_for_s,
        settled_s=spec.settled_s,
        walk_patients=spec.enumeration.patients,
        paced_patients=spec.pace.patients,
        fast_ms=spec.pace.fast_ms,
        regular_percent=spec.pace.regular_percent,
        searches_1h=spec.searches.per_hour,
        breadth_times=spec.breadth.times,
        breadth_least=spec.breadth.at_least,
        known_logins=spec.new_device.known_logins,
    )

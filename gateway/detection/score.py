"""From signals to what is done: a code is asked for before anything harder, and one that was given is believed once."""

import msgspec

from gateway.vocabulary.signals import Act, Rules, Signal, SignalMode

ANSWER_COUNTS_MS = 86_400_000
"""For a day after a code was given, the same again leads further."""


class Standing(msgspec.Struct):
    """Which signals last until when; when a code was asked for and is not yet given (0: none is); when one was."""

    lasting: dict[str, int] = {}
    asked_ms: int = 0
    answered_ms: int = 0


def fire(state: Standing, signal: Signal, at_ms: int, rules: Rules) -> bool:
    """Note that *signal* fired; tell whether it did not last already."""
    fresh = state.lasting.get(signal, 0) <= at_ms
    until_ms = at_ms + 1_000 * rules.signals[signal].lasts_s
    state.lasting = {**state.lasting, signal.value: max(until_ms, state.lasting.get(signal, 0))}
    return fresh


def answer(state: Standing, at_ms: int) -> None:
    """Note that a fresh code was given: what was seen before is settled."""
    if state.asked_ms and at_ms > state.asked_ms:
        state.asked_ms, state.answered_ms, state.lasting = 0, at_ms, {}


def weigh(state: Standing, at_ms: int, rules: Rules) -> tuple[int, tuple[Signal, ...]]:
    """Return the score at *at_ms* and the signals that make it, the heaviest first. Observed ones weigh nothing."""
    state.lasting = {name: until for name, until in state.lasting.items() if until > at_ms}
    counting = [
        signal
        for signal in Signal
        if signal in state.lasting
        and rules.signals[signal].mode is SignalMode.ACT
        and rules.signals[signal].weight
    ]
    counting.sort(key=lambda signal: -rules.signals[signal].weight)
    return sum(rules.signals[signal].weight for signal in counting), tuple(counting)


def decide(state: Standing, score: int, at_ms: int, rules: Rules) -> Act | None:
    """Return what *score* leads to, and note it. A lock only ever follows a code that was asked for and given."""
    if state.asked_ms and at_ms < state.asked_ms + 1_000 * rules.ask_for_s:
        return None
    since_ms = at_ms - state.answered_ms
    if state.answered_ms and since_ms < ANSWER_COUNTS_MS and score >= rules.lock_at:
        return Act.LOCK
    if score < rules.ask_at or (state.answered_ms and since_ms < 1_000 * rules.settled_s):
        return None
    state.asked_ms = at_ms
    return Act.ASK

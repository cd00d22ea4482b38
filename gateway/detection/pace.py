"""Records opened faster than they are read, or as regularly as no person opens them.

Whoever reads needs a quarter of a minute at least, and now four seconds, now four minutes: the spread of the
distances is about as large as their mean. A program that waits 40 s, give or take a third, spreads by a fifth.
"""

from statistics import fmean, pstdev

import msgspec

BREAK_MS = 1_800_000
"""After half an hour without a new patient it is counted anew."""


class Paced(msgspec.Struct):
    """The last patients, when the last of them was opened, and the distances before, in milliseconds."""

    recent: list[int] = []
    at_ms: int = 0
    gaps_ms: list[int] = []


def judge(
    state: Paced, member: int, at_ms: int, *, patients: int, fast_ms: int, regular_percent: int
) -> tuple[tuple[str, int], ...] | None:
    """Note that *member* was opened at *at_ms*; return the figures when the last *patients* distances are no person's.

    Two pages that refresh themselves are no haste: a patient among the last *patients* counts for nothing.
    Figures: how many, their mean distance in ms, and the spread in per cent of it; ``regular`` is 1 when it is
    the spread that tells.
    """
    if member in state.recent:
        return None
    gap_ms, first = max(0, at_ms - state.at_ms), not state.recent
    state.recent, state.at_ms = [*state.recent[1 - patients :], member], at_ms
    if first or gap_ms > BREAK_MS:
        state.gaps_ms = []
        return None
    state.gaps_ms = [*state.gaps_ms[1 - patients :], gap_ms]
    if len(state.gaps_ms) < patients:
        return None
    # The mean, since somebody who opens five tabs of a list at once then reads for minutes.
    mean = fmean(state.gaps_ms)
    spread = round(100 * pstdev(state.gaps_ms) / mean) if mean else 0
    if mean >= fast_ms and spread >= regular_percent:
        return None
    fast = mean < fast_ms
    return ("patients", patients), ("mean_ms", round(mean)), ("spread", spread), ("regular", int(not fast))

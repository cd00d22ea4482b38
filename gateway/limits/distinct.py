"""Distinct patients: exact counts over rolling windows, from when each was last seen and last opened.

Times are whole milliseconds; weights are thousandths of an opened patient. A patient who was opened inside
the window weighs 1000, one who was only listed weighs the listed weight, and seeing either again is free.
"""

from collections.abc import Collection, Mapping

from gateway.limits.measured import Measured

OPENED_MILLI = 1000


def measure(
    seen: Mapping[bytes, int],
    last_opened: Mapping[bytes, int],
    now_ms: int,
    window_ms: int,
    opened: Collection[bytes],
    listed: Collection[bytes],
    *,
    listed_weight_milli: int,
    hard: int,
    soft: int | None = None,
) -> Measured:
    """Measure a response that opens *opened* and lists *listed* against *hard* patients per window.

    *seen* and *last_opened* map patients to the last time they were seen in any way, or opened; the
    second is a subset of the first. The unit is thousandths of a patient.
    """
    since = now_ms - window_ms
    had = {member for member, at_ms in seen.items() if at_ms > since}
    had_opened = {member for member, at_ms in last_opened.items() if at_ms > since}
    before = weigh_milli(len(had), len(had_opened), listed_weight_milli)
    after = weigh_milli(len(had.union(opened, listed)), len(had_opened.union(opened)), listed_weight_milli)
    bound = hard * OPENED_MILLI
    asks = bound if soft is None else min(soft, hard) * OPENED_MILLI
    if after <= bound:
        return Measured(before, after, bound, 0, asks)
    going = [(seen[member], listed_weight_milli) for member in had.difference(opened, listed)]
    going += [
        (last_opened[member], OPENED_MILLI - listed_weight_milli) for member in had_opened.difference(opened)
    ]
    # Nothing of the charge itself may be counted on to be still known then, so all of it is paid anew.
    left = after
    for at_ms, weight in sorted(going):
        left -= weight
        if left <= bound:
            return Measured(before, after, bound, (at_ms + window_ms - now_ms) * 1000, asks)
    return Measured(before, after, bound, window_ms * 1000, asks)


def noted_ms(now_ms: int) -> int:
    """Return the time under which somebody seen at *now_ms* is noted: the whole second after it, so that nobody is
    forgotten too soon, and seeing the same patient again within it has nothing to write."""
    return -(-now_ms // 1000) * 1000


def weigh_milli(patients: int, opened: int, listed_weight_milli: int) -> int:
    """Return what *patients* weigh of whom *opened* were opened, in thousandths of an opened one."""
    return listed_weight_milli * patients + (OPENED_MILLI - listed_weight_milli) * opened

"""At an hour at which neither the account nor its class works.

Hours are local, workdays and weekends apart. Each hour of a day counts once for an account, however much was
done in it: nobody makes the night usual by working hard in one night.
"""

from datetime import datetime

import msgspec

SLOTS = 48
LEAST_DAYS = 10
"""An account of fewer days has no usual hours."""
LEAST_CLASS_HOURS = 500
"""A class of fewer hours of work has none either: nothing is said."""
_OWN_PERCENT = 1
_CLASS_PERCENT = 5
_HALVED_AT = 4_000
_SATURDAY = 5


class Hours(msgspec.Struct):
    """How often each hour was worked: 24 of workdays, 24 of weekends. *last* is the last hour that was counted."""

    slots: list[int] = msgspec.field(default_factory=lambda: [0] * SLOTS)
    last: int = -1


def judge(own: Hours, peers: Hours, at: datetime, days: int) -> bool:
    """Note that an account of *days* days worked at *at*, local time; tell whether that is unusual."""
    hour = at.toordinal() * 24 + at.hour
    if hour == own.last:
        return False
    own.last = hour
    slot = at.hour + (24 if at.weekday() >= _SATURDAY else 0)
    strange = (
        days >= LEAST_DAYS
        and sum(peers.slots) >= LEAST_CLASS_HOURS
        and share(own, slot) < _OWN_PERCENT
        and share(peers, slot) < _CLASS_PERCENT
    )
    _count(own, slot)
    _count(peers, slot)
    return strange


def share(hours: Hours, slot: int) -> float:
    """Return how much of the work fell into *slot* and the hours before and after it, in per cent."""
    first, total = slot // 24 * 24, sum(hours.slots)
    near = sum(hours.slots[first + (slot - first + step) % 24] for step in (-1, 0, 1))
    return 100 * near / total if total else 100.0


def _count(hours: Hours, slot: int) -> None:
    hours.slots[slot] += 1
    if sum(hours.slots) > _HALVED_AT:
        # What was usual a year ago fades.
        hours.slots = [each // 2 for each in hours.slots]

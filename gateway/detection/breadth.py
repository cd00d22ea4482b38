"""Far more patients in a day than anybody of the class: median and median absolute deviation.

Both are the class's, over the days of all its accounts, one figure a day and account: whoever trains them slowly
must move half of the class.
"""

from statistics import median

import msgspec

MOST_DAYS = 2_000
LEAST_DAYS = 50
"""A class of fewer days of work has no usual breadth: nothing is said."""
MOST_PATIENTS = 5_000
_LISTED_WEIGHT = 5
"""Five patients listed weigh as one opened, as they do for the caps."""


class Today(msgspec.Struct):
    """Whom the account saw on this day."""

    opened: set[int] = msgspec.field(default_factory=set)
    listed: set[int] = msgspec.field(default_factory=set)

    @property
    def breadth(self) -> int:
        """Return how many patients were seen, those only listed weighed."""
        return len(self.opened) + len(self.listed - self.opened) // _LISTED_WEIGHT


class Peers(msgspec.Struct):
    """How broad the last days of a class were; *middle* and *spread* are their median and deviation."""

    days: list[int] = []
    middle: float = 0.0
    spread: float = 0.0

    def add(self, breadth: int) -> None:
        """Note one account's day that is over."""
        self.days = [*self.days[1 - MOST_DAYS :], breadth]
        self.middle = median(self.days)
        deviation = median(abs(each - self.middle) for each in self.days)
        # Where most days are alike the deviation is nothing, and everything would be far from them.
        self.spread = max(deviation, self.middle / 4, 1.0)


def judge(
    state: Today, members: tuple[int, ...], peers: Peers, *, opened: bool, times: int, least: int
) -> tuple[int, int] | None:
    """Note whom the account saw; return its breadth and the class's middle when it is *times* spreads above it."""
    kept = state.opened if opened else state.listed
    if len(kept) < MOST_PATIENTS:
        kept.update(members)
    breadth = state.breadth
    if len(peers.days) < LEAST_DAYS or breadth < least:
        return None
    return (breadth, round(peers.middle)) if breadth > peers.middle + times * peers.spread else None

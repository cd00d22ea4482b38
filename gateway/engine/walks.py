"""Whether somebody walks through the numbers of patients: the order of ids, which the log cannot show.

The log names patients by pseudonyms, so that nobody who reads it sees that 1001, 1002 and 1003 were opened
in a row. What it may tell is that they were, and how many, never which numbers or how far apart: and only
once there are so many that it is no accident (decision 012).
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from itertools import pairwise

from gateway.vocabulary.records import Walk

WINDOW = 24
LEAST = 8
"""So many numbers at one distance from each other are no accident in a window of 24."""
BLOCK = 16
BLOCK_SPAN = 6
"""Sixteen numbers within 96 are a block, whatever their order."""
_MOST_ACCOUNTS = 10_000
_LONGEST = 18


def walk_of(numbers: Sequence[int]) -> tuple[Walk, int] | None:
    """Return how the distinct *numbers*, in the order in which they were opened, were walked through; how many of them.

    None when they show no order. Numbers that do not belong to the walk may stand between the others. Pure.
    """
    ranked = sorted(numbers)
    if len(ranked) < LEAST:
        return None
    step, count = Counter(after - before for before, after in pairwise(ranked)).most_common(1)[0]
    if count + 1 >= LEAST:
        if step > 1:
            return Walk.STRIDED, count + 1
        return _direction(numbers), count + 1
    for first, last in zip(ranked, ranked[BLOCK - 1 :], strict=False):
        if last - first < BLOCK * BLOCK_SPAN:
            return Walk.BLOCK, BLOCK
    return None


def _direction(numbers: Sequence[int]) -> Walk:
    steps = [after - before for before, after in pairwise(numbers)]
    up, down = steps.count(1), steps.count(-1)
    if up > 2 * down and 2 * up >= LEAST:
        return Walk.ASCENDING
    if down > 2 * up and 2 * down >= LEAST:
        return Walk.DESCENDING
    return Walk.BLOCK


class Walks:
    """The last numbers that each account opened, in the memory of this process alone, bounded; never written down."""

    def __init__(self) -> None:
        self._opened: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def step(self, account_id: str, system: str, clear_id: str) -> tuple[Walk, int] | None:
        """Note that the account opened *clear_id* of the numbering *system*; return the walk this is a step of.

        Ids that are no plain numbers, and numbers still in the window, are steps of none.
        """
        if not (clear_id.isascii() and clear_id.isdigit()) or len(clear_id) > _LONGEST:
            return None
        key, number = (account_id, system), int(clear_id)
        opened = self._opened.get(key)
        if opened is None:
            opened = self._opened[key] = deque(maxlen=WINDOW)
            if len(self._opened) > _MOST_ACCOUNTS:
                self._opened.popitem(last=False)
        self._opened.move_to_end(key)
        if number in opened:
            return None
        opened.append(number)
        return walk_of(opened)

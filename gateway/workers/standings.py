"""How many connections each worker has, in memory that all of them share: who has fewest takes the next one."""

import mmap
import os
import struct
from collections.abc import Sequence

SEATS = 256
_COUNT = struct.Struct("=q")
_ABSENT = -1


def may_take(mine: int, others: Sequence[int]) -> bool:
    """Tell whether a worker with *mine* connections takes the next one; of *others*, negative ones are not there."""
    return all(mine <= each for each in others if each >= 0)


class Standings:
    """The shared table. *seat* counts from 1; the supervisor has none."""

    def __init__(self, handle: int, seat: int = 0) -> None:
        self._memory = mmap.mmap(handle, SEATS * _COUNT.size)
        self._seat = seat

    @staticmethod
    def make() -> int:
        """Return a descriptor of a fresh table on which nobody is there."""
        handle = os.memfd_create("ecluse-standings")
        os.write(handle, _COUNT.pack(_ABSENT) * SEATS)
        return handle

    def note(self, connections: int) -> None:
        """Say that this worker has *connections*."""
        _COUNT.pack_into(self._memory, self._seat * _COUNT.size, connections)

    def leave(self, seat: int | None = None) -> None:
        """Say that the worker at *seat*, or this one, takes no more connections."""
        _COUNT.pack_into(self._memory, (self._seat if seat is None else seat) * _COUNT.size, _ABSENT)

    def is_my_turn(self, connections: int) -> bool:
        """Note *connections* and tell whether nobody who is there has fewer."""
        self.note(connections)
        table = [each for (each,) in _COUNT.iter_unpack(self._memory[:])]
        return may_take(connections, table[: self._seat] + table[self._seat + 1 :])

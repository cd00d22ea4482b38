"""Whether it is worth waiting a moment before a batch goes to the disk: only where others are about to come.

Each batch costs the loop two hand-overs to the writing thread and one wake-up, however many entries it holds. Whoever
writes alone is never kept waiting. The rule is that of PostgreSQL's ``commit_delay`` and ``commit_siblings``.
"""

from dataclasses import dataclass
from typing import Final

GATHER_S: Final = 0.001
ENOUGH: Final = 8
"""So many entries go at once."""
LASTS_S: Final = 0.02


@dataclass(slots=True)
class Crowd:
    """What the last batches tell of the next. Times are monotonic seconds."""

    until_s: float = 0.0

    def took(self, now_s: float, taken: int, left: int) -> None:
        """Note a batch of *taken* entries, during which *left* more have come."""
        if taken > 1 or left:
            self.until_s = now_s + LASTS_S

    def pause_s(self, now_s: float, waiting: int) -> float:
        """Return how long to wait for more before a batch of *waiting* entries is taken."""
        return GATHER_S if 0 < waiting < ENOUGH and now_s < self.until_s else 0.0

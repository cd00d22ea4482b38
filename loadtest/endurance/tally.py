"""What the people of one gateway did and got."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

_MOST_TOLD = 10


@dataclass
class Tally:
    """*wrong*: an answer that was not what this person may get. *failed*: none came, or not whole.

    *received* are the patients of every answer that came whole and named any, by login.
    """

    requests: int = 0
    wrong: int = 0
    failed: int = 0
    told: list[str] = field(default_factory=list)
    acts: Counter[str] = field(default_factory=Counter)
    received: dict[str, list[tuple[int, ...]]] = field(default_factory=lambda: defaultdict(list))

    def judge(self, fault: str | None, *, came: bool = True) -> bool:
        """Count one answer, and *fault* when it had one; return whether it was right."""
        self.requests += 1
        if fault is None:
            return True
        if came:
            self.wrong += 1
        else:
            self.failed += 1
        if len(self.told) < _MOST_TOLD:
            self.told.append(fault)
        return False

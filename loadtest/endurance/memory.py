"""What the gateway's processes hold: sampled from /proc, and whether it grows. Linux."""

import contextlib
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

WARM_SHARE = 0.25
"""The part of a run in which caches fill and classes are met: what is held by then is no growth."""
_LAST_SHARE = 0.15
_KINDS = (
    (b"--seat", "worker"),
    (b"valkey", "store"),
    (b"redis", "store"),
    (b"keep", "keeper"),
    (b"watch", "watcher"),
    (b"--supervise", "supervisor"),
    (b"edge", "edge"),
    (b"serve", "gateway"),
)


def family(pid: int) -> list[int]:
    """Return *pid* and every process that came of it and runs."""
    found = [pid]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text("ascii").split():
                found += family(int(child))
    return found


def kind_of(pid: int) -> str | None:
    """Return what a process of a gateway is, None when it has gone or is none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return next((kind for part, kind in _KINDS if part in words), None)


def held_mb(pids: list[int]) -> dict[str, float]:
    """Return megabytes by kind of process: of each its proportional share (PSS) of what is in memory."""
    found: dict[str, float] = defaultdict(float)
    for root in pids:
        for pid in family(root):
            kind = kind_of(pid)
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
                kb = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
                found[kind or "other"] += kb / 1024
    return dict(found)


@dataclass
class Samples:
    """What one gateway held, by seconds since the run began."""

    taken: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    def totals(self, kinds: frozenset[str] | None = None) -> list[tuple[float, float]]:
        """Return seconds and megabytes of the *kinds* together, of all when None."""
        return [
            (at_s, sum(mb for kind, mb in held.items() if kinds is None or kind in kinds))
            for at_s, held in self.taken
        ]


@dataclass(frozen=True, slots=True)
class Growth:
    """*first_mb* after the warm-up, *last_mb* at the end, *most_mb* ever, and the slope between."""

    first_mb: float
    last_mb: float
    most_mb: float
    mb_an_hour: float


def growth(totals: list[tuple[float, float]]) -> Growth:
    """Return how memory went: medians at both ends of what follows the warm-up, and the line through all of it.

    Raises:
        ValueError: there are not enough samples to tell.
    """
    if not totals:
        raise ValueError("no memory was sampled")
    end_s = totals[-1][0]
    warm = [one for one in totals if one[0] >= end_s * WARM_SHARE]
    if len(warm) < 4:
        raise ValueError(f"{len(totals)} samples of memory do not tell whether it grows")
    span_s = end_s * _LAST_SHARE
    first = [mb for at_s, mb in warm if at_s <= warm[0][0] + span_s]
    last = [mb for at_s, mb in warm if at_s >= end_s - span_s]
    slope, _ = statistics.linear_regression([at_s for at_s, _ in warm], [mb for _, mb in warm])
    return Growth(
        statistics.median(first), statistics.median(last), max(mb for _, mb in totals), slope * 3_600
    )

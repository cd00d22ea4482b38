"""Turns: every side of a comparison meets the same machine, and ratios are taken round by round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Run = dict[str, Any]
"""What one side did in one round: ``right``, ``failed``, ``wrong``, ``per_second``, latencies in ms."""

_FIGURES = ("per_second", "median_ms", "p99_ms")


def take_turns(sides: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Let every side run once a round, forwards and backwards in turn; return the runs of each."""
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides)
        if turn % 2 == 0:
            names.reverse()
        for name in names:
            runs[name].append(sides[name]())
    return runs


def ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """Return the median over the rounds of our requests a second to theirs."""
    both = zip(ours, theirs, strict=True)
    every: list[float] = [one["per_second"] / max(0.1, other["per_second"]) for one, other in both]
    return float(round(statistics.median(every), 3))


def summed(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Return each side's medians, and how many answers were wrong in all of them."""
    told: dict[str, Any] = {
        name: {
            **{figure: statistics.median(run[figure] for run in every) for figure in _FIGURES},
            "rounds": [run["per_second"] for run in every],
        }
        for name, every in runs.items()
    }
    told["failed"] = sum(run["failed"] for every in runs.values() for run in every)
    told["wrong"] = [words for every in runs.values() for run in every for words in run["wrong"]][:3]
    return told

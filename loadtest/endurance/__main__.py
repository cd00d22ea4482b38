"""Endurance of real gateways: ``python -m loadtest.endurance mixed --minutes 10`` and ``... idle``.

The last line is JSON; leaves with 1 when an answer was wrong or did not come, when the log and what people received
differ, or when memory grew or was more than is stated.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.endurance import idle, mixed

Progressed = Callable[[float, str], None]


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="loadtest.endurance", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    mix = kinds.add_parser("mixed", help="many people, every answer checked, memory watched")
    mix.add_argument("--minutes", type=float, default=10.0)
    mix.add_argument(
        "--doors", default=",".join(mixed.doors_here()), help="of alone, workers-1, workers-2, edge"
    )
    mix.add_argument("--people", type=int, default=10, help="at each door")
    mix.add_argument(
        "--think", type=float, default=0.6, help="seconds between what one connection does, on average"
    )
    still = kinds.add_parser(
        "idle", help="idle connections, slow clients, large bodies; others served; memory bounded"
    )
    still.add_argument("--workers", type=int, default=2)
    still.add_argument("--connections", type=int, default=5_000)
    still.add_argument("--slow", type=int, default=200)
    still.add_argument("--mb", type=int, default=1_024, help="of the upload and of the download")
    still.add_argument("--seconds", type=float, default=idle.BODY_S + 30, help="how long slow clients go on")
    chosen = parser.parse_args()
    with _shown(chosen.kind) as progress:
        told = _mixed(chosen, progress) if chosen.kind == "mixed" else _idle(chosen, progress)
    faults = told.pop("faults")
    for key in ("acts", "sites"):
        if key in told:
            print(f"{key}: {json.dumps(told.pop(key), indent=1)}")
    print(f"load average: {os.getloadavg()}, cores: {os.cpu_count()}")
    for fault in faults:  # type: ignore[attr-defined]
        print(f"OFF: {fault}")
    print(json.dumps(told), flush=True)
    return 1 if faults or told["wrong"] or told["failed"] else 0


def _mixed(chosen: argparse.Namespace, progress: Progressed) -> dict[str, object]:
    plan = mixed.Plan(chosen.minutes, tuple(chosen.doors.split(",")), chosen.people, chosen.think)
    return mixed.run(plan, progress)


def _idle(chosen: argparse.Namespace, progress: Progressed) -> dict[str, object]:
    size = chosen.mb << 20
    plan = idle.Plan(chosen.workers, chosen.connections, chosen.slow, size, size, chosen.seconds)
    return idle.run(plan, progress)


@contextmanager
def _shown(what: str) -> Iterator[Callable[[float, str], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0, figures="")
        yield lambda share, figures: bar.update(task, completed=share, figures=figures)


if __name__ == "__main__":
    sys.exit(main())

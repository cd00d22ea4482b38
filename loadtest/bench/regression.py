"""Hold the instructions of an exchange to a committed figure: ``python -m loadtest.bench.regression``.

A request, and answers with 50 patients in JSON and in HTML, are decided by the engine from a recording and counted by
callgrind: no clock, no disk and no network has a part in it, and a loaded machine counts the same. The figures hold
for one build of the interpreter alone; where none was written down, or there is no valgrind, one line says so and
nothing is held. ``--record`` writes down this build's.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loadtest.bench import callgrind
from loadtest.bench.recording import record
from loadtest.bench.replay import save

FIGURES = Path(__file__).with_name("instructions.json")
MOST_PERCENT = 115
_TIMES = 3
_CASES = "json_50,html_50"


def build() -> str:
    """Return the name of this interpreter's build: counts of another may differ."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


def judge(
    counted: Mapping[str, int], written: Mapping[str, int], most_percent: int = MOST_PERCENT
) -> list[str]:
    """Return a sentence for each phase that is missing, or over *most_percent* of what is *written* down."""
    faults = []
    for phase, before in written.items():
        now = counted.get(phase, 0)
        if not 0 < 100 * now <= before * most_percent:
            faults.append(
                f"{phase} takes {now:,} instructions, {now / before:.2f} times the {before:,} written down in "
                f"{FIGURES.name}: make it cheaper, or write the new figure down with --record and say why"
            )
    return faults


def measure() -> dict[str, int]:
    """Return the instructions of each phase, an exchange."""
    with tempfile.TemporaryDirectory(prefix="ecluse-count-") as name:
        folder = Path(name)
        recording, _ = record(folder, only=_CASES.split(","))
        save(recording, folder / "recording")
        replay = ["-m", "loadtest.bench.replay", str(folder / "recording"), "--times", str(_TIMES)]
        counted = callgrind.count([*replay, "--only", _CASES], folder)
    return {phase: round(counted[phase] / _TIMES) for phase in sorted(counted)}


def main() -> int:
    """Count and judge; returns 1 when something has become dearer."""
    parser = argparse.ArgumentParser(prog="loadtest.bench.regression", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the figures of this build down")
    chosen = parser.parse_args()
    written: dict[str, dict[str, int]] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    lacking = callgrind.missing()
    if lacking is None and build() not in written and not chosen.record:
        lacking = f"figures of {build()} (python -m loadtest.bench.regression --record)"
    if lacking is not None:
        print(f"Instructions not held, for want of {lacking}.")
        return 0
    try:
        counted = measure()
    except subprocess.CalledProcessError as error:
        print(f"Counting failed:\n{(error.stderr or b'').decode('utf-8', 'replace')[-2_000:]}")
        return 1
    if chosen.record:
        written[build()] = counted
        FIGURES.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", "utf-8")
    faults = judge(counted, written[build()])
    told = ", ".join(
        f"{phase} {now:,} ({now / written[build()].get(phase, now):.3f} of what was written down)"
        for phase, now in counted.items()
    )
    print("\n".join(faults) if faults else f"Instructions: {told}.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

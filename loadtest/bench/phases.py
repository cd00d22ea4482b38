"""What each half of an exchange costs: processor microseconds, and instructions where callgrind can count them."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loadtest.bench import callgrind
from loadtest.bench.recording import record
from loadtest.bench.replay import save

_COUNTED = 4


def measure(rounds: int, times: int) -> dict[str, Any]:
    """Return figures by phase.

    ``cpu_us``: the engine's own work, replayed *times* times. ``cpu_us_whole``: with the trips to the store and the
    durable log, *rounds* batches of 16 at once. ``instructions``: of the engine's own work, None without callgrind.
    """
    with tempfile.TemporaryDirectory(prefix="ecluse-phases-") as name:
        folder = Path(name)
        recording, whole = record(folder, rounds)
        save(recording, folder / "recording")
        replay = ["-m", "loadtest.bench.replay", str(folder / "recording"), "--times"]
        done = subprocess.run(
            [sys.executable, *replay, str(times)], capture_output=True, check=True, timeout=300
        )
        own = json.loads(done.stdout)
        lacking = callgrind.missing()
        counted = {} if lacking else callgrind.count([*replay, str(_COUNTED)], folder)
    return {
        "cpu_us": own,
        "cpu_us_whole": whole,
        "instructions": {phase: round(sum_ / _COUNTED) for phase, sum_ in counted.items()} or None,
        "absent": {"callgrind": lacking} if lacking else {},
        "failed": 0,
    }

"""wrk, with a script that reads every answer: one thread, so that the load takes no more than one core."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loadtest.bench.rounds import Run

_SCRIPT = Path(__file__).with_name("wrk.lua")


def available() -> bool:
    """Tell whether wrk is installed."""
    return shutil.which("wrk") is not None


class Wrk:
    """Asks *url* with *heads* in turn, and expects *body* with a 200 every time. Its files stand in *folder*."""

    def __init__(self, folder: Path, url: str, heads: Sequence[str], body: bytes) -> None:
        folder.mkdir(exist_ok=True)
        expected = folder / "expected"
        expected.write_bytes(body)
        self._files = [str(expected)]
        for number, head in enumerate(heads):
            (folder / f"head-{number}").write_bytes(head.encode())
            self._files.append(str(folder / f"head-{number}"))
        self._url = url

    def run(self, seconds: float, connections: int) -> Run:
        """Keep *connections* busy for *seconds*, rounded up to whole ones."""
        length = f"{max(1, round(seconds))}s"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{length}", "-s", str(_SCRIPT), self._url, "--"]
        done = subprocess.run([*command, *self._files], capture_output=True, check=True, timeout=60 + seconds)
        told = json.loads(done.stdout.splitlines()[-1])
        return {
            "right": told["right"],
            "failed": told["wrong"] + told["broken"],
            "wrong": [told["sample"]] if told["wrong"] else [],
            "per_second": round(told["right"] * 1e6 / max(1, told["us"]), 1),
            "median_ms": round(told["median_us"] / 1000, 3),
            "p99_ms": round(told["p99_us"] / 1000, 3),
        }

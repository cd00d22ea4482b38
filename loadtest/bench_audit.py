"""How long an auditor waits, by the size of the trail: each question in a process of its own, its start told apart.

Cold: the trail's files were dropped from the machine's cache before. Warm: they were read before, by another
process. Each figure is the median of five patients or accounts, seldom seen and often seen ones.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.files import log_directories, verifier_keys
from gateway.audit.query import Question, accesses, ask, grouped
from gateway.audit.sql import DAY_MS
from gateway.audit.verify import Verified, verify_log
from loadtest.synthesise import ACCOUNTS, END_MS, PATIENTS, RING, account, patient, synthesise, write_journal

_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
_VERIFIED = 200_000
_WEEK_MS = 7 * DAY_MS


def probe(directory: Path, what: str, share: float) -> dict[str, Any]:
    """Ask one question and tell how long it took, how many rows came, and what the process held at most."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    if what == "patient":
        asked = Question(patients=(patient(int(PATIENTS * share**1.3)),))
        rows = sum(1 for _ in accesses(directory, asked))
    elif what == "week":
        who = account(int(ACCOUNTS * share**1.6))
        asked = Question(accounts=(who,), from_ms=END_MS - _WEEK_MS, to_ms=END_MS)
        rows = sum(1 for _ in ask(directory, asked))
    else:
        asked = Question(from_ms=END_MS - DAY_MS, to_ms=END_MS, limit=20)
        rows = len(grouped(directory, asked, ("account",)))
    took_s = time.perf_counter() - began_s
    return {
        "s": took_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "rows": rows,
        "rss_mb": _peak_kb() / 1024,
    }


def measure(directory: Path, events: int, shares: Sequence[float] = _SHARES) -> dict[str, Any]:
    """Return the figures of the trail of *events* under *directory*, asked once for each of *shares* of it."""
    told: dict[str, Any] = {"events": events, "command_start_s": _command_start()}
    peak_mb = 0.0
    for what in ("patient", "week", "top20_day"):
        for state in ("cold", "warm"):
            found = []
            for share in shares if what != "top20_day" else shares[:3]:
                if state == "cold":
                    _forget(directory)
                found.append(_in_its_own_process(directory, what, share))
            told[f"{what}_{state}_s"] = round(statistics.median(one["s"] for one in found), 3)
            told[f"{what}_{state}_worst_s"] = round(max(one["s"] for one in found), 3)
            told[f"{what}_{state}_cpu_s"] = round(statistics.median(one["cpu_s"] for one in found), 3)
            told[f"{what}_rows"] = [one["rows"] for one in found]
            peak_mb = max(peak_mb, *(one["rss_mb"] for one in found))
    archived = sum(path.stat().st_size for path in (directory / "archive").rglob("*.parquet"))
    return {
        **told,
        "rss_mb": round(peak_mb),
        "archive_bytes": archived,
        "bytes_per_event": round(archived / events, 1),
    }


def verified_per_s(directory: Path) -> int:
    """Write a journal with the gateway's own writer, verify it, and return the entries checked a second."""
    asyncio.run(write_journal(directory / "gateway", _VERIFIED))
    (log,) = log_directories(directory)
    began_s = time.perf_counter()
    result = verify_log(log, verifier_keys(RING, LOG_NAME))
    took_s = time.perf_counter() - began_s
    if not isinstance(result, Verified) or result.size != _VERIFIED:
        raise RuntimeError(f"the journal that was just written does not verify: {result}")
    return round(_VERIFIED / took_s)


def _in_its_own_process(directory: Path, what: str, share: float) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "loadtest.bench_audit",
        "--dir",
        str(directory),
        "--probe",
        what,
        str(share),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    if not isinstance(told, dict):
        raise TypeError("the probe told no figures")
    return told


def _peak_kb() -> int:
    # getrusage would tell the greatest of this process and of the one that started it.
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1])


def _command_start() -> float:
    """Return what the command line costs before it asks anything."""

    def once() -> float:
        began_s = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "gateway", "audit", "query", "--help"], check=True, capture_output=True
        )
        return time.perf_counter() - began_s

    return round(statistics.median(once() for _ in range(3)), 3)


def _forget(directory: Path) -> None:
    """Drop the files of the trail from the machine's cache."""
    for path in _files(directory):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def main() -> int:
    """Make a trail, measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="loadtest.bench_audit", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument(
        "--dir", type=Path, help="a trail that stands already, or where to make it and keep it"
    )
    parser.add_argument("--probe", nargs=2, metavar=("QUESTION", "SHARE"), help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help="add the figures to this JSON file")
    chosen = parser.parse_args()
    if chosen.probe:
        print(json.dumps(probe(chosen.dir, chosen.probe[0], float(chosen.probe[1]))))
        return 0
    with tempfile.TemporaryDirectory(prefix="ecluse-bench-") as room:
        directory = (chosen.dir or Path(room) / "trail").absolute()
        if not (directory / "archive").exists():
            synthesise(directory, chosen.events, 45_000)
        told = measure(directory, chosen.events)
        told["verify_events_per_s"] = verified_per_s(Path(room) / "verified")
    for name, value in told.items():
        print(f"{name:>22}: {value}")
    if chosen.save:
        kept = json.loads(chosen.save.read_text()) if chosen.save.exists() else []
        kept = sorted(
            [one for one in kept if one["events"] != told["events"]] + [told], key=lambda one: one["events"]
        )
        chosen.save.write_text(json.dumps(kept, indent=1) + "\n")
    last = {
        "events": told["events"],
        "patient_lookup_s": told["patient_warm_s"],
        "account_week_s": told["week_warm_s"],
        "rss_mb": told["rss_mb"],
        "bytes_per_event": told["bytes_per_event"],
        "verify_events_per_s": told["verify_events_per_s"],
    }
    print(json.dumps(last))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

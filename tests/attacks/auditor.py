"""What the tests of the trail share: an auditor's commands, and clients that write down what they were shown."""

import asyncio
import io
import json
import re
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.audit import files
from gateway.audit.encoding import decode
from gateway.audit.question import pseudonyms
from gateway.cli import main
from gateway.clock import FixedClock
from gateway.vocabulary.keys import Keys
from tests.people import Person
from tests.stand import Browser, Got, Stand

Id = tuple[str, int]
SYSTEM = "parcours"

_NAMED = re.compile(r" NOM(\d+)")


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        """Return its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def run(folder: Path, *words: str | Path) -> Ran:
    """Run ``ecluse`` with the configuration in *folder*."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([*map(str, words), "--config", str(folder / "ecluse.yaml")])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return Ran(code, out.getvalue(), err.getvalue())


async def ecluse(folder: Path, *words: str | Path) -> Ran:
    """Run ``ecluse`` beside a gateway that serves meanwhile."""
    return await asyncio.to_thread(run, folder, *words)


def entries(*audit_dirs: Path) -> dict[Id, dict[str, Any]]:
    """Return every entry of the journals, by writer and ``seq``."""
    found: dict[Id, dict[str, Any]] = {}
    for place in audit_dirs:
        for log in files.log_directories(place):
            for start in files.segment_starts(log):
                for line in files.read_lines(files.segment_path(log, start)):
                    values = decode(line)
                    found[log.name, values["seq"]] = values
    return found


def rfc3339(at_ms: int) -> str:
    """Return Unix milliseconds in UTC, to the millisecond."""
    told = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{told:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


@dataclass(frozen=True)
class Sight:
    """One patient in one answer, as the client saw it: *how* is opened, listed or exported."""

    login: str
    at_ms: int
    patient: str
    how: str
    path: str


@dataclass
class Client:
    """Somebody at a browser, who writes down every patient an answer shows. *clock* is the gateway's."""

    login: str
    browser: Browser
    clock: FixedClock
    notes: list[Sight] = field(default_factory=list)

    async def see(self, path: str, **headers: str) -> Got:
        """Ask for *path*, note who is in the answer, and let a minute pass."""
        got = await self.browser.get(path, **headers)
        how = "opened" if re.fullmatch(r"/\w+/\w+", path) else "exported" if "csv" in path else "listed"
        if path.startswith("/api/"):
            how = "listed"
        for patient in dict.fromkeys(_NAMED.findall(got.text)):
            self.notes.append(Sight(self.login, self.clock.now_ms(), patient, how, path))
        self.clock.advance(60_000)
        return got


async def arrive(gate: Stand, person: Person, clock: FixedClock) -> Client:
    """Log *person* in and return the client."""
    client = Client(person.login, await gate.log_in(person), clock)
    clock.advance(60_000)
    return client


def named(keys: Keys, patient: str) -> str:
    """Return the pseudonym of *patient*."""
    return pseudonyms(keys.pseudonyms, SYSTEM, patient)[0]


def told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return *entry* as a reader of the log is told it."""
    return {name: value for name, value in entry.items() if name not in {"salt", "v"}}

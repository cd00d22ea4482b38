"""Recorded exchanges played again, without store, disk or network: ``python -m loadtest.bench.replay RECORDING``.

The engine decides and answers as it did, from the same replies, at the same time. What is counted is its own work
alone, and it is the same each time. With ``--times N`` it tells processor microseconds as JSON; under callgrind the
pieces ``request``, ``response_json_50`` and so on are counted, N exchanges each.
"""

import argparse
import asyncio
import gc
import json
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gateway.accounts.store import AccountStore
from gateway.audit.encoding import SALT_BYTES, encode
from gateway.audit.writer import AuditWriter
from gateway.clock import FixedClock
from gateway.engine import Engine
from gateway.engine.services import Services
from gateway.sessions import ticket
from gateway.sessions.assertion import AssertionMaker
from gateway.sessions.cookies import CookieReader
from gateway.sessions.store import SessionStore
from gateway.sessions.token import TokenReader
from gateway.valkey.client import Argument, Store
from gateway.valkey.prepared import Prepared
from gateway.vocabulary.events import AuditEvent
from loadtest.bench.answers import Case, cases
from loadtest.bench.callgrind import Counter
from loadtest.bench.exchanges import Recording, answered, asked, raw_head

_WARM = 12


class Replayed:
    """A store that says what it once said."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.told: set[str] = set()
        self._at = 0

    def say(self, replies: list[Any]) -> None:
        """From now on say *replies*, again and again."""
        self.replies, self._at = replies, 0

    async def call(self, function: str, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:  # noqa: ARG002 - a store's signature
        """Return the next reply."""
        reply = self.replies[self._at]
        self._at = (self._at + 1) % len(self.replies)
        return reply

    async def ask(self, prepared: Prepared) -> Any:
        """Return the next reply."""
        return await self.call(prepared.function)


class Encoded:
    """A log that makes each entry's line, and has it on disk at once."""

    def __init__(self) -> None:
        self.entries = 0
        self._salt = bytes(SALT_BYTES)

    def append(self, event: AuditEvent) -> asyncio.Future[int]:
        """Make the line of *event*."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        encode(event, seq=self.entries, salt=self._salt)
        done.set_result(self.entries)
        self.entries += 1
        return done

    def append_soon(self, event: AuditEvent) -> None:
        """Make the line of *event*, too."""
        self.append(event)


class Counted:
    """Digits that are different each time and the same in every run."""

    def __init__(self) -> None:
        self._at = 0

    def hex(self, size_bytes: int) -> str:
        """Return *size_bytes* bytes as hexadecimal digits."""
        self._at += 1
        return f"{self._at:0{2 * size_bytes}x}"


def save(recording: Recording, path: Path) -> None:
    """Write *recording* for another process of this run. It holds keys that open nothing else."""
    path.write_bytes(pickle.dumps(recording))
    path.chmod(0o600)


def read(path: Path) -> Recording:
    """Return what `save` wrote."""
    # Reading the configuration would cost more under callgrind than all that is counted.
    recording = pickle.loads(path.read_bytes())  # noqa: S301 - written by our own parent a moment ago
    if not isinstance(recording, Recording):
        raise TypeError("not a recording")
    return recording


async def play(recording: Recording, times: int, chosen: Sequence[Case]) -> dict[str, float]:
    """Go through every one of the *chosen* cases *times* times; return processor microseconds of each phase."""
    policy, keys, store = recording.policy, recording.keys, Replayed()
    real = cast("Store", store)
    services = Services(
        policy=policy, keys=keys, clock=FixedClock(recording.now_ms), entropy=Counted(), store=real,
        accounts=AccountStore(real), sessions=SessionStore(real), tokens=TokenReader(keys.session),
        cookies=CookieReader(keys.binding, ticket.COOKIE), asserter=AssertionMaker(keys.assertion, policy.issuer),
        audit=cast("AuditWriter", Encoded()), classes=recording.classes,
    )  # fmt: skip
    engine, counter, told = Engine(services), Counter(), dict[str, float]()
    gc.collect()
    gc.disable()
    for number, case in enumerate(chosen):
        head, (enter, reveal) = raw_head(case, recording.head), recording.replies[case.name]
        for turns, name in ((_WARM, ""), (times, case.name)):
            store.say(enter)
            if name and not number:
                counter.start()
            began_ns = time.process_time_ns()
            exchanges = [await asked(engine, head) for _ in range(turns)]
            if name and not number:
                told["request"] = (time.process_time_ns() - began_ns) / 1000 / turns
                counter.stop("request")
            store.say(reveal)
            if name:
                counter.start()
            began_ns = time.process_time_ns()
            for exchange in exchanges:
                await answered(engine, exchange, case)
            if name:
                told[f"response_{name}"] = (time.process_time_ns() - began_ns) / 1000 / turns
                counter.stop(f"response_{name}")
    return {name: round(each, 1) for name, each in told.items()}


def main() -> None:
    """Play what the command line names."""
    parser = argparse.ArgumentParser(prog="loadtest.bench.replay", description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--only", help="the names of some cases, with commas")
    asked_for = parser.parse_args()
    chosen = [case for case in cases() if asked_for.only is None or case.name in asked_for.only.split(",")]
    print(json.dumps(asyncio.run(play(read(asked_for.recording), asked_for.times, chosen))))


if __name__ == "__main__":
    main()

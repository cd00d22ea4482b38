"""Exchanges with a real store, and what the store said in each: so that they can be played again without it."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gateway.assembly.services import open_services
from gateway.clock import FixedClock, SystemClock
from gateway.configuration import load
from gateway.configuration.keys import init_keys
from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.seeding import enrol_people
from gateway.demo.stage import start_gateway
from gateway.engine import Engine
from gateway.valkey.client import Argument, Store
from gateway.valkey.prepared import Prepared
from loadtest.bench.answers import Case, cases
from loadtest.bench.exchanges import Recording, answered, asked, raw_head
from loadtest.overhead import PEOPLE, enter

_AT_ONCE = 16


class Listening:
    """Stands before a store and writes down its replies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.told = store.told
        self.replies: list[Any] = []

    async def call(self, function: str, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:
        """Pass a call on, and keep what comes back."""
        reply = await self._store.call(function, keys, args)
        self.replies.append(reply)
        return reply

    async def ask(self, prepared: Prepared) -> Any:
        """Pass a prepared call on likewise."""
        return await self.call(prepared.function, prepared.keys, prepared.args)


def record(
    folder: Path, rounds: int = 0, only: Sequence[str] | None = None
) -> tuple[Recording, dict[str, float]]:
    """Start a gateway in *folder*, log somebody in, and return each case's recording.

    *only* names some cases. With *rounds*, the second value is the processor microseconds of each phase with its trips
    to the store and the durable log, 16 exchanges at once.
    """
    children: list[Child] = []
    try:
        behind, port = free_port(), free_port()
        upstream = start("the upstream", ["-m", "loadtest.upstream", str(behind)], folder / "up.log")
        children.append(upstream)
        init_keys(folder / "keys")
        config = write_configuration(folder, port, behind, unbounded=True)
        gateway = start_gateway(folder, config)
        children.append(gateway)
        wait_until_listening(gateway, port)
        wait_until_listening(upstream, behind)
        secrets, _ = asyncio.run(enrol_people(config, PEOPLE))
        head = asyncio.run(enter(port, secrets))[0]
        lines = (line.partition(": ") for line in head.split("\r\n")[1:] if line)
        fields = [(name.lower().encode(), value.encode()) for name, _, value in lines]
        chosen = [case for case in cases() if only is None or case.name in only]
        return asyncio.run(_listen(config, fields, rounds, chosen))
    finally:
        for child in reversed(children):
            child.stop(6.0)


async def _listen(
    config: Path, fields: list[tuple[bytes, bytes]], rounds: int, chosen: Sequence[Case]
) -> tuple[Recording, dict[str, float]]:
    clock = FixedClock(SystemClock().now_ms())
    async with open_services(load(config), clock, writer="edge-9") as services:
        real = services.store
        engine = Engine(services)
        replies: dict[str, tuple[list[Any], list[Any]]] = {}
        for case in chosen:
            head = raw_head(case, fields)
            # The first time, the account's class is not known yet.
            await answered(engine, await asked(engine, head), case)
            services.store = cast("Store", first := Listening(real))
            exchange = await asked(engine, head)
            services.store = cast("Store", second := Listening(real))
            await answered(engine, exchange, case)
            services.store = real
            replies[case.name] = (first.replies, second.replies)
        recording = Recording(
            services.policy, services.keys, clock.now_ms(), fields, dict(services.classes), replies
        )
        return recording, await _timed(engine, fields, rounds) if rounds else {}


async def _timed(engine: Engine, fields: list[tuple[bytes, bytes]], rounds: int) -> dict[str, float]:
    told: dict[str, float] = {}
    for case in cases():
        head = raw_head(case, fields)
        spent_ns = [0, 0]
        for _ in range(rounds):
            began_ns = time.process_time_ns()
            exchanges = await asyncio.gather(*(asked(engine, head) for _ in range(_AT_ONCE)))
            half_ns = time.process_time_ns()
            await asyncio.gather(*(answered(engine, exchange, case) for exchange in exchanges))
            spent_ns[0] += half_ns - began_ns
            spent_ns[1] += time.process_time_ns() - half_ns
        each = [one / 1000 / rounds / _AT_ONCE for one in spent_ns]
        if case.name == "json_50":
            told["request"] = round(each[0], 1)
        told[f"response_{case.name}"] = round(each[1], 1)
    return told

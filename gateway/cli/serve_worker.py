"""A worker: a serving process of a node that has several. Its supervisor tells it when to reload and when to leave."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from addons.master import GateMaster, SharedPort
from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.writer import AuditUnavailable
from gateway.cli.serve import (
    build_door,
    freeze,
    is_ready,
    load_again,
    outcome_of,
    record_start,
    reload_now,
    told_faults,
)
from gateway.cli.serve_weaker import weigh
from gateway.clock import spawn
from gateway.configuration import ConfigurationFaults, Loaded, Settings
from gateway.configuration.in_force import no_weaker
from gateway.engine.services import Services
from gateway.vocabulary.events import EventKind
from gateway.workers.acceptance import Acceptance
from gateway.workers.link import Link
from gateway.workers.merging import families_of
from gateway.workers.standings import Standings
from gateway.workers.worker import BEAT_S, Seat


async def run_worker(loaded: Loaded, seat: Seat) -> None:
    """Serve on *seat* until the supervisor, or SIGTERM, asks to stop; then drain, flush and return."""
    telemetry.log_as(seat.number)
    if seat.beside:
        loaded, weaker = no_weaker(loaded)
        if weaker:
            telemetry.log().error(
                "weaker_configuration_not_taken", weaker=len(weaker), policy_id=loaded.policy.policy_id
            )
    settings = loaded.settings
    link = await Link.over(socket.socket(fileno=seat.link))
    standings = Standings(seat.standings, seat.number)
    os.close(seat.standings)
    async with open_services(loaded, worker=seat.number) as services:
        shared = SharedPort(socket.socket(fileno=seat.listening), standings.is_my_turn)
        master = build_door(loaded, services, shared)
        await record_start(services, settings)
        await master.start()
        telemetry.show_policy(loaded.policy.policy_id)
        freeze()
        worker = _Worker(services, master, settings, link, standings)
        beats = spawn(worker.beat(), "beats")
        spawn(worker.obey(), "supervisor")
        spawn(worker.door(), "door")
        try:
            await worker.until_stopped()
        finally:
            standings.leave()
            services.stopping = not worker.idle_s
            cut = await master.drain(worker.longest_s, worker.idle_s)
            with suppress(AuditUnavailable):
                await services.audit.append(note(services, EventKind.STOPPED, ("cut", str(cut))))
            beats.cancel()
            link.send({"say": "last", "ready": False, "families": families_of(telemetry.REGISTRY)})
    await link.close()


@dataclass
class _Worker:
    services: Services
    master: GateMaster
    settings: Settings
    link: Link
    standings: Standings
    longest_s: float = 0.0
    idle_s: float = 0.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_stopped(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_now)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            # These are for the supervisor, and may reach us by a command that tells every process of the gateway.
            loop.add_signal_handler(number, lambda: None)
        await self.stop.wait()

    async def door(self) -> None:
        try:
            await self.master.wait_closed()
        finally:
            self._stop_now()

    async def beat(self) -> None:
        """Tell the supervisor again and again how this worker is, and the others how busy."""
        while True:
            self.link.send({"say": "beat", **self._standing()})
            if not self.stop.is_set():
                self.standings.note(self.master.connections)
            await asyncio.sleep(BEAT_S)

    async def obey(self) -> None:
        """Do what the supervisor asks. Without one there is nothing to serve for: it holds what all need."""
        while (asked := await self.link.receive()) is not None:
            if asked["do"] == "reload":
                accepted = asked.get("accepted")
                word = msgspec.convert(accepted, Acceptance) if accepted is not None else None
                await self._answer(asked, await reload_now(self.services, self.master, self.settings, word))
            elif asked["do"] == "check":
                await self._answer(asked, await self._checked())
            elif asked["do"] == "metrics":
                await self._answer(asked, {"families": families_of(telemetry.REGISTRY)})
            elif asked["do"] == "leave":
                self.longest_s, self.idle_s = float(asked["longest_s"]), float(asked["idle_s"])
                self.stop.set()
        self.longest_s = self.idle_s = 0.0
        self.stop.set()

    async def _answer(self, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        self.link.send({"say": "answer", "id": asked["id"], **self._standing(), **answer})

    async def _checked(self) -> dict[str, Any]:
        """Return whether a worker that is begun now would find a configuration that can take this one's place."""
        try:
            fresh = await asyncio.to_thread(load_again, self.settings)
            await asyncio.to_thread(weigh, self.services.policy, self.settings, fresh, None, 0)
            return outcome_of(fresh)
        except (ConfigurationFaults, ValueError) as error:
            return {
                "loaded": False,
                "policy_id": self.services.policy.policy_id,
                "faults": told_faults(error),
            }

    def _standing(self) -> dict[str, Any]:
        return {"ready": is_ready(self.services), "policy_id": self.services.policy.policy_id}

    def _stop_now(self) -> None:
        self.longest_s, self.idle_s = float(self.services.policy.drain_s), 0.0
        self.stop.set()

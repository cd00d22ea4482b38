"""A process on a seat of its supervisor: it says how it is, does what it is asked, and ends in order."""

import asyncio
import os
import signal
import socket
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgspec

from gateway import telemetry
from gateway.clock import spawn
from gateway.workers.acceptance import Acceptance
from gateway.workers.link import Link
from gateway.workers.merging import families_of
from gateway.workers.standings import Standings
from gateway.workers.worker import BEAT_S, Seat


class Duties(Protocol):
    """What the process does at its door. Outcomes are mappings as `Supervisor` reads them."""

    idle_s: float
    """How long, when all stop, a connection without a request may still make one. Seconds."""

    @property
    def connections(self) -> int:
        """Return how many client connections are open."""
        ...

    @property
    def drain_s(self) -> float:
        """Return how long exchanges under way may take to end."""
        ...

    def standing(self) -> dict[str, Any]:
        """Return ``ready`` and ``policy_id``."""
        ...

    async def reload(self, accepted: Acceptance | None) -> dict[str, Any]:
        """Swap in the configuration as it now stands in its files, and return the outcome.

        One that weakens what is in force is refused, unless *accepted* is for exactly this change.
        """
        ...

    async def check(self) -> dict[str, Any]:
        """Return whether a process that is begun now could take this one's place."""
        ...


@dataclass
class Seated:
    """Made by `take`. *longest_s* and *idle_s* tell how to drain once ``until_stopped`` has returned.

    *alone*: every other process of the door stops too.
    """

    link: Link
    standings: Standings
    longest_s: float = 0.0
    idle_s: float = 0.0
    alone: bool = True
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    duties: Duties | None = None
    _beats: asyncio.Task[None] | None = None

    @classmethod
    async def take(cls, seat: Seat) -> Self:
        """Take *seat*, whose descriptors are this process's."""
        telemetry.log_as(seat.number)
        link = await Link.over(socket.socket(fileno=seat.link))
        standings = Standings(seat.standings, seat.number)
        os.close(seat.standings)
        return cls(link, standings)

    async def until_stopped(self, duties: Duties) -> None:
        """Tell the supervisor that this process serves, and do what it asks until it, or SIGTERM, says stop."""
        self.duties = duties
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop_now)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            # These are for the supervisor, and may reach us by a command that tells every process of the gateway.
            loop.add_signal_handler(number, lambda: None)
        self._beats = spawn(self._beat(duties), "beats")
        spawn(self._obey(duties), "supervisor")
        try:
            await self.stop.wait()
        finally:
            self.standings.leave()

    def stop_now(self) -> None:
        """Stop as on SIGTERM."""
        if self.duties is not None:
            self.longest_s = self.duties.drain_s
            self.idle_s = min(self.duties.idle_s, self.longest_s)
        self.alone = True
        self.stop.set()

    async def leave(self) -> None:
        """Say for the last time what was counted, and hang up."""
        if self._beats is not None:
            self._beats.cancel()
        self.link.send({"say": "last", "ready": False, "families": families_of(telemetry.REGISTRY)})
        await self.link.close()

    async def _beat(self, duties: Duties) -> None:
        """Tell the supervisor again and again how this process is, and the others how busy."""
        while True:
            self.link.send({"say": "beat", **duties.standing()})
            if not self.stop.is_set():
                self.standings.note(duties.connections)
            await asyncio.sleep(BEAT_S)

    async def _obey(self, duties: Duties) -> None:
        """Do what the supervisor asks. Without one there is nothing to serve for: it holds what all need."""
        while (asked := await self.link.receive()) is not None:
            if asked["do"] == "reload":
                word = asked.get("accepted")
                accepted = msgspec.convert(word, Acceptance) if word is not None else None
                self._answer(asked, duties, await duties.reload(accepted))
            elif asked["do"] == "check":
                self._answer(asked, duties, await duties.check())
            elif asked["do"] == "metrics":
                self._answer(asked, duties, {"families": families_of(telemetry.REGISTRY)})
            elif asked["do"] == "leave":
                self.longest_s, self.idle_s = float(asked["longest_s"]), float(asked["idle_s"])
                self.alone = False
                self.stop.set()
        self.longest_s = self.idle_s = 0.0
        self.stop.set()

    def _answer(self, asked: dict[str, Any], duties: Duties, answer: dict[str, Any]) -> None:
        self.link.send({"say": "answer", "id": asked["id"], **duties.standing(), **answer})

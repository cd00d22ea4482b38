"""One worker as the supervisor sees it: a process, a link to it, and what it last said of itself."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from gateway.processes import Child
from gateway.workers.link import Link
from gateway.workers.merging import Families

BEAT_S = 0.5
"""A worker says so often how it is."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Seat(msgspec.Struct, frozen=True):
    """What a worker finds when it begins: its number among the workers, and inherited descriptors.

    *beside*: others serve already, and it may not decide by weaker rules than they.
    """

    number: int
    listening: tuple[int, ...]
    link: int
    standings: int
    beside: bool = False


class State(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"


class Worker:
    """A worker that was begun with `begin`. *number* is its seat, from 1; it is free again once the process ended."""

    def __init__(self, number: int, process: Child, link: Link) -> None:
        self.number = number
        self.process = process
        self.state = State.STARTING
        self.policy_id = ""
        self.is_ready = False
        self.missed = 0
        self.why_killed: str | None = None
        self.is_gone = False
        self.families: Families = []
        self.settled = asyncio.Event()
        """It serves, or it ended before it did."""
        self.buried = asyncio.Event()
        """It has ended, and its number is free."""
        self._link = link
        self._asked = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

    @classmethod
    async def begin(
        cls,
        number: int,
        command: Callable[[Seat], Sequence[str]],
        listening: tuple[int, ...],
        standings: int,
        *,
        beside: bool = False,
    ) -> "Worker":
        """Begin a worker on seat *number* with *command*. It dies with this process, whatever kills it.

        Raises:
            OSError: no process can be begun.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                seat = Seat(number, listening, theirs.fileno(), standings, beside)
                process = await Child.begin(
                    command(seat),
                    descriptors=(*listening, theirs.fileno(), standings),
                    dies_by=signal.SIGKILL,
                    may_dump=False,
                )
            except BaseException:
                ours.close()
                raise
        return cls(number, process, await Link.over(ours))

    @property
    def age_s(self) -> float:
        """Return how long ago it was begun."""
        return self.process.age_s

    async def listen(self, serves: Callable[["Worker"], None]) -> None:
        """Take in what it says until it is gone; *serves* is called once it does."""
        while (message := await self._link.receive()) is not None:
            self.missed = 0
            self.is_ready = message.get("ready", self.is_ready) is True
            self.policy_id = message.get("policy_id", self.policy_id)
            self.families = message.get("families", self.families)
            if message.get("say") == "beat" and self.state is State.STARTING:
                self.state = State.SERVING
                self.settled.set()
                serves(self)
            waiting = self._answers.pop(message.get("id", 0), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        self._nobody_answers()

    async def ask(self, what: str, within_s: float, **more: Any) -> dict[str, Any] | None:
        """Ask it to do *what* and return its answer; None when none came within *within_s* seconds."""
        if self.is_gone:
            return None
        self._asked += 1
        number = self._asked
        waiting: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._answers[number] = waiting
        self._link.send({"do": what, "id": number, **more})
        try:
            async with asyncio.timeout(within_s):
                return await waiting
        except TimeoutError:
            return None
        finally:
            self._answers.pop(number, None)

    def resident_bytes(self) -> int:
        """Return its resident memory, 0 when it is gone."""
        try:
            with open(f"/proc/{self.process.pid}/statm", "rb") as file:  # noqa: PTH123 - once a second for each
                return int(file.read().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended does not mind."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and return its exit status; negative is the signal that ended it."""
        status = await self.process.ended()
        self.is_ready = False
        self.settled.set()
        self._nobody_answers()
        await self._link.close()
        return status

    def _nobody_answers(self) -> None:
        self.is_gone = True
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result(None)
        self._answers.clear()

"""Writes that outlive a failover: an answer is given only after enough replicas have it.

WAIT holds a connection up, so these calls have a lane of their own. Those that come while one WAIT is under way
share the next.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.clock import spawn
from gateway.valkey.lane import ErrorReply
from gateway.valkey.link import Link, StoreUnavailable, pack

_WAIT_SHARE = 0.4


class Confirmed:
    """Calls over *link*, confirmed by *replicas* servers beside the primary.

    *fence* gives a packed write. It goes before each WAIT, which looks at nothing but what its own connection
    wrote: so it covers what was only read, too.
    """

    def __init__(
        self, link: Link, place: str, replicas: int, timeout_s: float, fence: Callable[[], bytes]
    ) -> None:
        self.link = link
        self._place = place
        self._fence = fence
        self._replicas = replicas
        self._timeout_s = timeout_s
        self._wait_ms = round(_WAIT_SHARE * timeout_s * 1000)
        self._gathered: list[tuple[bytes, float, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.short = False
        """Whether the last attempt fell short of replicas."""

    async def send(self, packed: bytes, deadline: float) -> Any:
        """Send a packed command, and return its reply once enough replicas have what it wrote.

        Raises:
            ErrorReply: the store refused it.
            StoreUnavailable: no answer by *deadline* (loop time), or too few replicas: it may have been done.
        """
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._gathered.append((packed, deadline, answer))
        # A loop that runs tasks eagerly, as the door's does, may have ended it before it is known here.
        if self._sending is None or self._sending.done():
            self._sending = spawn(self._send(), "store-confirmed")
        return await answer

    async def close(self) -> None:
        """Close the connection; whoever waits gets StoreUnavailable."""
        await self.link.close()
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send(self) -> None:
        while self._gathered:
            batch, self._gathered = self._gathered, []
            await self._send_batch(batch)

    async def _send_batch(self, batch: list[tuple[bytes, float, asyncio.Future[Any]]]) -> None:
        # Whoever gave up before the call travelled has not made it.
        batch = [each for each in batch if not each[2].done()]
        until = self._loop.time() + self._timeout_s
        try:
            sent = [self.link.send(packed, deadline) for packed, deadline, _ in batch]
            sent.append(self.link.send(self._fence(), until))
            sent.append(self.link.send(pack(("WAIT", self._replicas, self._wait_ms)), until))
        except StoreUnavailable as error:
            for _, _, answer in batch:
                _settle(answer, error)
            return
        *replies, fence, have = await asyncio.gather(*sent, return_exceptions=True)
        confirmed = fence == 1 and isinstance(have, int) and have >= self._replicas
        if not isinstance(have, StoreUnavailable) and not isinstance(fence, ErrorReply):
            # What was not written tells nothing about replicas.
            self.short = not confirmed
        for (_, _, answer), reply in zip(batch, replies, strict=True):
            if confirmed or isinstance(reply, BaseException):
                _settle(answer, reply)
            else:
                _settle(answer, StoreUnavailable(self._too_few()))

    def _too_few(self) -> str:
        return (
            f"the store at {self._place} did it, but fewer than {self._replicas} replicas confirmed within "
            f"{self._wait_ms} ms, so a failover could undo it: do it again when they are back"
        )


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():
        return
    if isinstance(outcome, (ErrorReply, StoreUnavailable)):
        answer.set_exception(outcome)
    elif isinstance(outcome, BaseException):
        answer.set_exception(StoreUnavailable(f"the store failed: {type(outcome).__name__}"))
    else:
        answer.set_result(outcome)

"""Taking connections from a port that several processes share, one at a time, so that none takes what others could.

A worker that finds a connection waiting takes it when it is its turn; else it lets the others go first for a moment.
asyncio's own server takes whatever waits, all at once: of sixteen connections that come together, one worker
had sixteen. A port of each worker's own (SO_REUSEPORT) spreads them by chance, and loses what waits for one that ends.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from gateway import telemetry
from gateway.clock import spawn

BACKLOG = 1_024
_LET_OTHERS_S = 0.005
_OUT_OF_FILES_S = 0.5
_TELL_AGAIN_S = 60.0
_READ_AHEAD_BYTES = 65_536

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def streamed(serve: Serve) -> asyncio.Protocol:
    """Return a protocol that gives its connection to *serve* as a pair of streams."""
    reader = asyncio.StreamReader(limit=_READ_AHEAD_BYTES)
    return asyncio.StreamReaderProtocol(reader, serve)


class Acceptor:
    """Gives each connection of *listening* that falls to this process to a protocol that *made* makes."""

    def __init__(
        self,
        listening: socket.socket,
        made: Callable[[], asyncio.BaseProtocol],
        is_my_turn: Callable[[], bool],
    ) -> None:
        self._listening = listening
        self._made = made
        self._is_my_turn = is_my_turn
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self.pending = 0
        """Connections taken here that no protocol has yet."""
        self._open = False
        self._told_s = -_TELL_AGAIN_S

    @property
    def address(self) -> tuple[str, int]:
        """Return the address and the real port."""
        host, port, *_ = self._listening.getsockname()
        return host, port

    def open(self) -> None:
        """Listen, and begin to take connections.

        Raises:
            OSError: another process listens there.
        """
        self._listening.setblocking(False)
        self._listening.listen(BACKLOG)
        self._open = True
        self._loop.add_reader(self._listening.fileno(), self._look)

    def close(self, *, nobody_else: bool = False) -> None:
        """Take no more. What waits is for those who still do; when that is *nobody_else*, it is taken here first."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._listening.fileno())
        if self._later is not None:
            self._later.cancel()
        while nobody_else and self._take():
            pass
        if self._later is not None:
            self._later.cancel()
        self._listening.close()

    def _look(self) -> None:
        if self._is_my_turn():
            self._take()
        else:
            self._rest(_LET_OTHERS_S)

    def _rest(self, pause_s: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._later = self._loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        # Whoever should have gone first is busy, or the connection is gone from the queue by now.
        self._loop.add_reader(self._listening.fileno(), self._look)
        self._take()

    def _take(self) -> bool:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            # Out of file handles or memory: others may have some, and here it may pass.
            if self._loop.time() >= self._told_s + _TELL_AGAIN_S:
                self._told_s = self._loop.time()
                telemetry.log().error(
                    "connection_not_taken", error=error.strerror, mend="LimitNOFILE=65536 in the unit"
                )
            self._rest(_OUT_OF_FILES_S)
            return False
        connection.setblocking(False)
        self.pending += 1
        spawn(self._connect(connection), "client connection")
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                await self._loop.connect_accepted_socket(self._made, connection)
                await asyncio.sleep(0)
        finally:
            self.pending -= 1

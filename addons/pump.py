"""How one connection's events are worked off: in a loop of plain calls, not in a task for each.

mitmproxy starts a task, takes a lock and runs a context manager for every hook of every request. The order of
events is the same here: what an event brings about is queued behind it, and a hook that has to wait goes on in a
task of its own. Connections of a `GateMaster` only; mitmproxy's own handler serves everybody else's.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer, mode_servers
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from addons.arriving import Arriving
from addons.dispatch import DirectAddons
from addons.leaving import Leaving, waiting_bytes
from addons.wire import REST

_MAX_AHEAD_BYTES = 262_144
_JOINED_BYTES = 65_536

_log = logging.getLogger("mitmproxy.proxy.server")


class GateConnection(ProxyConnectionHandler):
    """A client connection of the door, with the connections to the apps that it caused."""

    def __init__(self, master: Any, reader: Any, writer: Any, options: Options, mode: Any) -> None:
        super().__init__(master, reader, writer, options, mode)  # type: ignore[no-untyped-call]
        self._addons: DirectAddons = master.addons
        self._loop = asyncio.get_running_loop()
        self._queue: deque[events.Event] = deque()
        self._pumping = False
        self._setting_up = True
        self._leaving: Leaving = master.leaving
        self._waiting: set[asyncio.Task[None]] = set()
        self._opening = 0
        self._ahead_bytes = 0
        self._caught_up = asyncio.Event()
        self._going: Any = None
        self._pieces: list[bytes] = []

    async def server_event(self, event: events.Event) -> None:
        """Work *event* off, and whatever it leads to that needs no waiting."""
        if isinstance(event, events.OpenConnectionCompleted):
            self._opening -= 1
            self._catch_up()
        self.feed(event)

    def _receive(self, connection: Connection, data: bytes) -> bool:
        """Work off what came on *connection*, and return whether to read on."""
        if connection.state is ConnectionState.CLOSED:
            return True
        if self._waiting or self._opening:
            self._ahead_bytes += len(data)
        self.feed(events.DataReceived(connection, data))
        return self._ahead_bytes <= _MAX_AHEAD_BYTES and not self._is_unread()

    def _catch_up(self) -> None:
        if not self._waiting and not self._opening:
            self._ahead_bytes = 0
            self._caught_up.set()

    def feed(self, event: events.Event) -> None:
        """Work *event* off; within the working-off of another one it waits for its turn."""
        self._queue.append(event)
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._queue:
                self._work_off(self._queue.popleft())
            self._write()
        finally:
            self._pumping = False

    def _work_off(self, event: events.Event) -> None:
        self.timeout_watchdog.register_activity()  # type: ignore[no-untyped-call]
        try:
            for command in self.layer.handle_event(event):
                if isinstance(command, commands.SendData):
                    self._send(command)
                    continue
                self._write()
                if isinstance(command, commands.StartHook):
                    self._call_hook(command)
                else:
                    self._obey(command)
        except Exception:  # noqa: BLE001 - as mitmproxy does: a fault of one connection is no fault of the door
            _log.exception("mitmproxy has crashed!")
        if self._setting_up:
            self.layer, self._setting_up = _innermost(self.layer)

    def _send(self, command: commands.SendData) -> None:
        transport = self.transports.get(command.connection)
        writer: Any = transport.writer if transport is not None else None
        if self._going is not writer:
            self._write()
            self._going = writer
        if writer is not None:
            self._pieces.append(command.data)

    def _write(self) -> None:
        """Hand to the system what was sent since the last time: a head and its body in one piece."""
        writer, pieces = self._going, self._pieces
        if not pieces or writer is None:
            return
        self._pieces = []
        if writer.is_closing():
            return
        if len(pieces) == 2 and len(pieces[1]) <= _JOINED_BYTES:
            writer.write(pieces[0] + pieces[1])
        else:
            for piece in pieces:
                writer.write(piece)

    def _call_hook(self, hook: commands.StartHook) -> None:
        rest = vars(hook).pop(REST, None) or self._addons.begin(hook)
        if rest is None:
            if hook.blocking:
                self.feed(events.HookCompleted(hook))
            return
        task = asyncio.Task(self._run_hook(hook, rest), loop=self._loop, eager_start=True)
        if not task.done():
            # Whoever waits for the store or the log is not idle.
            self.timeout_watchdog.blocker += 1
            self.timeout_watchdog.can_timeout.clear()
            self._waiting.add(task)
            task.add_done_callback(self._hook_ended)

    async def _run_hook(self, hook: commands.StartHook, rest: Coroutine[Any, Any, None]) -> None:
        await rest
        if hook.blocking:
            self.feed(events.HookCompleted(hook))

    def _hook_ended(self, task: "asyncio.Task[None]") -> None:
        self._waiting.discard(task)
        self._catch_up()
        watchdog = self.timeout_watchdog
        watchdog.blocker -= 1
        if watchdog.blocker == 0:
            watchdog.register_activity()  # type: ignore[no-untyped-call]
            watchdog.can_timeout.set()

    def _obey(self, command: commands.Command) -> None:
        if isinstance(command, commands.OpenConnection):
            self._opening += 1
            opening = self._task(self.open_connection(command), "server connection")
            self.transports[command.connection] = ConnectionIO(handler=opening)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(self._task(self.wakeup(command), "wakeup timer"))
        elif isinstance(command, commands.CloseConnection):
            if command.connection in self.transports:
                self.close_connection(command.connection, getattr(command, "half_close", False))
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise TypeError(f"unexpected command {type(command).__name__}")

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return asyncio_utils.create_task(work, name=name, keep_ref=False, client=self.client.peername)

    async def handle_connection(self, connection: Connection) -> None:
        """Serve one connection to its end, and see its last bytes off."""
        transport = self.transports[connection]
        writer = transport.writer
        if isinstance(transport.reader, asyncio.StreamReader):
            arriving: Any = Arriving(
                transport.reader, writer, partial(self._receive, connection), self.drain_writers
            )
            transport.reader = arriving
        try:
            await super().handle_connection(connection)
        finally:
            if isinstance(writer, asyncio.StreamWriter):
                self._leaving.take(writer)

    async def on_timeout(self) -> None:
        """Close a connection on which nothing happens, unless somebody reads what was written.

        The system's buffers hold megabytes: a slow reader is busy with them for minutes while nothing happens here.
        """
        watchdog = self.timeout_watchdog
        seen = watchdog.last_activity
        while (read_on := await self._is_read_on()) or watchdog.last_activity != seen or watchdog.blocker:
            seen = watchdog.last_activity
            await asyncio.sleep(0 if read_on else watchdog.timeout)
        for writer in self._writers():
            if waiting_bytes(writer):
                writer.transport.abort()
        await super().on_timeout()

    async def _is_read_on(self) -> bool:
        """Tell whether a peer takes some of what it was sent, within half of the time that ends a silent connection."""
        waits = sum(map(waiting_bytes, self._writers()))
        if not waits:
            return False
        await asyncio.sleep(self.timeout_watchdog.timeout / 2)
        return sum(map(waiting_bytes, self._writers())) != waits

    def _writers(self) -> list[asyncio.StreamWriter]:
        found = (transport.writer for transport in self.transports.values())
        return [writer for writer in found if isinstance(writer, asyncio.StreamWriter)]

    async def drain_writers(self) -> None:
        """Wait while a peer is slow to read; when nobody is, there is nothing to wait for.

        What arrives while a hook or a connection is waited for is queued: past a bound no more of it is read.
        """
        while self._ahead_bytes > _MAX_AHEAD_BYTES:
            self._caught_up.clear()
            await self._caught_up.wait()
        if self._is_unread():
            await super().drain_writers()  # type: ignore[no-untyped-call]

    def _is_unread(self) -> bool:
        """Tell whether the system took less than was written for somebody."""
        for transport in self.transports.values():
            writer = transport.writer
            if isinstance(writer, asyncio.StreamWriter) and writer.transport.get_write_buffer_size():
                return True
        return False


def _innermost(outer: layer.Layer) -> tuple[layer.Layer, bool]:
    """Return the layer that does the work, since those around it only hand events on once they are set up;
    and whether they are still being set up."""
    while isinstance(outer, modes.ReverseProxy | layer.NextLayer):
        inner = outer.layer if isinstance(outer, layer.NextLayer) else getattr(outer, "child_layer", None)
        if inner is None or outer._paused is not None:  # noqa: SLF001
            return outer, True
        outer = inner
    return outer, False


def _handler(master: Any, reader: Any, writer: Any, options: Options, mode: Any) -> ProxyConnectionHandler:
    made = GateConnection if isinstance(master.addons, DirectAddons) else ProxyConnectionHandler
    return made(master, reader, writer, options, mode)


def _unchecked(_message: http.MessageData) -> None:
    """Stand in for a check of every field's type in every message that is made: a tenth of an exchange's cost."""


# mitmproxy names the class of its connections in one module global and offers no other way in.
vars(_handler)["__wrapped__"] = ProxyConnectionHandler
vars(mode_servers)["ProxyConnectionHandler"] = _handler
http.MessageData.__post_init__ = _unchecked  # type: ignore[method-assign]

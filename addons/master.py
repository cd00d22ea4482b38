"""The door itself: a minimal mitmproxy master with hardened options, from readiness to drained.

Only the addons named in ``build`` run: no onboarding pages, no scripts, no saved flows, no certificate
authority, no protocol but HTTP/1. ``mode`` needs one upstream; it is a dead address, and
``upstreams.choose`` names the app's for each flow.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mitmproxy import options
from mitmproxy.addons import proxyserver
from mitmproxy.master import Master
from mitmproxy.proxy.mode_servers import ServerInstance

import addons.pump  # noqa: F401 - connections of this master are worked off by it
from addons.dispatch import DirectAddons
from addons.leaving import Leaving
from addons.listener import Listener, server_context
from addons.sentinel import Sentinel
from addons.upstreams import Upstreams
from addons.wire import Wire, WireBounds
from gateway.clock import spawn
from gateway.policy.policy import Upstream
from gateway.workers.accepting import Acceptor, streamed

_DEAD_UPSTREAM = "reverse:http://127.0.0.1:9"
_POLL_S = 0.02
_LINGER_S = 1.0

_log = logging.getLogger("addons.door")


class PortRefusedError(OSError):
    """The door could not listen where it was told to."""


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Where the door stands. *listen_port* 0 takes a free one. Both PEM files, or neither for plain HTTP
    behind a proxy that ends TLS. *idle_timeout_s* closes silent connections; half of it is how long somebody
    may go without reading any of what was written, before it is given up."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 8443
    certificate_file: str | None = None
    key_file: str | None = None
    idle_timeout_s: int = 60
    bounds: WireBounds = field(default_factory=WireBounds)


@dataclass(frozen=True, slots=True)
class SharedPort:
    """A bound socket on which other processes accept too. *is_my_turn* is told how many connections are open here,
    and tells whether the next one should be taken here rather than there."""

    listening: socket.socket
    is_my_turn: Callable[[int], bool]


def hardened_options(settings: DoorSettings) -> dict[str, object]:
    """Return mitmproxy's options for *settings*. Anything unset here that could stream or tunnel is off."""
    return {
        "http2": False,
        "http3": False,
        "rawtcp": False,
        "websocket": True,
        "connection_strategy": "lazy",
        "keep_host_header": True,
        "validate_inbound_headers": True,
        "stream_large_bodies": None,
        "store_streamed_bodies": False,
        # Bodies are bounded by `layers`, according to their door.
        "body_size_limit": None,
        "tcp_timeout": settings.idle_timeout_s,
        "upstream_cert": False,
        "ssl_insecure": False,
    }


class GateMaster(Master):
    """mitmproxy with what the door needs and nothing else."""

    def __init__(
        self,
        settings: DoorSettings,
        addons: Sequence[object],
        upstreams: Iterable[Upstream],
        shared: SharedPort | None = None,
    ) -> None:
        if (settings.certificate_file is None) != (settings.key_file is None):
            raise ValueError("listener: give certificate_file and key_file together, or neither")
        context = None
        if settings.certificate_file is not None and settings.key_file is not None:
            context = server_context(settings.certificate_file, settings.key_file)
        self.upstreams = Upstreams(upstreams)
        self.wire = Wire(settings.bounds)
        self.leaving = Leaving(settings.idle_timeout_s / 2)
        for addon in addons:
            self.wire.refused = getattr(addon, "wire_refused", self.wire.refused)
        _hush()
        super().__init__(
            options.Options(
                listen_host=settings.listen_host,
                listen_port=settings.listen_port,
                mode=[_DEAD_UPSTREAM],
                server=shared is None,
            )
        )
        self.addons = DirectAddons(self)
        self.wire.begin = self.addons.begin
        self._proxyserver = proxyserver.Proxyserver()  # type: ignore[no-untyped-call]
        self._ready = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        chain = (
            self._proxyserver,
            Listener(self._proxyserver, self.wire, context),
            self.upstreams,
            *addons,
            Sentinel(),
        )
        self.addons.add(*chain)
        self.options.update(**hardened_options(settings))  # type: ignore[no-untyped-call]
        self._acceptor: Acceptor | None = None
        if shared is not None:
            serve = ServerInstance.make(_DEAD_UPSTREAM, self._proxyserver).handle_stream
            is_my_turn = shared.is_my_turn
            self._acceptor = Acceptor(
                shared.listening, lambda: streamed(serve), lambda: is_my_turn(self.connections)
            )

    @property
    def connections(self) -> int:
        """Return how many client connections are open, or are being opened."""
        pending = self._acceptor.pending if self._acceptor is not None else 0
        return len(self._proxyserver.connections) + pending

    @classmethod
    def build(
        cls,
        settings: DoorSettings,
        addons: Sequence[object],
        upstreams: Iterable[Upstream],
        shared: SharedPort | None = None,
    ) -> "GateMaster":
        """Make a door that runs *addons* in their order, the sentinel behind them. Call inside the loop.

        With *shared* it accepts on that socket, whatever *settings* say of the address.

        Raises:
            ValueError: CertificateRefusedError, UpstreamConflictError or half a pair of files.
        """
        return cls(settings, addons, upstreams, shared)

    async def running(self) -> None:
        """Tell readiness once every socket listens (called by mitmproxy).

        Raises:
            PortRefusedError: naming the address and the system's reason.
        """
        for server in self._proxyserver.servers:
            if not server.is_running:
                where = f"{self.options.listen_host}:{self.options.listen_port}"
                error = server.last_exception
                why = error.strerror if isinstance(error, OSError) and error.strerror else "cannot listen"
                raise PortRefusedError(f"listener {where}: {why.splitlines()[0]}")
        await super().running()
        self._ready.set()

    async def start(self) -> tuple[str, int]:
        """Open the port and return the address in use, with the real port.

        Raises:
            PortRefusedError: nothing listens.
        """
        self._running = spawn(self.run(), "door")
        ready = spawn(self._ready.wait(), "door readiness")
        await asyncio.wait({self._running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            ready.cancel()
            await self._running
            raise PortRefusedError("listener: stopped before it was ready")
        if self._acceptor is not None:
            return self._open(self._acceptor)
        host, port, *_ = self._proxyserver.listen_addrs()[0]
        return host, port

    @staticmethod
    def _open(acceptor: Acceptor) -> tuple[str, int]:
        host, port = acceptor.address
        try:
            acceptor.open()
        except OSError as error:
            raise PortRefusedError(f"listener {host}:{port}: {error.strerror}") from None
        return host, port

    async def wait_closed(self) -> None:
        """Return when the door has stopped; raise what stopped it if that was a fault."""
        if self._running is not None:
            await self._running

    async def drain(self, longest_s: float, idle_s: float = 0.0) -> int:
        """Stop accepting, let exchanges under way end for at most *longest_s*, then stop.

        Connections without a request are closed at once, or are given *idle_s* to make one, whose answer says
        that it is the last. Returns how many connections were cut.
        """
        self.wire.stopping = True
        if self._acceptor is not None:
            self._acceptor.close()
        await self._proxyserver.servers.update([])
        began = asyncio.get_running_loop().time()
        deadline = began + longest_s
        while (self.connections or self.leaving) and asyncio.get_running_loop().time() < deadline:
            if asyncio.get_running_loop().time() - began >= idle_s:
                self._close_idle()
            await asyncio.sleep(_POLL_S)
        cut = list(self._proxyserver.connections.values())
        for handler in cut:
            if handler.client in handler.transports:
                handler.close_connection(handler.client)
        gone = self.leaving.give_up()
        deadline += _LINGER_S
        # mitmproxy tells nobody when the last task of a connection has ended.
        while self._proxyserver.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self.leaving.give_up()
        self.shutdown()  # type: ignore[no-untyped-call]
        await self.wait_closed()
        return len(cut) + gone

    def _close_idle(self) -> None:
        busy = {server.conn.id for server in list(self.wire.servers) if not server.idle}
        for connection_id, handler in list(self._proxyserver.connections.items()):
            if connection_id not in busy and handler.client in handler.transports:
                handler.close_connection(handler.client)


class _WithoutText(logging.Handler):
    """mitmproxy's messages quote requests, answers and addresses: only where they arose is passed on."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "message"
        _log.error("mitmproxy fault", extra={"where": f"{record.module}:{record.lineno}", "kind": kind})


def _hush() -> None:
    logger = logging.getLogger("mitmproxy")
    logger.propagate = False
    if not any(isinstance(handler, _WithoutText) for handler in logger.handlers):
        logger.addHandler(_WithoutText(level=logging.ERROR))

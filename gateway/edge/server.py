"""Where the check listens, and one process that answers there: uvicorn with httptools, and little of it."""

import asyncio
import contextlib
import gc
import grp
import os
import signal
import socket
import stat
from collections.abc import Callable, Generator
from pathlib import Path

import uvicorn

from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.writer import AuditUnavailable
from gateway.clock import spawn
from gateway.configuration import ConfigurationFaults, EdgeSettings, Loaded, Settings, load
from gateway.configuration.in_force import ConfigurationWeakens, detail, follow, no_weaker
from gateway.edge.check import Check
from gateway.edge.service import Service
from gateway.engine import Engine
from gateway.engine.services import Services
from gateway.vocabulary.events import EventKind

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75
_SOCKET_MODE = 0o660
_LOOK_S = 1.0


class CannotListen(Exception):
    """The check has no place to listen. The message names the place and the mend."""


def listen(edge: EdgeSettings) -> list[socket.socket]:
    """Open the sockets of the configuration; the unix one for its group alone.

    Raises:
        CannotListen: a place is taken, or cannot be made.
    """
    opened: list[socket.socket] = []
    try:
        if edge.socket is not None:
            opened.append(_unix(edge.socket, edge.group))
        if edge.port is not None:
            family = socket.AF_INET6 if ":" in edge.address else socket.AF_INET
            # Named, so that asyncio knows it for TCP and lets small answers leave at once.
            inet = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            opened.append(inet)
            inet.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            inet.bind((edge.address, edge.port))
    except (OSError, LookupError) as error:
        for one in opened:
            one.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else "there is no such group"
        place = edge.socket if not opened else f"{edge.address}:{edge.port}"
        raise CannotListen(f"the check cannot listen on {place}: {why}; see gateway.edge") from error
    for one in opened:
        one.listen(_BACKLOG)
        one.setblocking(False)
    return opened


def _unix(path: Path, group: str | None) -> socket.socket:
    # One that a killed process left behind answers nobody; anything else is not ours to remove.
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Nobody may connect before the group is set.
        made.bind(str(path))
        path.chmod(0o600)
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(_SOCKET_MODE)
    except BaseException:
        made.close()
        raise
    return made


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


class _Server(uvicorn.Server):
    """Leaves signals to us: SIGTERM drains, SIGHUP reloads."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def run(
    loaded: Loaded, sockets: list[socket.socket], number: int, orphaned: Callable[[], bool]
) -> None:
    """Answer on *sockets* until SIGTERM, or until *orphaned* says that nobody looks after us any more.

    *number* counts the processes from 1: each writes the log ``edge-N``.

    Raises:
        KeysRefused, KeysDisagree, AuditUnavailable, EmbeddedFailed, StoreUnavailable, StoreEmptied: as open_services.
    """
    # Begun again beside a gateway that runs, it may not decide by weaker rules.
    loaded, weaker = no_weaker(loaded)
    if weaker:
        telemetry.log().error("weaker_configuration_not_taken", weaker=len(weaker))
    settings = loaded.settings
    if settings.edge is None:
        raise ValueError("no edge in the configuration")
    secret = settings.edge.secret.encode("ascii") if settings.edge.secret is not None else None
    loop, stopping, asked = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    async with open_services(loaded, writer=f"edge-{number}") as services:
        await services.audit.append(note(services, EventKind.STARTED, ("door", "edge")))
        server = _Server(_config(Service(Check(Engine(services)), secret), loaded))
        watch = spawn(_watch(server, services, settings, stopping, asked, orphaned), "edge watch")
        # What is here now stays: the collector need not walk through it again during a question.
        gc.collect()
        gc.freeze()
        telemetry.log().info("edge_ready", process=number, policy_id=loaded.policy.policy_id)
        try:
            await server.serve(sockets=sockets)
        finally:
            watch.cancel()
            services.stopping = True
            with contextlib.suppress(AuditUnavailable):
                await services.audit.append(note(services, EventKind.STOPPED, ("door", "edge")))


def _config(app: Service, loaded: Loaded) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        # It would believe the address of the client and forget that of the asker.
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=loaded.policy.drain_s,
    )


async def _watch(
    server: uvicorn.Server,
    services: Services,
    settings: Settings,
    stopping: asyncio.Event,
    asked: asyncio.Event,
    orphaned: Callable[[], bool],
) -> None:
    """Reload when *asked*; end the server when *stopping*, or when nobody looks after us any more."""
    while not stopping.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await _either(stopping, asked)
        if asked.is_set():
            asked.clear()
            await reload(services, settings)
        if orphaned():
            break
    server.should_exit = True


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    waits = [spawn(one.wait(), "edge stop"), spawn(other.wait(), "edge reload")]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def reload(services: Services, settings: Settings) -> bool:
    """Swap in the policy as it now stands in its files; keep the old one, and say so, when it has faults.

    One that weakens is taken only where the gateway of this node has it in force: there it was accepted.
    """
    before = services.policy.policy_id
    try:
        fresh = await asyncio.to_thread(load, settings.config_path)
        await asyncio.to_thread(follow, services.policy, fresh)
        await services.audit.append(
            note(services, EventKind.CONFIG_LOADED, ("before", before), ("after", fresh.policy.policy_id))
        )
    except (ConfigurationFaults, ValueError, OSError, AuditUnavailable) as error:
        faults = len(error.faults) if isinstance(error, ConfigurationFaults) else 1
        weaker = detail(error.changes) if isinstance(error, ConfigurationWeakens) else ()
        services.audit.append_soon(note(services, EventKind.CONFIG_REFUSED, ("faults", str(faults)), *weaker))
        telemetry.log().error("configuration_reload_refused", faults=faults, policy_id=before)
        return False
    services.policy = fresh.policy
    services.classes.clear()
    telemetry.log().info("configuration_reloaded", policy_id=fresh.policy.policy_id)
    return True

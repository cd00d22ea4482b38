"""One process of the check, on a seat of its supervisor."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import uvloop

from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.writer import AuditUnavailable
from gateway.cli.reloading import (
    KEPT_OPEN,
    check_now,
    differing,
    freeze,
    is_ready,
    load_again,
    record_start,
    reload_now,
    show_measures,
)
from gateway.clock import spawn
from gateway.configuration import KeysRefused, Loaded, Settings
from gateway.configuration.in_force import follow, no_weaker
from gateway.edge.server import wire_of
from gateway.edge.wire import Wire
from gateway.engine.services import Services
from gateway.policy.weakening import Change
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.vocabulary.events import EventKind
from gateway.workers.acceptance import Acceptance
from gateway.workers.accepting import Acceptor
from gateway.workers.seated import Seated
from gateway.workers.worker import Seat

REFUSES_TO_START = (
    *(KeysRefused, KeysDisagree, MarkerFileBroken, EmbeddedFailed, StoreUnavailable, StoreEmptied),
    *(AuditUnavailable, OSError),
)
"""What says by itself why the check does not start."""
IDLE_S = 2.0
"""A front proxy may have sent a question on a connection that was idle until then: so long it is waited for."""
_DOOR = ("door", "edge")
_OF_THE_SUPERVISOR = ("socket", "group", "address", "port", "processes", "metrics_address", "metrics_port")


def run(loaded: Loaded, seat: Seat) -> None:
    """Run ``run_worker`` in a loop that is quick with small messages."""
    asyncio.run(run_worker(loaded, seat), loop_factory=_loop)


async def run_worker(loaded: Loaded, seat: Seat) -> None:
    """Answer on *seat* until the supervisor, or SIGTERM, asks to stop; then drain, flush and return.

    It writes the log ``edge-N``, N being the seat.

    Raises:
        KeysRefused, KeysDisagree, AuditUnavailable, EmbeddedFailed, StoreUnavailable, StoreEmptied: as open_services.
    """
    seated = await Seated.take(seat)
    # Beside a gateway that runs, it may not decide by weaker rules.
    loaded, weaker = no_weaker(loaded)
    if weaker:
        telemetry.log().error(
            "weaker_configuration_not_taken", weaker=len(weaker), policy_id=loaded.policy.policy_id
        )
    # Its log ends with it: another process may come back to this seat late, or never.
    async with open_services(loaded, writer=f"edge-{seat.number}", worker=1) as services:
        checking = _Checking(services, wire_of(loaded, services), loaded.settings)
        for descriptor in seat.listening:
            checking.accept(socket.socket(fileno=descriptor), seated)
        begun = note(services, EventKind.CONFIG_LOADED, ("after", loaded.policy.policy_id))
        await record_start(services, loaded.settings, [begun], _DOOR)
        telemetry.show_policy(loaded.policy.policy_id)
        freeze()
        for acceptor in checking.acceptors:
            acceptor.open()
        telemetry.log().info("edge_ready", process=seat.number, policy_id=loaded.policy.policy_id)
        showing = spawn(show_measures(services), "measures shown")
        try:
            await seated.until_stopped(checking)
        finally:
            showing.cancel()
            cut = await checking.drain(seated)
            services.stopping = True
            with suppress(AuditUnavailable):
                await services.audit.append(note(services, EventKind.STOPPED, _DOOR, ("cut", str(cut))))
    await seated.leave()


class _Checking:
    """What a process of the check does for its supervisor."""

    idle_s = IDLE_S

    def __init__(self, services: Services, wire: Wire, settings: Settings) -> None:
        self.acceptors: list[Acceptor] = []
        self._services = services
        self._wire = wire
        self._settings = settings

    def accept(self, listening: socket.socket, seated: Seated) -> None:
        """Have connections of *listening* taken, in turns with the others."""
        turn = seated.standings.is_my_turn
        self.acceptors.append(Acceptor(listening, self._wire.connection, lambda: turn(self.connections)))

    @property
    def connections(self) -> int:
        return len(self._wire.connections) + sum(acceptor.pending for acceptor in self.acceptors)

    @property
    def drain_s(self) -> float:
        return float(self._services.policy.drain_s)

    def standing(self) -> dict[str, Any]:
        return {"ready": is_ready(self._services), "policy_id": self._services.policy.policy_id}

    async def reload(self, accepted: Acceptance | None) -> dict[str, Any]:  # noqa: ARG002 - it is the inspector's
        return await reload_now(
            self._services, lambda: load_again(self._settings, _needs_restart), self._weigh, lambda _: None
        )

    async def check(self) -> dict[str, Any]:
        return await check_now(
            self._services, lambda: load_again(self._settings, _needs_another_supervisor), self._weigh
        )

    def _weigh(self, fresh: Loaded) -> tuple[Change, ...]:
        """Take what weakens only where the gateway of this node has it in force: there it was accepted, on record."""
        follow(self._services.policy, fresh)
        return ()

    async def drain(self, seated: Seated) -> int:
        """Take no more, answer what was asked, and return how many connections were cut."""
        for acceptor in self.acceptors:
            acceptor.close(nobody_else=seated.alone)
        return await self._wire.close(seated.longest_s, seated.idle_s)


def _needs_restart(old: Settings, new: Settings) -> list[str]:
    """Return the settings that differ and cannot change while a process runs."""
    secret = differing(old.edge, new.edge, ("secret",)) if old.edge and new.edge else []
    return [
        *_needs_another_supervisor(old, new),
        *differing(old, new, ("keys_dir",)),
        *(f"edge.{name}" for name in secret),
    ]


def _needs_another_supervisor(old: Settings, new: Settings) -> list[str]:
    """Return the settings that differ and stay as they are while the processes are replaced one by one."""
    if old.edge is None or new.edge is None:
        return ["edge"]
    kept = [name for name in KEPT_OPEN if name != "keys_dir"]
    return [
        *differing(old, new, kept),
        *(f"edge.{name}" for name in differing(old.edge, new.edge, _OF_THE_SUPERVISOR)),
    ]


def _loop() -> asyncio.AbstractEventLoop:
    # Without io_uring, which hardened systems forbid and which gains nothing here.
    os.environ.setdefault("UV_USE_IO_URING", "0")
    return uvloop.new_event_loop()

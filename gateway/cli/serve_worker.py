"""A worker: a serving process of a node that has several. Its supervisor tells it when to reload and when to leave."""

import socket
from contextlib import suppress
from typing import Any

from addons.master import GateMaster, SharedPort
from gateway import telemetry
from gateway.assembly.services import note, open_services
from gateway.audit.writer import AuditUnavailable
from gateway.cli.reloading import freeze, is_ready, show_measures
from gateway.cli.serve import begin_on_record, build_door, check_door, reload_door
from gateway.clock import spawn
from gateway.configuration import Loaded, Settings
from gateway.configuration.in_force import no_weaker
from gateway.engine.services import Services
from gateway.vocabulary.events import EventKind
from gateway.workers.acceptance import Acceptance
from gateway.workers.seated import Seated
from gateway.workers.worker import Seat


async def run_worker(loaded: Loaded, seat: Seat) -> None:
    """Serve on *seat* until the supervisor, or SIGTERM, asks to stop; then drain, flush and return."""
    seated = await Seated.take(seat)
    if seat.beside:
        loaded, weaker = no_weaker(loaded)
        if weaker:
            telemetry.log().error(
                "weaker_configuration_not_taken", weaker=len(weaker), policy_id=loaded.policy.policy_id
            )
    settings = loaded.settings
    async with open_services(loaded, worker=seat.number) as services:
        (listening,) = seat.listening
        shared = SharedPort(socket.socket(fileno=listening), seated.standings.is_my_turn)
        master = build_door(loaded, services, shared)
        await begin_on_record(services, settings)
        await master.start()
        telemetry.show_policy(loaded.policy.policy_id)
        freeze()
        spawn(_door(master, seated), "door")
        showing = spawn(show_measures(services), "measures shown")
        try:
            await seated.until_stopped(_Inspecting(services, master, settings))
        finally:
            showing.cancel()
            services.stopping = not seated.idle_s
            cut = await master.drain(seated.longest_s, seated.idle_s)
            with suppress(AuditUnavailable):
                await services.audit.append(note(services, EventKind.STOPPED, ("cut", str(cut))))
    await seated.leave()


class _Inspecting:
    """What an inspector does for its supervisor."""

    idle_s = 0.0

    def __init__(self, services: Services, master: GateMaster, settings: Settings) -> None:
        self._services = services
        self._master = master
        self._settings = settings

    @property
    def connections(self) -> int:
        return self._master.connections

    @property
    def drain_s(self) -> float:
        return float(self._services.policy.drain_s)

    def standing(self) -> dict[str, Any]:
        return {"ready": is_ready(self._services), "policy_id": self._services.policy.policy_id}

    async def reload(self, accepted: Acceptance | None) -> dict[str, Any]:
        return await reload_door(self._services, self._master, self._settings, accepted)

    async def check(self) -> dict[str, Any]:
        return await check_door(self._services, self._settings)


async def _door(master: GateMaster, seated: Seated) -> None:
    try:
        await master.wait_closed()
    finally:
        seated.stop_now()

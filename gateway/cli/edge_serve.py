"""``ecluse edge serve``: a supervisor and the processes of the check. It imports what answers only where it answers."""

import importlib
from typing import TYPE_CHECKING

import click
import msgspec

from gateway import telemetry
from gateway.cli import EXIT_FAULT, config_option, fail
from gateway.cli.serve_start import become_supervisor, run_supervisor
from gateway.dependencies import DependenciesRefused, refuse_known_faults
from gateway.vocabulary.running import Door
from gateway.workers.plan import Plan
from gateway.workers.worker import Seat

if TYPE_CHECKING:
    from gateway.configuration import Loaded


@click.command(epilog="Example:  ecluse edge serve --config /etc/ecluse/ecluse.yaml")
@click.option("--seat", hidden=True, help="Be a process of the supervisor that began us.")
@click.option("--supervise", type=int, hidden=True, help="Be the supervisor of the plan in this descriptor.")
@config_option
def serve(seat: str | None, supervise: int | None, config_path: str) -> None:
    """Answer the front proxy until SIGTERM; SIGHUP reloads, SIGUSR2 replaces the processes one by one."""
    telemetry.configure()
    if supervise is not None:
        run_supervisor(supervise)
        return
    try:
        refuse_known_faults()
    except DependenciesRefused as error:
        fail(f"the check does not start: {error}", EXIT_FAULT)
    loaded: Loaded = importlib.import_module("gateway.cli.loading").load_or_exit(config_path)
    if seat is None:
        become_supervisor(plan_of(loaded), "edge", "serve")
    serving = importlib.import_module("gateway.cli.edge_worker")
    try:
        serving.run(loaded, msgspec.json.decode(seat, type=Seat))
    except serving.REFUSES_TO_START as error:
        fail(f"the check does not start: {error}", EXIT_FAULT)


def plan_of(loaded: "Loaded") -> Plan:
    """Return what a supervisor of the check needs to know of *loaded*; leave with 2 when there is none in it."""
    settings, policy, edge = loaded.settings, loaded.policy, loaded.settings.edge
    if edge is None:
        fail("gateway.edge is missing: say there where the check listens", EXIT_FAULT)
    return Plan(
        config_path=str(settings.config_path),
        door=Door.EDGE,
        workers=edge.processes,
        address=edge.address,
        port=edge.port,
        socket=str(edge.socket) if edge.socket is not None else None,
        group=edge.group,
        state_dir=str(settings.state_dir),
        policy_id=policy.policy_id,
        metrics_address=edge.metrics_address,
        metrics_port=edge.metrics_port,
        drain_s=policy.drain_s,
        memory_bytes=settings.worker_memory_bytes,
        store_dir=str(settings.state_dir / "store") if settings.embedded_store else None,
        keeper=False,
        watcher=False,
    )

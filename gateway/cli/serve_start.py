"""``ecluse serve``: one process, or a supervisor and its workers. It imports what serves only where it serves."""

import asyncio
import importlib
import os
from typing import TYPE_CHECKING, Literal, NoReturn

import click
import msgspec

from gateway import telemetry
from gateway.cli import EXIT_FAULT, config_option, fail
from gateway.dependencies import DependenciesRefused, refuse_known_faults
from gateway.processes import allow_files, ecluse
from gateway.valkey.embedded import EmbeddedFailed
from gateway.workers.crew import WorkersDidNotStart
from gateway.workers.plan import Plan, count
from gateway.workers.port import PortTaken
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Seat

if TYPE_CHECKING:
    from gateway.configuration import Loaded

_MOST_WORKERS = 64
_FEW_FILES = 12_288
"""Under this, five thousand people with a connection to an application each do not find room in one process."""


class _Count(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "N|auto"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        text = str(value)
        if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= _MOST_WORKERS:
            self.fail(f"{text!r} is neither a number from 1 to {_MOST_WORKERS} nor auto", param, ctx)
        return int(text)


@click.command(epilog="Example:  ecluse serve --workers auto --config /etc/ecluse/ecluse.yaml")
@click.option(
    "--workers",
    type=_Count(),
    help="So many inspectors on the one port, under a supervisor; auto: one a core. gateway.workers by default.",
)
@click.option("--seat", hidden=True, help="Be a worker of the supervisor that began us.")
@click.option("--supervise", type=int, hidden=True, help="Be the supervisor of the plan in this descriptor.")
@config_option
def serve(
    workers: int | Literal["auto"] | None, seat: str | None, supervise: int | None, config_path: str
) -> None:
    """Run the gateway until SIGTERM; SIGHUP reloads the configuration, SIGUSR2 replaces the workers one by one."""
    telemetry.configure()
    files = allow_files()
    if files < _FEW_FILES and seat is None and supervise is None:
        telemetry.log().warning(
            "few_open_files",
            limit=files,
            connections=files // 2,
            mend="raise the hard limit: LimitNOFILE=65536 in the unit, or ulimit -Hn 65536",
        )
    if supervise is not None:
        run_supervisor(supervise)
        return
    refuse_what_is_unfit()
    loaded: Loaded = importlib.import_module("gateway.cli.loading").load_or_exit(config_path)
    if seat is not None:
        serving = importlib.import_module("gateway.cli.serve_worker")
        work = serving.run_worker(loaded, msgspec.json.decode(seat, type=Seat))
    else:
        asked = workers if workers is not None else loaded.settings.workers
        if asked is not None:
            become_supervisor(plan_of(loaded, count(asked)), "serve")
        work = importlib.import_module("gateway.cli.serve").run(loaded)
    refused = importlib.import_module("gateway.cli.serve").REFUSES_TO_START
    try:
        asyncio.run(work)
    except refused as error:
        fail(f"the gateway does not start: {error}", EXIT_FAULT)


def refuse_what_is_unfit() -> None:
    """Leave with 2 where the packages below the gateway have known faults, or are not what the door relies on.

    To be called before the door's modules are imported: they put names of theirs in place of mitmproxy's.
    """
    contract = importlib.import_module("addons.contract")
    try:
        refuse_known_faults()
        contract.check()
    except (DependenciesRefused, contract.ContractBroken) as error:
        for said in error.faults:
            click.echo(said, err=True)
        fail(f"the gateway does not start: {error}", EXIT_FAULT)


def plan_of(loaded: "Loaded", workers: int) -> Plan:
    """Return what a supervisor needs to know of *loaded*."""
    settings, policy = loaded.settings, loaded.policy
    return Plan(
        config_path=str(settings.config_path),
        workers=workers,
        address=settings.listen_address,
        port=settings.listen_port,
        state_dir=str(settings.state_dir),
        policy_id=policy.policy_id,
        metrics_address=settings.metrics_address,
        metrics_port=settings.metrics_port,
        drain_s=policy.drain_s,
        memory_bytes=settings.worker_memory_bytes,
        store_dir=str(settings.state_dir / "store") if settings.embedded_store else None,
        keeper=settings.keeper,
        watcher=settings.watcher,
        edge_beside=settings.edge_beside,
    )


def become_supervisor(plan: Plan, *noun: str) -> NoReturn:
    """Begin this process anew, as the command *noun*, as a supervisor.

    What it has read, passwords among it, is gone from its memory then.
    """
    handle = os.memfd_create("ecluse-plan", 0)
    os.write(handle, msgspec.json.encode(plan))
    command = ecluse(*noun, "--config", plan.config_path, "--supervise", str(handle))
    os.execv(command[0], command)  # noqa: S606 - no shell, and our own interpreter


def run_supervisor(handle: int) -> None:
    """Supervise by the plan in the descriptor *handle* until SIGTERM; say why when it cannot begin."""
    plan = msgspec.json.decode(os.pread(handle, os.fstat(handle).st_size, 0), type=Plan)
    os.close(handle)
    try:
        asyncio.run(_run(plan))
    except WorkersDidNotStart as error:
        raise SystemExit(error.code) from None
    except (PortTaken, EmbeddedFailed) as error:
        fail(f"{plan.door.words} does not start: {error}", EXIT_FAULT)


async def _run(plan: Plan) -> None:
    await Supervisor(plan).run()

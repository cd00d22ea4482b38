"""``ecluse edge``: the check that a front proxy asks, and the proxy's configuration."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import click
import uvloop

from gateway import telemetry
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail
from gateway.cli.loading import load_or_exit
from gateway.configuration import KeysRefused, Loaded
from gateway.edge.crew import Crew
from gateway.edge.front import WRITERS, CannotWrite, Site
from gateway.edge.server import CannotListen, listen, run
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken

_REFUSES_TO_START = (
    KeysRefused,
    KeysDisagree,
    MarkerFileBroken,
    EmbeddedFailed,
    StoreUnavailable,
    StoreEmptied,
    AuditUnavailable,
)


@click.group(epilog="Example:  ecluse edge config nginx --into /etc/nginx/conf.d")
def edge() -> None:
    """Run the check for a front proxy; write the proxy's configuration."""


@edge.command(epilog="Example:  ecluse edge serve --config /etc/ecluse/ecluse.yaml")
@click.option("--number", type=click.IntRange(min=1), hidden=True, help="Which process of several we are.")
@click.option(
    "--descriptor", "descriptors", type=int, multiple=True, hidden=True, help="A socket we inherit."
)
@click.option(
    "--parent", type=click.IntRange(min=1), hidden=True, help="End with this process, which began us."
)
@config_option
def serve(number: int | None, descriptors: tuple[int, ...], parent: int | None, config_path: str) -> None:
    """Answer the front proxy until SIGTERM; SIGHUP reloads the configuration."""
    telemetry.configure()
    loaded = load_or_exit(config_path)
    settings = loaded.settings
    if settings.edge is None:
        fail("gateway.edge is missing: say there where the check listens", EXIT_FAULT)
    try:
        if descriptors:
            sockets = [socket.socket(fileno=one) for one in descriptors]
            work = run(loaded, sockets, number or 1, lambda: parent is not None and os.getppid() != parent)
            asyncio.run(work, loop_factory=_loop)
            return
        sockets = listen(settings.edge)
        try:
            if settings.edge.processes == 1:
                asyncio.run(run(loaded, sockets, 1, lambda: False), loop_factory=_loop)
            else:
                asyncio.run(_lead(loaded, sockets, settings.edge.processes))
        finally:
            if settings.edge.socket is not None:
                settings.edge.socket.unlink(missing_ok=True)
    except (*_REFUSES_TO_START, CannotListen) as error:
        fail(f"the check does not start: {error}", EXIT_FAULT)


def _loop() -> asyncio.AbstractEventLoop:
    # Without io_uring, which hardened systems forbid and which gains nothing here.
    os.environ.setdefault("UV_USE_IO_URING", "0")
    return uvloop.new_event_loop()


async def _lead(loaded: Loaded, sockets: list[socket.socket], processes: int) -> None:
    descriptors = [one.fileno() for one in sockets]
    inherited = [word for one in descriptors for word in ("--descriptor", str(one))]
    where = ("--config", str(loaded.settings.config_path))
    crew = Crew(
        [("edge", "serve", *where, "--number", str(one), *inherited) for one in range(1, processes + 1)],
        descriptors,
    )
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, crew.stop)
    loop.add_signal_handler(signal.SIGHUP, lambda: crew.tell(signal.SIGHUP))
    await crew.run()


@edge.command(name="config", epilog="Example:  ecluse edge config haproxy --into /etc/haproxy/ecluse")
@click.argument("proxy", type=click.Choice(sorted(WRITERS)))
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the files into, mode 0600; printed when left out.",
)
@config_option
def config_(proxy: str, into: Path | None, config_path: str) -> int:
    """Write the configuration of nginx, Traefik, Caddy, Envoy or HAProxy for this site."""
    loaded = load_or_exit(config_path)
    try:
        files = WRITERS[proxy](Site.of(loaded))
    except CannotWrite as error:
        fail(str(error), EXIT_FAULT)
    for name, text in files.items():
        if into is None:
            click.echo(f"# --- {name}\n{text}" if len(files) > 1 else text, nl=False)
            continue
        try:
            _write(into / name, text)
        except OSError as error:
            fail(f"{into / name} cannot be written: {error.strerror}", EXIT_FAULT)
        click.echo(f"{into / name} is written.")
    return EXIT_DONE


def _write(path: Path, text: str) -> None:
    """Put *text* in place of *path* at once, for its owner alone."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    fresh.replace(path)

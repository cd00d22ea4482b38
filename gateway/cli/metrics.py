"""Metrics of a command that runs beside the gateway: the option, and the server while it runs."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from gateway import telemetry
from gateway.configuration import Settings

metrics_port_option = click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    help="Serve /metrics and /readyz of this process here, on gateway.metrics.address.",
)


@asynccontextmanager
async def metrics_served(
    settings: Settings, port: int | None, ready: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve metrics on *port* while the block runs; ``/readyz`` tells *ready*. With *port* None nothing is served.

    Raises:
        OSError: the port cannot be had. The message names address and port.
    """
    if port is None:
        yield
        return
    address = settings.metrics_address
    try:
        server = await telemetry.serve_metrics(address, port, ready)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise OSError(f"metrics cannot be served on {address}:{port}: {why}") from error
    try:
        yield
    finally:
        server.close()

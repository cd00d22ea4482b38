"""The shape of what is said about the edge: a check for a front proxy. Its docstrings are docs/configuration.md."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.configuration.schema_metrics import MetricsSpec
from gateway.configuration.spec import Spec
from gateway.configuration.words import Address, FilePath, Name, Port


class FrontSpec(Spec):
    """What `ecluse edge config` writes into the front proxy's configuration."""

    certificate: FilePath
    """PEM file of the certificate and its chain, as the proxy's machine has it."""
    key: FilePath
    """PEM file of its private key."""
    address: Address | None = None
    """IP address the proxy listens on; every one when left out."""
    https_port: Port = 443
    """TCP port of HTTPS."""
    http_port: Port = 80
    """TCP port that leads to HTTPS."""


class EdgeSpec(Spec):
    """The check that a front proxy asks about requests whose answers need not be seen."""

    socket: FilePath | None = None
    """Unix socket to listen on, for a front proxy on the same machine."""
    group: Name | None = None
    """Group that may connect to `socket`, such as the front proxy's; the gateway's own when left out."""
    address: Address = "127.0.0.1"
    """IP address to listen on, with `port`."""
    port: Port | None = None
    """TCP port to listen on; needs `secret_file`."""
    secret_file: FilePath | None = None
    """File of mode 0600 that holds the secret by which the check knows its front proxy, 32 characters or more."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer, under a supervisor; each writes a log of its own."""
    metrics: MetricsSpec | None = None
    """Metrics and health answers of the check; none are served without it."""
    beside: Literal["on", "off"] = "off"
    """`on`: `ecluse serve` runs `ecluse edge serve` beside it, for a small site; `off`: you run it, as a service."""
    front: FrontSpec | None = None
    """The front proxy's side; needed by `ecluse edge config`."""

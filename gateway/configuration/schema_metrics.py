"""The shape of a listener for metrics and probes. Its docstrings are docs/configuration.md."""

from gateway.configuration.spec import Spec
from gateway.configuration.words import Address, Port


class MetricsSpec(Spec):
    """Prometheus metrics and health answers, on a port of their own."""

    address: Address = "127.0.0.1"
    """IP address to listen on."""
    port: Port
    """TCP port of `/metrics`, `/healthz` and `/readyz`."""

"""What answers at the edge in one process: engine, check and service behind one wire."""

from gateway.configuration import Loaded
from gateway.edge.answers import LONGEST_BYTES
from gateway.edge.check import Check
from gateway.edge.service import Service
from gateway.edge.wire import Wire
from gateway.engine import Engine
from gateway.engine.services import Services

_OWN_BYTES = 4_096


def wire_of(loaded: Loaded, services: Services) -> Wire:
    """Return the wire of *loaded*, without connections yet. Call inside the loop.

    Raises:
        ValueError: there is no edge in the configuration.
    """
    edge = loaded.settings.edge
    if edge is None:
        raise ValueError("no edge in the configuration")
    secret = edge.secret.encode("ascii") if edge.secret is not None else None
    service = Service(Check(Engine(services)), secret)
    return Wire(service.respond, service.too_large, _most_bytes(loaded), hasten=service.hasten)


def _most_bytes(loaded: Loaded) -> int:
    """Return how long a question's head may be: a request's, and what front proxies say of it or bring back to us."""
    return loaded.policy.max_header_bytes + loaded.policy.max_url_bytes + LONGEST_BYTES + _OWN_BYTES

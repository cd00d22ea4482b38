"""Which device somebody has just logged in with: one known by its cookie, or a new one."""

from dataclasses import dataclass

from gateway.engine.exchange import Exchange
from gateway.engine.services import Services
from gateway.sessions import binding, device
from gateway.sessions.store import Link
from gateway.sessions.token import TokenRefused


@dataclass(frozen=True, slots=True)
class Device:
    """*label* is its pseudonym, *new*: it showed no cookie of ours. *line* is the header that gives it one."""

    label: str
    new: bool
    line: tuple[str, str]


def at_login(exchange: Exchange, services: Services) -> Device:
    """Return the device of a login that is proven. Its year begins anew, under the current key."""
    now_s = services.clock.now_ms() // 1000
    known = _shown(exchange, services, now_s)
    device_id = known or services.entropy.hex(device.ID_BYTES)
    token = device.issue(services.keys.session, device_id, now_s)
    label = device.label(services.keys.names, device_id)
    return Device(label, known is None, ("set-cookie", device.device_cookie(token)))


def link(exchange: Exchange, found: Device) -> Link:
    """Return how the store ties a session to *found*, and accounts to each other by it."""
    clusters = exchange.policy.pools.clusters
    return Link(found.label, clusters.accounts_most, clusters.linked_s * 1000)


def _shown(exchange: Exchange, services: Services, now_s: int) -> str | None:
    pairs = binding.parse_cookies(exchange.facts.header_values("cookie"))
    text = binding.own_cookie(pairs, device.COOKIE)
    if text is None:
        return None
    try:
        return device.read(services.keys.session, text, now_s)
    except TokenRefused:
        return None

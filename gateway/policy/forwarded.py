"""From whom a request comes: whoever connected, or the client that trusted proxies name. Pure."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from gateway.policy.policy import Network
from gateway.vocabulary.messages import Headers

_MOST_ENTRIES = 50


class Peer(NamedTuple):
    """Whoever connected, and the scheme of that connection."""

    address: str
    port: int
    scheme: str


def client_of(peer: Peer, lines: Headers, trusted: tuple[Network, ...]) -> tuple[str, int, str]:
    """Return address, port and scheme of the client of a request that came from *peer* with these header *lines*.

    The port is 0 when one of the *trusted* proxies named the client.
    """
    address = address_of(peer.address)
    if address is None or not _within(address, trusted):
        return _told(peer.address), peer.port, peer.scheme
    protocols = [value.lower() for name, value in lines if name == "x-forwarded-proto"]
    scheme = protocols[0] if len(protocols) == 1 and protocols[0] in {"http", "https"} else peer.scheme
    entries = [
        entry.strip() for name, value in lines if name == "x-forwarded-for" for entry in value.split(",")
    ]
    # Each trusted proxy appended the address it saw, so the list is read from its end; the first one
    # that is not ours is the client. What cannot be read ends the walk at the last proxy known.
    nearest = peer.address
    for entry in reversed(entries[-_MOST_ENTRIES:]):
        candidate = address_of(entry)
        if candidate is None:
            break
        nearest = entry
        if not _within(candidate, trusted):
            return _told(nearest), 0, scheme
    return _told(nearest), peer.port if address_of(nearest) == address else 0, scheme


@lru_cache(maxsize=4_096)
def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that *text* is, an IPv4 one as such however it is written; None when it is none."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4_096)
def _told(text: str) -> str:
    """Return *text* as an address is written, or as it is when it is none."""
    address = address_of(text)
    return text if address is None else str(address)


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)

"""From a network from which the account never came before: /24 of IPv4, /48 of IPv6.

No place and no owner of an address is looked up: nothing goes stale, and what is not known is not judged.
"""

from ipaddress import IPv6Address, ip_address, ip_network

MOST_NETWORKS = 32
LEAST_DAYS = 3
"""An account of fewer days has no usual networks."""
_V4_BITS, _V6_BITS = 24, 48


def network_of(client: str | None) -> str | None:
    """Return the network of an address; None when it is none."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = _V6_BITS if isinstance(address, IPv6Address) else _V4_BITS
    # The zone of a link-local address is this machine's affair.
    return str(ip_network((int(address), bits), strict=False))


def judge(known: list[str], client: str | None, days: int) -> bool:
    """Note where the account came from; tell whether that is new to an account of *days* days of work."""
    network = network_of(client)
    if network is None:
        return False
    if network in known:
        # What is used goes to the end: the one forgotten is the one not used for longest.
        known.remove(network)
        known.append(network)
        return False
    known.append(network)
    if len(known) > MOST_NETWORKS:
        del known[0]
    return days >= LEAST_DAYS

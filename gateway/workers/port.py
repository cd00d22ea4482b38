"""The one port of all workers: taken by the supervisor, listened on once a worker can serve."""

import ipaddress
import socket


class PortTaken(OSError):
    """The port cannot be had. The message names the address and the system's reason."""


def take(address: str, port: int) -> socket.socket:
    """Return a socket bound to *address* and *port* (0: any), not yet listening: nobody is let wait for nothing.

    Raises:
        PortTaken: another process has it, or the address is not this machine's.
    """
    is_v6 = ipaddress.ip_address(address).version == 6
    taken = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind((address, port))
    except OSError as error:
        taken.close()
        raise PortTaken(f"listener {address}:{port}: {error.strerror}") from None
    return taken

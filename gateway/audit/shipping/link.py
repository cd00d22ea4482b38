"""Connections to a collector: TLS (RFC 5425), TCP (RFC 6587) and UDP (RFC 5426)."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gateway.audit.export.syslog import octet_counted

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
_READ_BYTES = 4_096


class Unconfirmed(OSError):
    """The collector ended the connection before it was seen to have read everything."""


class Link(Protocol):
    """One connection to a collector."""

    def send(self, messages: list[str]) -> None:
        """Send *messages* in order.

        Raises:
            OSError: the connection is gone; nothing sent on it may be relied on.
        """
        ...

    def finish(self) -> None:
        """End the connection in order; when this returns the collector has read everything that was sent.

        Raises:
            OSError: it may not have.
        """
        ...

    def drop(self) -> None:
        """Let go of the connection at once."""
        ...


class StreamLink:
    """A TCP connection, with TLS when *context* is given.

    Syslog acknowledges nothing. What can be known is how a connection ends: a receiver whose system answers our
    end with its own, and not with a reset, has read all that came before. So a connection is short, and what
    was sent on it counts as arrived only once it has ended in order.
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
            self._socket.settimeout(SEND_TIMEOUT_S)
        except BaseException:
            self._socket.close()
            raise

    def send(self, messages: list[str]) -> None:
        """Send *messages* in order, each counted in octets (RFC 6587, 3.4.1; RFC 5425, 4.3)."""
        self._look()
        self._socket.sendall(b"".join(octet_counted(message) for message in messages))

    def finish(self) -> None:
        """End the connection in order and wait for the other end to do so.

        With TLS our close_notify goes first. The other end's close_notify is not asked for: rsyslog sends none.
        """
        self._look()
        raw = self._socket
        try:
            if isinstance(raw, ssl.SSLSocket):
                raw = self._say_goodbye(raw)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(_READ_BYTES):
                pass
        finally:
            raw.close()
            self._socket.close()

    def drop(self) -> None:
        """Let go of the connection at once."""
        self._socket.close()

    def _look(self) -> None:
        """Meet an end that the receiver has made already: it may have stopped before it had read everything."""
        self._socket.setblocking(False)
        try:
            if not self._socket.recv(_READ_BYTES):
                raise Unconfirmed("the collector closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except ssl.SSLEOFError:
            raise Unconfirmed("the collector closed the connection") from None
        finally:
            with suppress(OSError):
                self._socket.settimeout(SEND_TIMEOUT_S)

    @staticmethod
    def _say_goodbye(secured: ssl.SSLSocket) -> socket.socket:
        try:
            return secured.unwrap()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # It ended the connection without a goodbye of its own: its end of TCP is what counts.
            return secured


class DatagramLink:
    """UDP, one message a datagram. Nothing is ever known about what arrived."""

    def __init__(self, host: str, port: int) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.settimeout(SEND_TIMEOUT_S)
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise

    def send(self, messages: list[str]) -> None:
        """Send each of *messages* as one datagram."""
        for message in messages:
            self._socket.send(message.encode())

    def finish(self) -> None:
        """Close the socket: there is nothing to wait for."""
        self._socket.close()

    def drop(self) -> None:
        """Close the socket."""
        self._socket.close()


def trusting(
    authorities: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return how a collector is recognised: by a certificate of *authorities* (the system's) for its own name.

    *certificate* and *key* (PEM) are ours, for a collector that asks who we are (RFC 5425, 4.2).

    Raises:
        OSError: a file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context

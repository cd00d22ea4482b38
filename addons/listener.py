"""What happens on a new client connection: TLS with the configured certificate, or plain HTTP, never a guess.

mitmproxy's own next-layer and TLS addons look at the first bytes to choose a protocol, and make
certificates up with an authority of their own for names they do not know. Here the configuration
chooses: a TLS listener presents its one certificate whatever name was asked for, and hangs up on
anything that is not TLS.
"""

from typing import Any

from mitmproxy import tls
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Connection
from mitmproxy.proxy import layer, layers, server_hooks, tunnel
from mitmproxy.proxy.layers import modes
from OpenSSL import SSL

from addons.layers import StrictHttpLayer
from addons.wire import Wire

_CIPHERS = b":".join((
    b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-RSA-AES128-GCM-SHA256",
    b"ECDHE-ECDSA-AES256-GCM-SHA384", b"ECDHE-RSA-AES256-GCM-SHA384",
    b"ECDHE-ECDSA-CHACHA20-POLY1305", b"ECDHE-RSA-CHACHA20-POLY1305",
))  # fmt: skip


class CertificateRefusedError(ValueError):
    """The listener's certificate or key cannot be used."""


def server_context(certificate_file: str, key_file: str) -> SSL.Context:
    """Return TLS >= 1.2 with forward secrecy only (ANSSI, TLS guide 1.2, R3, R6, R7).

    *certificate_file* is a PEM chain, leaf first; *key_file* its PEM key without passphrase.

    Raises:
        CertificateRefusedError: naming the file that cannot be used.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_cipher_list(_CIPHERS)
    context.set_alpn_select_callback(_choose_http1)
    try:
        context.use_certificate_chain_file(certificate_file)
    except SSL.Error:
        raise CertificateRefusedError(
            f"certificate_file {certificate_file!r}: no readable PEM certificate chain, leaf first"
        ) from None
    try:
        context.use_privatekey_file(key_file)
        context.check_privatekey()
    except SSL.Error:
        raise CertificateRefusedError(
            f"key_file {key_file!r}: no readable PEM key, or not the key of {certificate_file!r}"
        ) from None
    return context


def _choose_http1(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class Listener:
    """The addon that sets up every client connection."""

    name = "nextlayer"

    def __init__(self, proxyserver: Proxyserver, wire: Wire, context: SSL.Context | None) -> None:
        self._proxyserver = proxyserver
        self.wire = wire
        self._context = context

    def next_layer(self, asked: layer.NextLayer) -> None:
        """Lay HTTP/1, under TLS where a certificate is configured, on a new connection; on nothing else."""
        if asked.layer is not None or not isinstance(asked.context.layers[-1], modes.ReverseProxy):
            return
        stack = tunnel.LayerStack()
        if self._context is not None:
            stack /= layers.ClientTLSLayer(asked.context)
        stack /= StrictHttpLayer(asked.context, self.wire)
        asked.layer = stack[0]

    def tls_start_client(self, start: tls.TlsData) -> None:
        """Present the configured certificate; without one mitmproxy closes the connection."""
        if self._context is None:
            return
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        start.ssl_conn = connection

    def client_disconnected(self, client: Client) -> None:
        """Close a socket that mitmproxy forgot."""
        self._close_forgotten(client, client)

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Close a socket that mitmproxy forgot."""
        self._close_forgotten(data.client, data.server)

    def _close_forgotten(self, client: Client, connection: Connection) -> None:
        # A connection that is closed while its task waits for another task's event to be handled ends
        # without closing its socket, which would then stay open until the garbage is collected.
        handler = self._proxyserver.connections.get(client.id)
        left = None if handler is None else handler.transports.get(connection)
        if left is not None and left.writer is not None:
            left.writer.close()

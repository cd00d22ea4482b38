"""Where the door may connect, and whom it believes there.

The guard picks an app's upstream for each flow (``choose``); this addon lets mitmproxy open
connections to the configured upstreams only, and verifies https ones against the app's own CA file or
the system's trust store. mitmproxy's own TLS addon is not used: it verifies every upstream against
one and the same store, and keeps a certificate authority of its own on disk.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from mitmproxy import http, tls
from mitmproxy.connection import Server
from mitmproxy.proxy import server_hooks
from OpenSSL import SSL

from gateway.policy.policy import Upstream

# pyOpenSSL has no public way to ask for a host name (RFC 9525), so its binding is used, as mitmproxy does.
_LIB: Any = vars(SSL)["_lib"]
_HOST_FLAGS = _LIB.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _LIB.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT

Address = tuple[str, int]


class UpstreamConflictError(ValueError):
    """Two apps name one address with different trust, or a CA file cannot be read."""


def choose(flow: http.HTTPFlow, upstream: Upstream) -> None:
    """Send *flow* to *upstream*, in origin-form, with the Host header left as it is.

    The connection, its SNI and its verification follow from host, port and scheme. The property
    ``flow.request.host`` would rewrite the Host header, so the fields under it are set.
    """
    data = flow.request.data
    data.host = upstream.host
    data.port = upstream.port
    data.scheme = upstream.scheme.encode("ascii")
    data.authority = b""


class Upstreams:
    """The configured upstreams by address. ``replace`` swaps them whole, for a reload of the policy."""

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        """Raise UpstreamConflictError when *upstreams* contradict each other or a CA file is unusable."""
        self._contexts: dict[Address, SSL.Context | None] = {}
        self.replace(upstreams)

    def replace(self, upstreams: Iterable[Upstream]) -> None:
        """Swap in *upstreams*; open connections stay.

        Raises:
            UpstreamConflictError: nothing was changed.
        """
        chosen: dict[Address, Upstream] = {}
        for upstream in upstreams:
            known = chosen.setdefault((upstream.host, upstream.port), upstream)
            if known != upstream:
                raise UpstreamConflictError(
                    f"upstream {upstream.host}:{upstream.port} is named twice with different scheme or "
                    "ca_file: give both apps the same upstream settings"
                )
        self._contexts = {
            address: _client_context(upstream) if upstream.scheme == "https" else None
            for address, upstream in chosen.items()
        }

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Refuse every destination that is no app's upstream: nothing can be tunnelled elsewhere."""
        if data.server.address is None or data.server.address[:2] not in self._contexts:
            data.server.error = "no such upstream"

    def tls_start_server(self, start: tls.TlsData) -> None:
        """Start verified TLS >= 1.2 to an upstream; without a context mitmproxy closes the connection."""
        server = start.conn
        if not isinstance(server, Server) or server.address is None:
            return
        context = self._contexts.get(server.address[:2])
        if context is None:
            return
        server.alpn_offers = (b"http/1.1",)
        connection = SSL.Connection(context)
        _expect_name(connection, server.address[0])
        connection.set_alpn_protos([b"http/1.1"])
        connection.set_connect_state()
        start.ssl_conn = connection


def _client_context(upstream: Upstream) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_PEER)
    try:
        if upstream.ca_file is not None:
            context.load_verify_locations(upstream.ca_file)
        else:
            context.set_default_verify_paths()
    except SSL.Error:
        raise UpstreamConflictError(
            f"upstream {upstream.host}:{upstream.port}: ca_file {upstream.ca_file!r} holds no readable "
            "PEM certificate: name a file of the certificates to trust"
        ) from None
    return context


def _expect_name(connection: SSL.Connection, host: str) -> None:
    parameters = _LIB.SSL_get0_param(connection._ssl)  # noqa: SLF001
    _LIB.X509_VERIFY_PARAM_set_hostflags(parameters, _HOST_FLAGS)
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        name = host.encode("idna")
        connection.set_tlsext_host_name(name)
        accepted = _LIB.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    else:
        accepted = _LIB.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
    if accepted != 1:
        raise UpstreamConflictError(
            f"upstream host {host!r} cannot be verified by TLS: use a host name or IP address"
        )

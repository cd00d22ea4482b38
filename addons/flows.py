"""Between mitmproxy's flows and our values: HTTPFlow to facts, actions back onto the flow."""

from mitmproxy import http
from msgspec.structs import replace

from addons.heads import WireHeaders
from gateway.engine import Exchange, Onward
from gateway.ingress import Admitted, RawHead, upstream_fields
from gateway.vocabulary.messages import Headers, Reply, ResponseFacts


def raw_head(flow: http.HTTPFlow) -> RawHead:
    """Return the request head as it stood on the wire."""
    data = flow.request.data
    peer = flow.client_conn.peername
    return RawHead(
        method=data.method,
        target=data.path,
        authority=data.authority,
        http_version=data.http_version,
        fields=data.headers.fields,
        scheme="https" if flow.client_conn.tls else "http",
        peer_address=peer[0],
        peer_port=peer[1],
    )


def read_body(exchange: Exchange, flow: http.HTTPFlow) -> None:
    """Put the request's body, now read, into the facts."""
    exchange.facts = replace(exchange.facts, body=flow.request.raw_content or b"")


def send_on(flow: http.HTTPFlow, admitted: Admitted, action: Onward, *, upgrade: bool) -> None:
    """Write the canonical target and exactly the decided headers onto the request."""
    flow.request.data.path = admitted.target
    fields = upstream_fields(admitted, headers=action.headers, upgrade=upgrade)
    flow.request.headers = WireHeaders(fields)


def response_facts(flow: http.HTTPFlow, *, with_body: bool) -> ResponseFacts:
    """Return the facts of the app's answer."""
    response = flow.response
    if response is None:
        raise ValueError("no response on this flow")
    headers = tuple(
        (name.lower().decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.fields
    )
    body = (response.raw_content or b"") if with_body else None
    return ResponseFacts(response.status_code, headers, body)


def fields_of(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """Return header lines as bytes for the wire."""
    return tuple((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers)


def response_of(reply: Reply, *, head_only: bool = False) -> http.Response:
    """Return *reply* as mitmproxy's response; its length always fits its body."""
    fields = [field for field in fields_of(reply.headers) if field[0].lower() != b"content-length"]
    fields.append((b"content-length", str(len(reply.body)).encode()))
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=reply.status,
        reason=b"",
        headers=WireHeaders(tuple(fields)),
        content=b"" if head_only else reply.body,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=0.0,
    )

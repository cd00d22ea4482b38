"""What may be said of a request head, admitted or not. Pure."""

from gateway.ingress import Admitted, RawHead
from gateway.vocabulary.messages import Headers, RequestFacts


def facts_of(
    admitted: Admitted, *, request_id: str, received_ms: int, body: bytes | None = None
) -> RequestFacts:
    """Return the facts of an admitted request; *body* when it is known already."""
    return RequestFacts(
        request_id=request_id,
        received_ms=received_ms,
        scheme=admitted.scheme,
        method=admitted.method,
        host=admitted.host,
        port=admitted.port,
        path=admitted.path,
        query=admitted.query,
        headers=admitted.headers,
        client_address=admitted.client_address,
        client_port=admitted.client_port,
        body=body,
    )


def stray_facts(head: RawHead, *, request_id: str, received_ms: int) -> RequestFacts:
    """Return what may be said of a request that was not admitted: nothing of its text but two harmless headers."""
    wanted = {b"accept", b"accept-language", b"sec-fetch-mode"}
    headers: Headers = tuple(
        (name.lower().decode("ascii"), value[:200].decode("latin-1"))
        for name, value in head.fields
        if name.lower() in wanted
    )
    return RequestFacts(
        request_id=request_id,
        received_ms=received_ms,
        scheme=head.scheme,
        method=head.method[:16].decode("latin-1"),
        host="",
        port=0,
        path="/",
        query="",
        headers=headers,
        client_address=head.peer_address,
        client_port=head.peer_port,
    )


def unread(request_id: str, received_ms: int) -> RequestFacts:
    """Return what may be said of a request of which nothing is believed."""
    return RequestFacts(
        request_id=request_id,
        received_ms=received_ms,
        scheme="https",
        method="",
        host="",
        port=0,
        path="/",
        query="",
        headers=(),
        client_address="",
        client_port=0,
    )

"""What the rooms may see of an HTTP message."""

import msgspec

Headers = tuple[tuple[str, str], ...]
"""Header lines in wire order; names in lower case, values as received without surrounding blanks."""


class _Lines:
    """Look-ups in the header lines of a message."""

    __slots__ = ()
    headers: Headers

    def header(self, name: str) -> str | None:
        """Return the first value of header *name* (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: str) -> tuple[str, ...]:
        """Return every value of header *name* (lower case), in wire order."""
        return tuple([value for key, value in self.headers if key == name])


class RequestFacts(_Lines, msgspec.Struct, frozen=True):
    """One request, after strict ingress.

    *path* is canonical and is the path sent upstream; *query* is the raw query string without
    ``?``; *host* is lower case without port; *body* is None until a rule needs it, and is then
    bounded by the ingress limit. *received_ms* is Unix time in milliseconds.
    """

    request_id: str
    received_ms: int
    scheme: str
    method: str
    host: str
    port: int
    path: str
    query: str
    headers: Headers
    client_address: str
    client_port: int
    body: bytes | None = None


class ResponseFacts(_Lines, msgspec.Struct, frozen=True):
    """One answer of the application. *body* is as sent (still encoded), None when it is streamed."""

    status: int
    headers: Headers
    body: bytes | None = None


class Reply(msgspec.Struct, frozen=True):
    """An answer of the gateway's own."""

    status: int
    headers: Headers
    body: bytes = b""

"""Whom the check believes, and what its front proxy says of a request: each thing once and well formed. Pure.

The front proxy describes the request in five headers, and sends along those of the client. What a client may not
say has been taken away by then; when it has not, the proxy is not set up as it should be, and nothing passes.
"""

import hmac
from dataclasses import dataclass
from ipaddress import ip_address

from gateway.ingress import CLAIMS, Fields, RawHead, is_claim

SECRET = b"x-ecluse-front"
METHOD = b"x-forwarded-method"
URI = b"x-forwarded-uri"
HOST = b"x-forwarded-host"
PROTO = b"x-forwarded-proto"
ADDRESS = b"x-forwarded-for"
TOLD = (METHOD, URI, HOST, PROTO, ADDRESS)
"""What the front proxy says: method, raw target, Host, scheme, address of the client."""

TAKEN_AWAY = tuple(sorted(CLAIMS | {"x-forwarded-prefix", "x-ecluse-assertion", "x-ecluse-answer"}))
"""Headers that front proxies drop by name, before they ask and before they send on."""

NOT_FOR_APPS = ("x-ecluse-front", "x-forwarded-method", "x-forwarded-uri")
"""What front proxies say to the check alone; no app is sent it, from whomever it comes."""

# Of the proxies' own making; they overwrite what a client sends under these names.
_THEIRS = frozenset({b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip", b"via", SECRET})
_THEIR_PREFIX = b"x-envoy-"
_FRAMING = frozenset({"cookie", "authorization", "host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the description cannot be believed: a short stable word, nothing of the client's."""

    fault: str


def is_front(fields: Fields, secret: bytes | None) -> bool:
    """Tell, in constant time, whether the asker knows *secret*; None: the socket's permissions say who may ask."""
    if secret is None:
        return True
    shown = [value for name, value in fields if name == SECRET]
    # One comparison whatever was sent, so that time tells nothing of the number of headers either.
    return hmac.compare_digest(shown[0] if shown else b"", secret) and len(shown) == 1


def read(fields: Fields) -> RawHead | Fault:
    """Return the request that *fields*, the lines of a question (names in lower case), describe."""
    told: dict[bytes, bytes] = {}
    lines: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name in TOLD:
            if name in told:
                return Fault("told-twice")
            told[name] = value
            continue
        if name in _THEIRS or name == b"host" or name.startswith(_THEIR_PREFIX):
            continue
        fault = _fault_of(name)
        if fault is not None:
            return Fault(fault)
        lines.append((name, value))
    if len(told) < len(TOLD):
        return Fault("untold")
    address = _address(told[ADDRESS])
    if address is None:
        return Fault("told-address")
    scheme = told[PROTO]
    if scheme not in {b"https", b"http"}:
        return Fault("told-scheme")
    return RawHead(
        method=told[METHOD],
        target=told[URI],
        authority=b"",
        http_version=b"HTTP/1.1",
        fields=((b"host", told[HOST]), *lines),
        scheme=scheme.decode("ascii"),
        peer_address=address,
        peer_port=0,
    )


def _fault_of(name: bytes) -> str | None:
    if name == b"upgrade":
        return "upgrade"
    text = name.decode("latin-1")
    if is_claim(text):
        return "claim"
    if "_" in text or "." in text:
        # Some servers read both as a hyphen, and would take such a line for one that was decided upon.
        folded = text.replace("_", "-").replace(".", "-")
        return "disguise" if folded in _FRAMING else None
    return None


def _address(value: bytes) -> str | None:
    text = value.decode("latin-1")
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return str(address)

"""Whom the check believes, and what its front proxy says of a request: each thing once and well formed. Pure.

The front proxy describes the request in five headers, and sends along those of the client. What a client may not
say has been taken away by then; when it has not, the proxy is not set up as it should be, and nothing passes.
"""

import hmac
from dataclasses import dataclass
from functools import lru_cache

from gateway.ingress import CLAIM_PREFIXES, CLAIMS, Fields, RawHead, is_claim
from gateway.policy.forwarded import address_of

SECRET = b"x-ecluse-front"
METHOD = b"x-forwarded-method"
URI = b"x-forwarded-uri"
HOST = b"x-forwarded-host"
PROTO = b"x-forwarded-proto"
ADDRESS = b"x-forwarded-for"
TOLD = frozenset({METHOD, URI, HOST, PROTO, ADDRESS})
"""What the front proxy says: method, raw target, Host, scheme, address of the client."""

TAKEN_AWAY = tuple(sorted(CLAIMS | {"x-forwarded-prefix", "x-ecluse-assertion", "x-ecluse-answer"}))
"""Headers that front proxies drop by name, before they ask and before they send on."""

TAKEN_TOO = ("te", "trailer", "x-forwarded-port", "x-forwarded-server")
"""What they drop besides: harmless here, since some proxies say it themselves, but not to an app."""

TAKEN_AWAY_FROM = CLAIM_PREFIXES
"""Beginnings of headers that they drop as well, those that can; names with an underscore or a dot go along.

By nginx public files are brought the headers alone that files need, and Traefik asks the check about them too.
"""

NOT_FOR_APPS = ("x-ecluse-front", "x-forwarded-method", "x-forwarded-uri")
"""What front proxies say to the check alone; no app is sent it, from whomever it comes."""

# Of the proxies' own making; they overwrite what a client sends under these names.
_THEIRS = frozenset({b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip", b"via", SECRET})
_THEIR_PREFIX = b"x-envoy-"
_SCHEMES = {b"https": "https", b"http": "http"}
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
    told = {name: value for name, value in fields if name in TOLD}
    rest = tuple(line for line in fields if line[0] not in TOLD)
    if len(told) + len(rest) < len(fields):
        return Fault("told-twice")
    if len(told) < len(TOLD):
        return Fault("untold")
    small = len(rest) <= _SMALL_FIELDS and sum(len(value) for _, value in rest) <= _SMALL_BYTES
    lines = (_small_lines if small else _lines)(told[HOST], rest)
    if isinstance(lines, Fault):
        return lines
    address = address_of(told[ADDRESS].decode("latin-1"))
    if address is None:
        return Fault("told-address")
    scheme = _SCHEMES.get(told[PROTO])
    if scheme is None:
        return Fault("told-scheme")
    return RawHead(told[METHOD], told[URI], b"", b"HTTP/1.1", lines, scheme, str(address), 0)


def elsewhere(head: RawHead, target: bytes) -> RawHead:
    """Return the request that the same lines describe when they tell another raw *target*."""
    return RawHead(
        head.method,
        target,
        head.authority,
        head.http_version,
        head.fields,
        head.scheme,
        head.peer_address,
        head.peer_port,
    )


def _lines(host: bytes, rest: Fields) -> Fields | Fault:
    """Return the lines of the client's head, Host first, without those of the proxies' own making."""
    lines: list[tuple[bytes, bytes]] = [(b"host", host)]
    for line in rest:
        name = line[0]
        if name in _THEIRS or name == b"host" or name.startswith(_THEIR_PREFIX):
            continue
        fault = _fault_of(name)
        if fault is not None:
            return Fault(fault)
        lines.append(line)
    return tuple(lines)


# A browser sends the same lines again and again; long ones are not worth the memory.
_small_lines = lru_cache(maxsize=1_024)(_lines)
_SMALL_FIELDS = 40
_SMALL_BYTES = 4_096


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

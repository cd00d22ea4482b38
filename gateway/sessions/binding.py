"""The tie between the gateway's session and the app's own cookies. Pure.

Every cookie of an app that carries identity is a credential: it goes upstream only when the app itself
set it in this session, which is known by its keyed hash.
"""

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

from gateway.vocabulary.keys import KeyRing
from gateway.vocabulary.messages import Headers

OWN_PREFIX = "__host-ecluse"
SESSION_COOKIE = "__Host-ecluse"
BEARER = "authorization"
"""The name under which a bearer token is hashed. No cookie can be taken for it: see credential_hash."""

Cookies = tuple[tuple[str, str], ...]
"""Names and values as sent, in order; a piece without ``=`` has an empty name."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_OCTETS = re.compile(r"[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*\Z")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_MAX_AGE = re.compile(r"-?[0-9]{1,18}\Z")


class SetCookie(NamedTuple):
    """One cookie that the app sets. *expired*: it takes the cookie back."""

    name: str
    value: str
    expired: bool


def credential_hash(ring: KeyRing, app: str, name: str, value: str) -> str:
    """Return what is kept of an app's cookie: 22 characters, base64url of a 16-byte keyed hash (BLAKE2b).

    *ring* is the binding ring. Values of different apps, names or bearer tokens never meet: each part
    is preceded by its length.
    """
    return _hash(ring.key(), b"cookie", app, name, value)


def bearer_hash(ring: KeyRing, app: str, token: str) -> str:
    """Return what is kept of a bearer token that the app gave out, in the shape of credential_hash."""
    return _hash(ring.key(), b"bearer", app, BEARER, token)


def parse_cookies(header_values: Iterable[str]) -> Cookies:
    """Return the cookies of every Cookie header, split at ``;`` only, values verbatim. Never fails."""
    pairs = []
    for header in header_values:
        for piece in header.split(";"):
            bare = piece.strip(" \t")
            name, equals, value = bare.partition("=")
            if name or value:
                pairs.append((name, value) if equals else ("", bare))
    return tuple(pairs)


def sort_cookies(pairs: Cookies, neutral_patterns: tuple[str, ...]) -> tuple[Cookies, Cookies]:
    """Return the neutral cookies and the credentials of *pairs*.

    Neutral are those whose name fits one of the shell patterns *neutral_patterns*; they pass only in the
    strict spelling of RFC 6265, 4.1.1, so that no server reads a second cookie inside them. The
    gateway's own cookies are in neither: they never go upstream.
    """
    is_neutral = _compiled(neutral_patterns)
    neutral: list[tuple[str, str]] = []
    credentials: list[tuple[str, str]] = []
    for name, value in pairs:
        bare = name.strip().lower()
        if bare.startswith(OWN_PREFIX):
            continue
        if is_neutral is not None and is_neutral.match(name):
            if _TOKEN.match(name) and not name.startswith("$") and _OCTETS.match(value):
                neutral.append((name, value))
        else:
            credentials.append((name, value))
    return tuple(neutral), tuple(credentials)


def rebuild(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the Cookie header of *pairs*; "" for none."""
    # A nameless cookie keeps its equals sign where it would otherwise be read as a named one.
    return "; ".join(
        value if not name and "=" not in value and value == value.strip(" \t") else f"{name}={value}"
        for name, value in pairs
    )


def own_cookie(pairs: Cookies, name: str) -> str | None:
    """Return the value of the gateway's cookie *name*, None when it is absent or sent more than once.

    Two of them mean that somebody else planted one: neither counts.
    """
    values = [value for key, value in pairs if key == name]
    return values[0] if len(values) == 1 else None


def set_cookies(headers: Headers, now_s: int) -> tuple[SetCookie, ...]:
    """Return the cookies that an answer sets, in order (RFC 6265, 5.2). *now_s* is Unix time, for Expires.

    A date that cannot be read expires nothing.
    """
    return tuple(_set_cookie(value, now_s) for name, value in headers if name == "set-cookie")


def _set_cookie(line: str, now_s: int) -> SetCookie:
    pair, *attributes = line.split(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    max_age: bool | None = None
    past: bool | None = None
    for attribute in attributes:
        key, _, text = attribute.partition("=")
        match key.strip().lower():
            case "max-age" if _MAX_AGE.match(text.strip()):
                max_age = int(text) <= 0
            case "expires":
                past = _is_past(text.strip(), now_s)
            case _:
                pass
    expired = max_age if max_age is not None else bool(past)
    return SetCookie(name.strip(" \t"), value.strip(" \t"), expired)


def _is_past(text: str, now_s: int) -> bool:
    try:
        return parsedate_to_datetime(text.replace("-", " ")).timestamp() <= now_s
    except (ValueError, TypeError, OverflowError, IndexError):
        return False


def _hash(key: bytes, kind: bytes, app: str, name: str, value: str) -> str:
    hashed = _keyed(key, kind, app).copy()
    hashed.update(f"{len(name)}:{name}{value}".encode("utf-8", "surrogatepass"))
    return b2a_base64(hashed.digest(), newline=False)[:22].translate(_URL_SAFE).decode("ascii")


@lru_cache(maxsize=256)
def _keyed(key: bytes, kind: bytes, app: str) -> "hashlib.blake2b":
    # Ready-keyed, since copying one costs half of making one.
    return hashlib.blake2b(f"{len(app)}:{app}".encode(), digest_size=16, key=key, person=kind)


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{translate(pattern)})" for pattern in patterns))

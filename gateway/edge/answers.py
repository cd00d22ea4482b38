"""A reply of ours within one header: nginx lets no page through from a check, and fetches it with a second question."""

import hashlib
import hmac
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

import orjson

from gateway.vocabulary.keys import KeyRing
from gateway.vocabulary.messages import Reply

_PURPOSE = b"ecluse-edge-answer\x1f"
_MAC_BYTES = 32
LONGEST_BYTES = 12_000
"""Longest header; the generated configuration has room for it. Our longest page takes a fifth of it."""


class AnswerRefused(ValueError):
    """The header is none that we made."""


def pack(ring: KeyRing, reply: Reply) -> bytes:
    """Return *reply* as a header value, signed with the session *ring*.

    Raises:
        ValueError: the reply is too long for a header.
    """
    lines = [[name, value] for name, value in reply.headers]
    told = orjson.dumps([reply.status, lines, reply.body.decode("utf-8")])
    packed = zlib.compress(told, 6)
    made = urlsafe_b64encode(_mac(ring.key(), packed) + packed)
    if len(made) > LONGEST_BYTES:
        raise ValueError("a reply too long for a header")
    return made


def unpack(ring: KeyRing, value: bytes) -> Reply:
    """Return the reply of a header value.

    Raises:
        AnswerRefused: it is not of our making.
    """
    try:
        raw = urlsafe_b64decode(value)
    except ValueError:
        raise AnswerRefused("not of this alphabet") from None
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not any(hmac.compare_digest(_mac(key, packed), mac) for key in ring.keys.values()):
        raise AnswerRefused("not signed by us")
    status, lines, body = orjson.loads(zlib.decompress(packed))
    return Reply(status, tuple((name, value) for name, value in lines), body.encode("utf-8"))


def _mac(key: bytes, packed: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + packed, hashlib.sha256)

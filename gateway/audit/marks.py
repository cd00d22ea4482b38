"""Whose entry is it: what this site wrote can be told from what was put into its files, before anything is signed.

A checkpoint follows its entries by up to a second. Until then, and after a crash, nothing but the mark says that
an entry is ours: without it, whoever can write to the files could append entries and have the next start sign them.
"""

import hashlib
import hmac
from typing import Final

from gateway.vocabulary.keys import KeyRing

MARK_BYTES: Final = 8
"""HMAC-SHA-256 cut to 64 bits (RFC 2104, part 5): nobody can try marks but by restarting the gateway each time."""

_SALT: Final = b'"salt":"'
_MARK_CHARS: Final = 2 * MARK_BYTES


class Marks:
    """Makes and checks the marks of the log *origin*, under keys that come from the checkpoint *ring*.

    The mark is the end of an entry's salt, so that an entry whose random half is gone is no easier to guess for
    whoever holds the keys.
    """

    def __init__(self, ring: KeyRing, origin: str) -> None:
        about = b"ecluse audit entry\0" + origin.encode()
        self._mac = _mac(ring.key(), about)
        self._macs = tuple(_mac(key, about) for key in ring.keys.values())

    def mark(self, line: bytes) -> bytes:
        """Return *line*, an entry without line end, with its mark.

        Raises:
            ValueError: it is no entry.
        """
        at = _end_of_salt(line)
        if at < 0:
            raise ValueError("what goes into a log is an entry with a salt")
        mark = _tag(self._mac, line).hex().encode()
        return b"%b%b%b" % (line[:at], mark, line[at:])

    def is_ours(self, line: bytes) -> bool:
        """Tell whether *line*, without line end, bears the mark that one of the ring's keys gives it."""
        at = _end_of_salt(line)
        if at < _MARK_CHARS:
            return False
        given, bare = line[at - _MARK_CHARS : at], line[: at - _MARK_CHARS] + line[at:]
        return any(hmac.compare_digest(_tag(mac, bare).hex().encode(), given) for mac in self._macs)


def _mac(key: bytes, about: bytes) -> hmac.HMAC:
    return hmac.new(hmac.digest(key, about, hashlib.sha256), digestmod=hashlib.sha256)


def _tag(mac: hmac.HMAC, line: bytes) -> bytes:
    # Unlike hmac.digest, a copy keeps the interpreter's lock over a short line: the loop does not run in between.
    made = mac.copy()
    made.update(line)
    return made.digest()[:MARK_BYTES]


def _end_of_salt(line: bytes) -> int:
    # No text of an entry holds a bare quote, and no key after the salt holds another object: the last one is it.
    at = line.rfind(_SALT)
    return line.find(b'"', at + len(_SALT)) if at >= 0 else -1

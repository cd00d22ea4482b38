"""The Cookie header of a request, sorted once: browsers send the same one with every request."""

from collections import OrderedDict
from typing import NamedTuple

from gateway.sessions import binding
from gateway.sessions.binding import Cookies
from gateway.vocabulary.keys import KeyRing

_MOST = 4_096
_LONGEST = 8_192


class SortedCookies(NamedTuple):
    """*hashes* runs beside *credentials*; *session* and *ticket* are the gateway's own, None when absent or doubled."""

    neutral: Cookies
    credentials: Cookies
    hashes: tuple[str, ...]
    session: str | None
    ticket: str | None


NO_COOKIES = SortedCookies((), (), (), None, None)


class CookieReader:
    """Sorts Cookie headers; remembers the last ones, bounded. *ring* is the binding ring."""

    def __init__(self, ring: KeyRing, ticket_name: str) -> None:
        self._ring = ring
        self._ticket_name = ticket_name
        self._read: OrderedDict[tuple[str, tuple[str, ...], tuple[str, ...]], SortedCookies] = OrderedDict()

    def read(self, app: str, neutral_patterns: tuple[str, ...], values: tuple[str, ...]) -> SortedCookies:
        """Return the cookies of the header *values* as *app* with its *neutral_patterns* is shown them."""
        if not values:
            return NO_COOKIES
        key = (app, neutral_patterns, values)
        found = self._read.get(key)
        if found is not None:
            self._read.move_to_end(key)
            return found
        found = self._sort(app, neutral_patterns, values)
        if sum(map(len, values)) <= _LONGEST:
            self._read[key] = found
            if len(self._read) > _MOST:
                self._read.popitem(last=False)
        return found

    def _sort(self, app: str, neutral_patterns: tuple[str, ...], values: tuple[str, ...]) -> SortedCookies:
        pairs = binding.parse_cookies(values)
        neutral, credentials = binding.sort_cookies(pairs, neutral_patterns)
        hashes = tuple(binding.credential_hash(self._ring, app, name, value) for name, value in credentials)
        session = binding.own_cookie(pairs, binding.SESSION_COOKIE)
        return SortedCookies(
            neutral, credentials, hashes, session, binding.own_cookie(pairs, self._ticket_name)
        )

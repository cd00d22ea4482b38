"""Which pieces of personal data a session's pages have shown already: to show one again discloses nothing new.

Without this the telephone number at the foot of every page would spend the cap of sightings, page after
page, until somebody who did nothing is stopped.
"""

from collections import OrderedDict
from collections.abc import Iterable

_MOST_SESSIONS = 10_000
_MOST_PIECES = 64


class Shown:
    """Memory of this process alone, bounded: the oldest sessions and pieces are forgotten, and count anew.

    Kept are 64-bit hashes under a key of the process (SipHash, PEP 456), never a piece itself.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, OrderedDict[int, None]] = OrderedDict()

    def fresh(self, session: str, pieces: Iterable[bytes]) -> int:
        """Return how many of *pieces* this session was not shown yet."""
        known = self._sessions.get(session, OrderedDict())
        return sum(hash(piece) not in known for piece in pieces)

    def keep(self, session: str, pieces: Iterable[bytes]) -> None:
        """Remember that *pieces* were released to this session."""
        known = self._sessions.setdefault(session, OrderedDict())
        self._sessions.move_to_end(session)
        for piece in pieces:
            known[hash(piece)] = None
            known.move_to_end(hash(piece))
        while len(known) > _MOST_PIECES:
            known.popitem(last=False)
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

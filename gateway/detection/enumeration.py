"""Patients whom the account never opened before, along their numbers.

That numbers stand in a row is told by the entry (decision 012). A nurse who opens the same residents every
morning in the order of their rooms walks too: only patients new to the account count.
"""

import msgspec

MOST_KNOWN = 512
_RECENT = 24
_MEMBER_BYTES = 4


class Opened(msgspec.Struct):
    """Whom an account has opened: the last 512 patients, 4 bytes each; and of the last 24, who was new (a bit each)."""

    known: bytearray = msgspec.field(default_factory=bytearray)
    recent: list[int] = []
    news: int = 0


def judge(state: Opened, member: int, walked: int, least: int) -> int | None:
    """Note that *member* was opened; return how many new patients of a walk of *walked* there are, from *least* on."""
    if member in state.recent:
        return None
    state.recent = [*state.recent[1 - _RECENT :], member]
    at = _find(state, member)
    fresh = at < 0
    state.news = ((state.news << 1) | fresh) & ((1 << _RECENT) - 1)
    if not fresh:
        # Whoever is opened again goes to the end: the one forgotten is the one not opened for longest.
        del state.known[at : at + _MEMBER_BYTES]
    state.known += member.to_bytes(_MEMBER_BYTES)
    if not fresh:
        return None
    if len(state.known) > MOST_KNOWN * _MEMBER_BYTES:
        del state.known[:_MEMBER_BYTES]
    count = min(walked, state.news.bit_count())
    return count if count >= least else None


def knows(state: Opened, member: int) -> bool:
    """Tell whether the account has opened *member* before, as far back as is remembered."""
    return _find(state, member) >= 0


def _find(state: Opened, member: int) -> int:
    wanted, at = member.to_bytes(_MEMBER_BYTES), -1
    while (at := state.known.find(wanted, at + 1)) >= 0:
        if at % _MEMBER_BYTES == 0:
            break
    return at

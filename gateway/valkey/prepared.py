"""A call to the store that is put again and again, and by several at once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.valkey.lane import Waiting
from gateway.valkey.link import Argument

ONCE = "1"
_ONCE_PACKED = b"$1\r\n1\r\n"
_TOGETHER_S = 0.01


class Prepared:
    """A call that is put again and again, always the same: its bytes are made once for each store.

    One whose first argument is ONCE says there how many make it, and may be joined.
    """

    __slots__ = ("_around", "_by", "_last", "args", "function", "keys", "packed", "store_id")

    def __init__(self, function: str, keys: Sequence[Argument], args: Sequence[Argument]) -> None:
        self.function = function
        self.keys = keys
        self.args = args
        self.packed = b""
        self.store_id = ""
        self._around: tuple[bytes, bytes] | None = None
        self._last: Waiting | None = None
        self._by = 1

    def pack(self, packed: bytes, store_id: str) -> None:
        """Take the bytes of the call by one, for the store of *store_id*."""
        self.packed, self.store_id, self._last, self._around = packed, store_id, None, None

    def join(self, put: Callable[[bytes, float], Waiting], deadline_s: float) -> "asyncio.Future[Any]":
        """Put the call, or make it with those who have put it in this moment: it has not left yet.

        The one future is everybody's, to whom it says the same. What has left is not joined: the store may have
        answered it, and have been told something since.
        """
        last = self._last
        if last is None or last.sent_s or last.answer.done() or deadline_s - last.deadline_s > _TOGETHER_S:
            self._last, self._by = put(self.packed, deadline_s), 1
            return self._last.answer
        if self._around is None:
            before, _, after = self.packed.partition(_told(self.store_id) + _ONCE_PACKED)
            self._around = (before + _told(self.store_id), after)
        self._by += 1
        last.packed = _told(str(self._by)).join(self._around)
        return last.answer

    def same(self, other: "Prepared") -> bool:
        """Tell whether *other* asks the very same."""
        return (self.function, self.keys, self.args) == (other.function, other.keys, other.args)


def _told(argument: str) -> bytes:
    """Return *argument*, which is ASCII, as it travels (RESP's bulk string)."""
    return b"$%d\r\n%b\r\n" % (len(argument), argument.encode())

"""A call to the store that is put again and again, and by several at once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway import telemetry
from gateway.valkey.lane import Call
from gateway.valkey.link import Argument

ONCE = "1"
_ONCE_PACKED = b"$1\r\n1\r\n"
_TOGETHER_S = 0.01

Listener = Callable[[Any], None]
"""Is told once what became of a call: the reply, an ErrorReply, or the exception that says why there is none."""


class Prepared:
    """A call that is put again and again, always the same: its bytes are made once for each store.

    One whose first argument is ONCE says there how many make it, and may be joined.
    """

    __slots__ = ("_around", "_last", "args", "function", "keys", "packed", "store_id")

    def __init__(self, function: str, keys: Sequence[Argument], args: Sequence[Argument]) -> None:
        self.function = function
        self.keys = keys
        self.args = args
        self.packed = b""
        self.store_id = ""
        self._around: tuple[bytes, bytes] | None = None
        self._last: Joint | None = None

    def pack(self, packed: bytes, store_id: str) -> None:
        """Take the bytes of the call by one, for the store of *store_id*."""
        self.packed, self.store_id, self._last, self._around = packed, store_id, None, None

    def join(
        self, put: Callable[[Call], None], began_s: float, deadline_s: float, listener: Listener
    ) -> None:
        """Put the call, or make it with those who have put it in this moment: it has not left yet.

        Everybody is told the same. What has left is not joined: the store may have answered it, and have been told
        something since.
        """
        last = self._last
        if last is None or last.sent_s or last.done or deadline_s - last.deadline_s > _TOGETHER_S:
            joint = Joint(self, began_s, deadline_s, listener)
            put(joint)
            self._last = joint
        else:
            last.listeners.append(listener)

    def packed_by(self, count: int) -> bytes:
        """Return the bytes of the call by *count* at once."""
        if count == 1:
            return self.packed
        if self._around is None:
            before, _, after = self.packed.partition(_told(self.store_id) + _ONCE_PACKED)
            self._around = (before + _told(self.store_id), after)
        return _told(str(count)).join(self._around)

    def same(self, other: "Prepared") -> bool:
        """Tell whether *other* asks the very same."""
        return (self.function, self.keys, self.args) == (other.function, other.keys, other.args)


class Joint:
    """A prepared call that is under way, of all who joined it. They are told where the answer is read: no loop tick and
    no future stand between, since there may be one of these for every request."""

    __slots__ = ("_began_s", "_prepared", "deadline_s", "done", "listeners", "sent_s")
    prompt = True

    def __init__(self, prepared: Prepared, began_s: float, deadline_s: float, listener: Listener) -> None:
        self._prepared = prepared
        self._began_s = began_s
        self.listeners = [listener]
        self.deadline_s = deadline_s
        self.sent_s = 0.0
        self.done = False

    def words(self) -> bytes:
        """Return the command as it travels."""
        return self._prepared.packed_by(len(self.listeners))

    def take(self, reply: Any) -> None:
        """Tell everybody what the store has answered."""
        if not self.done:
            self.done = True
            self._tell(reply)

    def fail(self, error: Exception) -> None:
        """Tell everybody that there will be no answer, once whoever says so has done with the store."""
        if not self.done:
            self.done = True
            asyncio.get_running_loop().call_soon(self._tell, error)

    def _tell(self, outcome: Any) -> None:
        took_s = asyncio.get_running_loop().time() - self._began_s
        telemetry.STORE_SECONDS.by(self._prepared.function).observe(took_s)
        for listener in self.listeners:
            try:
                listener(outcome)
            except Exception as error:  # noqa: BLE001 - others wait for their answers
                telemetry.log().error("store_listener_failed", error=type(error).__name__, exc_info=True)


def _told(argument: str) -> bytes:
    """Return *argument*, which is ASCII, as it travels (RESP's bulk string)."""
    return b"$%d\r\n%b\r\n" % (len(argument), argument.encode())

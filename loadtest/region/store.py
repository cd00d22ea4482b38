"""A real store whose clock is told: the product's own function library, but for the one function that reads TIME."""

import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis

from gateway.processes import bound_to_us
from gateway.valkey.client import Argument, Store
from gateway.valkey.embedded import answers, find_server, server_command
from gateway.valkey.library import Library, compose, product_sources
from gateway.valkey.marker import MARKER
from gateway.valkey.prepared import Prepared

CLOCK = "ecluse:clock"
"""Where the virtual time stands, in microseconds, before each call."""

STORE_ID = "51" * 16
_READS_TIME = """\
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
"""
_READS_CLOCK = f"""\
local function now_us()
  return tonumber(redis.call('GET', '{CLOCK}'))
end
"""
_CHUNK_BYTES = 1 << 18
_START_S = 10.0


def virtual_library() -> Library:
    """Return the product's library with the function that reads the server's clock replaced.

    Raises:
        ValueError: the product reads the clock in another way than it did: this module must follow.
    """
    product = compose(product_sources())
    if product.source.count(_READS_TIME) != 1 or product.source.count("'TIME'") != 1:
        raise ValueError(
            "gateway/valkey/base.lua reads the clock in another way: mend loadtest/region/store.py"
        )
    return Library(product.digest, product.source.replace(_READS_TIME, _READS_CLOCK))


class Trip:
    """One call on its way: awaiting it hands it to the driver, which sends the answer in."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __await__(self) -> Generator["Trip", Any, Any]:
        return (yield self)


class VirtualStore(Store):
    """What `gateway.lookups` and the stores of accounts and sessions call, driven by hand instead of by a loop.

    *now_us* is the time of whoever calls just now; the driver (loadtest.region.world) sets it.
    """

    def __init__(self, path: Path) -> None:
        # A Store belongs to an asyncio loop, this one to none: only `call` and `ask` are ours to give.
        self.store_id = STORE_ID
        self.told = set()
        self._confirmed = None
        self.now_us = 0
        self._library = virtual_library()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()
        self.command("FUNCTION", "LOAD", "REPLACE", self._library.source)
        self.empty()

    def empty(self) -> None:
        """Forget everybody: an empty store that is ours."""
        self.command("FLUSHDB")
        self.command("SET", MARKER, STORE_ID)

    async def call(
        self,
        function: str,
        keys: Sequence[Argument] = (),
        args: Sequence[Argument] = (),
        *,
        confirmed: bool = False,  # noqa: ARG002 - one server holds everything
    ) -> Any:
        """Run *function* at the caller's time; the reply comes when the driver has made the trip."""
        command = (
            "FCALL", self._library.wire_name(function), len(keys) + 1, MARKER, *keys, self.store_id, *args,
        )  # fmt: skip
        return await Trip(_pack(("SET", CLOCK, self.now_us)) + _pack(command))

    async def ask(self, prepared: Prepared) -> Any:
        """Run a prepared call likewise."""
        return await self.call(prepared.function, prepared.keys, prepared.args)

    def travel(self, trips: Sequence[Trip]) -> list[Any]:
        """Send *trips* in one pipeline and return their replies in order.

        Raises:
            hiredis.ReplyError: the store refused one.
        """
        self._socket.sendall(b"".join(trip.packed for trip in trips))
        # Each trip is two commands: the clock is set, then the call is made.
        return [reply for place, reply in enumerate(self._replies(2 * len(trips))) if place % 2]

    def command(self, *words: Argument) -> Any:
        """Run one plain command.

        Raises:
            hiredis.ReplyError: the store refused it.
        """
        self._socket.sendall(_pack(words))
        return self._replies(1)[0]

    def _replies(self, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            reply = self._reader.gets()
            if reply is False:
                data = self._socket.recv(_CHUNK_BYTES)
                if not data:
                    raise ConnectionError("the store ended")
                self._reader.feed(data)
                continue
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            found.append(reply)
        return found

    def hang_up(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def a_store(directory: Path) -> Iterator[VirtualStore]:
    """Start a server in *directory*, empty and kept in memory only, and stop it afterwards."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "valkey.sock"
    command = [*server_command(find_server(), directory, "2gb"), "--appendonly", "no"]
    with subprocess.Popen(command, preexec_fn=bound_to_us()) as server:  # noqa: PLW1509
        try:
            give_up_s = time.monotonic() + _START_S
            while not answers(path):
                if time.monotonic() > give_up_s:
                    raise TimeoutError(f"the store did not start: see {directory / 'valkey.log'}")
                time.sleep(0.01)
            store = VirtualStore(path)
            try:
                yield store
            finally:
                store.hang_up()
        finally:
            server.terminate()


def _pack(command: Sequence[Argument]) -> bytes:
    # hiredis' annotation says a tuple of one; it takes any length.
    return hiredis.pack_command(tuple(command))  # type: ignore[arg-type, no-any-return]

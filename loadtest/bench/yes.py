"""A check that says yes to everything: what is left of ours without what it decides.

``python -m loadtest.bench.yes SOCKET PROCESSES`` listens on a unix socket until it is stopped.
"""

import asyncio
import os
import socket
import sys

import uvloop

from gateway.edge.wire import Answer, Peer, Wire
from gateway.processes import bound_to_us
from gateway.workers.accepting import BACKLOG, Acceptor

_YES = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_MOST_BYTES = 65_536


async def _respond(raw: bytes, peer: Peer) -> Answer:  # noqa: ARG001 - as a check is asked
    return _YES, False


async def _serve(listening: socket.socket) -> None:
    wire = Wire(_respond, lambda _: None, _MOST_BYTES)
    Acceptor(listening, wire.connection, lambda: True).open()
    await asyncio.Event().wait()


def main() -> None:
    """Listen, and answer with so many processes."""
    path, processes = sys.argv[1], int(sys.argv[2])
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    bound = bound_to_us()
    for _ in range(processes - 1):
        if os.fork() == 0:
            bound()
            break
    asyncio.run(_serve(listening), loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()

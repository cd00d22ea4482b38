"""The last bytes of connections that were closed: sent to whoever reads them, and given up where nobody does.

asyncio closes a socket when all that was written to it has gone. Somebody who reads nothing would have it, and the
answer that waits in it, kept for ever.
"""

import asyncio
import contextlib
import fcntl
import struct
import termios

from gateway.clock import spawn


class Leaving:
    """The connections that are closed, and still have something to be read. *patience_s*: how long for one byte."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._writers: set[asyncio.StreamWriter] = set()

    def __len__(self) -> int:
        return len(self._writers)

    def take(self, writer: asyncio.StreamWriter) -> None:
        """See to it that *writer* ends, now that nothing more will be written."""
        if writer.transport.get_write_buffer_size():
            self._writers.add(writer)
            spawn(self._see_off(writer), "connection leaving")

    def give_up(self) -> int:
        """Close all of them as they are; return how many there were."""
        left = list(self._writers)
        for writer in left:
            writer.transport.abort()
        return len(left)

    async def _see_off(self, writer: asyncio.StreamWriter) -> None:
        closed = spawn(_until_closed(writer), "connection closed")
        try:
            waits = waiting_bytes(writer)
            while not closed.done():
                await asyncio.wait({closed}, timeout=self._patience_s)
                before, waits = waits, waiting_bytes(writer)
                if waits == before:
                    writer.transport.abort()
                    return
        finally:
            self._writers.discard(writer)


async def _until_closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def waiting_bytes(writer: asyncio.StreamWriter) -> int:
    """Return what was written and the peer has not acknowledged: what waits here, and what waits in the system.

    The system's buffers alone are some megabytes, which a slow reader takes minutes for (tcp(7), SIOCOUTQ).
    """
    with contextlib.suppress(OSError, ValueError):
        descriptor = writer.get_extra_info("socket").fileno()
        raw = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
        return writer.transport.get_write_buffer_size() + int(struct.unpack("i", raw)[0])
    return writer.transport.get_write_buffer_size()

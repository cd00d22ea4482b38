"""What both sides of an HTTP/1 connection have in common: nothing to wait for, and the end of a usual exchange."""

from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._http1 import Http1Connection, Http1Server

from addons import heads

Commands = Generator[commands.Command, Any, None]


class Straight(Http1Connection):
    """One side of a connection, on the shortest way through mitmproxy's layers that leads to the same end."""

    def handle_event(self, event: events.Event) -> Commands:
        """Do what mitmproxy does. No command of this layer waits for an answer, so there is nothing to pause."""
        return self._handle_event(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Make ready for the next exchange, where it is plain that there may be one; else mitmproxy looks closer."""
        done = (self.request_done or request) and (self.response_done or response)
        if not done or not heads.stays_open(self.request, self.response):
            yield from super().mark_done(request=request, response=response)
            return
        self.request_done = self.response_done = False
        self.request = self.response = None
        self.stream_id = self.stream_id + 2 if isinstance(self, Http1Server) else None
        self.state = self.read_headers
        if self.buf:
            yield from self.state(events.DataReceived(self.conn, b""))

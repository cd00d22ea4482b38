"""The same mitmproxy Master without a guard: ``python -m loadtest.bare PORT UPSTREAM_PORT``.

One addon sends everything to the one app and releases every answer; nothing is decided, counted or recorded.
"""

import asyncio
import sys

from mitmproxy import http

from addons.master import DoorSettings, GateMaster
from addons.sentinel import FORWARD, RELEASE, mark
from addons.upstreams import choose
from gateway.policy.policy import Upstream


class Open:
    """Agrees to everything."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Let it go upstream."""
        choose(flow, self._upstream)
        mark(flow, FORWARD)

    def response(self, flow: http.HTTPFlow) -> None:
        """Let the answer leave."""
        mark(flow, RELEASE)


async def serve(port: int, upstream_port: int) -> None:
    """Serve on loopback *port* until killed."""
    upstream = Upstream("http", "127.0.0.1", upstream_port)
    master = GateMaster.build(DoorSettings("127.0.0.1", port), [Open(upstream)], [upstream])
    await master.start()
    await master.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))

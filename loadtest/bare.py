"""The yardsticks, without a guard: ``python -m loadtest.bare PORT UPSTREAM_PORT [own]``.

Nothing is decided, counted or recorded. By default a minimal mitmproxy Master as mitmproxy ships it: its reverse
mode, the addons which that needs, and one of ours with the two hooks that a guard needs. With ``own``, the
gateway's own door, whose addon sends everything to the one app and releases every answer.
"""

import asyncio
import sys

from mitmproxy import http, options
from mitmproxy.addons import next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master

from gateway.policy.policy import Upstream


class Watching:
    """Is asked about everything, and says nothing."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """See a request."""

    def response(self, flow: http.HTTPFlow) -> None:
        """See an answer."""


async def serve_as_shipped(port: int, upstream_port: int) -> None:
    """Serve on loopback *port* until killed."""
    mode = f"reverse:http://127.0.0.1:{upstream_port}"
    chosen = options.Options(listen_host="127.0.0.1", listen_port=port, mode=[mode])
    master = Master(chosen)
    addons = (proxyserver.Proxyserver, next_layer.NextLayer, tlsconfig.TlsConfig, Watching)
    master.addons.add(*(addon() for addon in addons))  # type: ignore[no-untyped-call]
    chosen.update(keep_host_header=True)  # type: ignore[no-untyped-call]
    await master.run()


async def serve_own_door(port: int, upstream_port: int) -> None:
    """Serve on loopback *port* until killed."""
    # Imported here, since it changes how mitmproxy works.
    from addons.master import DoorSettings, GateMaster  # noqa: PLC0415
    from addons.sentinel import FORWARD, RELEASE, mark  # noqa: PLC0415
    from addons.upstreams import choose  # noqa: PLC0415

    upstream = Upstream("http", "127.0.0.1", upstream_port)

    class Open:
        """Agrees to everything."""

        def requestheaders(self, flow: http.HTTPFlow) -> None:
            choose(flow, upstream)
            mark(flow, FORWARD)

        def response(self, flow: http.HTTPFlow) -> None:
            mark(flow, RELEASE)

    master = GateMaster.build(DoorSettings("127.0.0.1", port), [Open()], [upstream])
    await master.start()
    await master.wait_closed()


if __name__ == "__main__":
    serve = serve_own_door if sys.argv[3:] == ["own"] else serve_as_shipped
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))

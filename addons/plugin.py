"""The guard as a mitmproxy plugin, to try it out in front of an app before anything is installed.

Write ``ecluse.yaml`` and its keys as for the gateway, then::

    mitmdump -s addons/__init__.py --mode reverse:http://127.0.0.1:9 --listen-port 8443
        --set ecluse_config=ecluse.yaml --set rawtcp=false --set http2=false --set http3=false
        --set connection_strategy=lazy --set keep_host_header=true --set onboarding=false

Not for production: a script that mitmproxy reloads or unloads leaves the door open behind it, and
mitmproxy's own addons stay in the chain. Production runs ``ecluse serve``. The plugin refuses to start on
options that would let answers pass unseen.
"""

from contextlib import AsyncExitStack
from pathlib import Path

from mitmproxy import ctx, exceptions, http
from mitmproxy.addonmanager import Loader

from addons.guard import Guard
from addons.sentinel import Sentinel
from addons.upstreams import Upstreams
from gateway.assembly.services import open_services
from gateway.configuration import ConfigurationFaults, load
from gateway.engine import Engine

_REQUIRED: dict[str, object] = {
    "stream_large_bodies": None,
    "rawtcp": False,
    "http2": False,
    "http3": False,
    "connection_strategy": "lazy",
    "keep_host_header": True,
    "validate_inbound_headers": True,
    "ssl_insecure": False,
    "save_stream_file": None,
    "store_streamed_bodies": False,
}


def unsafe_options(options: dict[str, object]) -> list[str]:
    """Return ``name=value`` for each option that must have another value for the guard to hold."""
    wrong = []
    for name, value in _REQUIRED.items():
        if name in options and options[name] != value:
            shown = "unset" if value is None else str(value).lower()
            wrong.append(f"{name} (needs {shown})")
    if options.get("onboarding"):
        wrong.append("onboarding (needs false)")
    modes = options.get("mode")
    if not isinstance(modes, list | tuple) or any(not str(mode).startswith("reverse:") for mode in modes):
        wrong.append(
            "mode (needs reverse:http://127.0.0.1:9, the apps' addresses stand in the configuration)"
        )
    return wrong


def _refused(why: str) -> Exception:
    return exceptions.OptionsError(why)  # type: ignore[no-untyped-call]


class Plugin:
    """Builds the guard when mitmproxy is running; until then every request is refused by the sentinel."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._guard: Guard | None = None
        self.upstreams = Upstreams(())

    def load(self, loader: Loader) -> None:
        """Declare our one option."""
        loader.add_option("ecluse_config", str, "", "Path of the Écluse configuration.")

    def configure(self, updated: set[str]) -> None:
        """Refuse options under which the guard could be passed by, at start and whenever one changes."""
        names = ctx.options.keys()  # type: ignore[no-untyped-call]
        wrong = unsafe_options({name: getattr(ctx.options, name) for name in names})
        if wrong:
            raise _refused(f"Écluse refuses to run with: {', '.join(wrong)}")
        if "ecluse_config" in updated and not ctx.options.ecluse_config:
            raise _refused("set ecluse_config to the path of the configuration")

    async def running(self) -> None:
        """Open the services; without them everything stays refused."""
        try:
            loaded = load(Path(ctx.options.ecluse_config))
        except ConfigurationFaults as found:
            raise _refused("; ".join(str(fault) for fault in found.faults)) from found
        services = await self._stack.enter_async_context(open_services(loaded))
        self.upstreams.replace(app.upstream for app in loaded.policy.apps.values())
        self._guard = Guard(Engine(services))

    async def done(self) -> None:
        """Close the log and the store."""
        self._guard = None
        await self._stack.aclose()

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            await self._guard.requestheaders(flow)

    async def request(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            rest = self._guard.request(flow)
            if rest is not None:
                await rest

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            rest = self._guard.responseheaders(flow)
            if rest is not None:
                await rest

    async def response(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            await self._guard.response(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            await self._guard.error(flow)

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """See Guard."""
        if self._guard is not None:
            await self._guard.websocket_message(flow)


_plugin = Plugin()
addons = [_plugin.upstreams, _plugin, Sentinel()]

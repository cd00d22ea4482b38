"""What the door relies on in mitmproxy, h11 and asyncio beyond their promises, checked before its modules are imported.

The door overrides methods, replaces names of modules and fills objects by hand. Where one of these is gone, the
override would hang in the air and mitmproxy's own, lax code would serve: that must refuse to start instead.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from types import CodeType
from typing import Any, Final


class ContractBroken(Exception):
    """mitmproxy is not what the door was written for. The message names what is gone, and the mend."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__(
            f"mitmproxy or h11 is not what the door relies on: {'; '.join(faults)}. "
            "Install the versions of requirements.lock"
        )


@dataclass(frozen=True, slots=True)
class Relied:
    """One class, function or module of theirs, as ``module:name`` or ``module``.

    *has*: attributes, and what its code keeps on its instances. *overrides*: methods that ours stand in for, and that
    it has itself. *looks_up*: names that its code looks up in its module, so that replacing them there works.
    *fields*: its dataclass fields, all of them. *takes*: the parameters of its constructor, or its own, in order.
    """

    what: str
    has: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    looks_up: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_MESSAGE = ("http_version", "headers", "content", "trailers", "timestamp_start", "timestamp_end")
_HTTP1 = ("buf", "state", "request", "response", "stream_id", "body_reader", "conn", "done", "wait", "mark_done",
          "request_done", "response_done")  # fmt: skip

RELIES_ON: Final = (
    # Its check of itself is there where Python checks (no -O).
    Relied("mitmproxy.http:MessageData", has=("__post_init__",) if __debug__ else (), fields=_MESSAGE),
    Relied(
        "mitmproxy.http:RequestData",
        fields=(*_MESSAGE, "host", "port", "method", "scheme", "authority", "path"),
    ),
    Relied("mitmproxy.http:ResponseData", fields=(*_MESSAGE, "status_code", "reason")),
    Relied("mitmproxy.http:Headers", has=("fields", "get", "__contains__")),
    Relied("mitmproxy.proxy.mode_servers:ServerInstance", has=("make",), looks_up=("ProxyConnectionHandler",)),
    Relied(
        "mitmproxy.proxy.mode_servers:ProxyConnectionHandler",
        has=("transports", "layer", "client", "timeout_watchdog", "wakeup_timer", "open_connection",
             "close_connection", "wakeup", "log", "handle_client"),
        overrides=("server_event", "drain_writers"),
        takes=("self", "master", "r", "w", "options", "mode"),
    ),
    Relied("mitmproxy.proxy.server:TimeoutWatchdog", has=("register_activity", "blocker", "can_timeout")),
    Relied("mitmproxy.proxy.server:ConnectionIO", fields=("handler", "reader", "writer")),
    Relied(
        "mitmproxy.proxy.layer:Layer",
        has=("_paused", "_paused_event_queue", "_handle_event", "context"),
        overrides=("handle_event",),
    ),
    Relied("mitmproxy.proxy.layer:Paused", has=("command", "generator")),
    Relied("mitmproxy.proxy.layer:NextLayer", has=("layer",)),
    Relied("mitmproxy.proxy.context:Context", has=("client", "server", "options", "layers", "fork")),
    Relied(
        "mitmproxy.proxy.layers.http:HttpStream",
        has=("client_state", "server_state", "flow", "response_body_buf", "state_consume_request_body",
             "state_stream_request_body", "state_wait_for_response_headers", "state_done", "state_errored",
             "send_response"),
        overrides=("_handle_event", "state_wait_for_request_headers", "check_invalid", "check_killed",
                   "check_body_size", "make_server_connection"),
        takes=("self", "context", "stream_id"),
    ),
    Relied(
        "mitmproxy.proxy.layers.http:HttpLayer",
        has=("connections", "streams", "command_sources", "waiting_for_establishment"),
        overrides=("_handle_event", "event_to_child", "make_stream"),
        looks_up=("Http1Client",),
        takes=("self", "context", "mode"),
    ),
    Relied(
        "mitmproxy.proxy.layers.http._http1:Http1Server",
        has=_HTTP1,
        overrides=("_handle_event", "mark_done", "send", "read_headers", "read_body"),
        takes=("self", "context"),
    ),
    Relied(
        "mitmproxy.proxy.layers.http._http1:Http1Client",
        has=_HTTP1,
        overrides=("mark_done", "read_headers", "read_body"),
        takes=("self", "context"),
    ),
    Relied("mitmproxy.proxy.layers.http._http1:make_body_reader", takes=("expected_size",)),
    Relied("mitmproxy.proxy.layers.http._base:ReceiveHttp", has=("event",), takes=("self", "event")),
    Relied(
        "mitmproxy.proxy.layers.http._events:RequestHeaders",
        fields=("stream_id", "request", "end_stream", "replay_flow"),
    ),
    Relied("mitmproxy.proxy.layers.http._events:ErrorCode", has=("CLIENT_DISCONNECTED", "GENERIC_SERVER_ERROR",
                                                                "RESPONSE_TOO_LARGE", "http_status_code")),
    Relied("mitmproxy.proxy.layers.http._hooks:HttpErrorHook", fields=("flow",)),
    Relied("mitmproxy.proxy.layers.http._hooks:HttpRequestHeadersHook", fields=("flow",)),
    Relied("mitmproxy.addonmanager:AddonManager", overrides=("add", "handle_lifecycle", "trigger_event")),
    Relied("mitmproxy.addons.proxyserver:Proxyserver", has=("servers", "connections", "listen_addrs")),
    Relied("h11._readers:ChunkedReader", has=("__call__", "read_eof")),
    Relied(
        "asyncio.streams:StreamReader",
        has=("_buffer", "_maybe_resume_transport"),
        overrides=("feed_data", "feed_eof", "set_exception"),
    ),
)  # fmt: skip
"""Everything that is private, or that an override of ours hangs on."""

OPTIONS: Final = (
    *(
        "http2",
        "http3",
        "rawtcp",
        "websocket",
        "connection_strategy",
        "keep_host_header",
        "validate_inbound_headers",
    ),
    *("stream_large_bodies", "store_streamed_bodies", "body_size_limit", "tcp_timeout", "upstream_cert"),
    "ssl_insecure",
)
"""The options that make mitmproxy strict: one that is not known any more would be off in silence."""


def check() -> None:
    """Let the door be built.

    Raises:
        ContractBroken: something that it relies on is gone.
    """
    faults = tuple(said for relied in RELIES_ON for said in broken(relied))
    if not faults:
        faults = tuple(_unknown_options())
    if faults:
        raise ContractBroken(faults)


def broken(relied: Relied) -> Iterator[str]:
    """Yield what of *relied* is gone."""
    module_name, _, name = relied.what.partition(":")
    try:
        thing: Any = import_module(module_name)
        thing = inspect.unwrap(getattr(thing, name)) if name else thing
    except (ImportError, AttributeError):
        yield f"{relied.what} is gone"
        return
    known = {*dir(thing), *_mentioned(thing)}
    for wanted in (*relied.has, *relied.overrides):
        if wanted not in known and not hasattr(thing, wanted):
            yield f"{relied.what} has no {wanted} any more"
    for wanted in relied.overrides:
        method = getattr(thing, wanted, None)
        if not callable(method) or getattr(method, "__isabstractmethod__", False):
            yield f"{relied.what}.{wanted} is no method any more"
    for wanted in relied.looks_up:
        if wanted not in _mentioned(thing) or not hasattr(import_module(module_name), wanted):
            yield f"{relied.what} does not look {wanted} up in its module any more"
    if relied.fields:
        found = tuple(item.name for item in fields(thing)) if is_dataclass(thing) else ()
        if set(found) != set(relied.fields):
            yield f"{relied.what} has the fields {', '.join(found) or 'of no dataclass'}"
    if relied.takes:
        called = getattr(thing, "__init__") if isinstance(thing, type) else thing  # noqa: B009 - of the class itself
        found = tuple(inspect.signature(called).parameters)
        if found[: len(relied.takes)] != relied.takes:
            yield f"{relied.what} takes {', '.join(found)}"


def _mentioned(thing: Any) -> set[str]:
    """Return every name that the code of *thing*, or of its bases, uses: among them what it keeps on instances."""
    found: set[str] = set()
    for one in thing.__mro__ if isinstance(thing, type) else (thing,):
        for item in vars(one).values() if isinstance(one, type) else (one,):
            function = getattr(item, "__func__", item)
            function = inspect.unwrap(function) if callable(function) else function
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType):
                found |= _names(code)
        found |= set(getattr(one, "__annotations__", {})) if isinstance(one, type) else set()
    return found


def _names(code: CodeType) -> set[str]:
    found = {*code.co_names}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _unknown_options() -> Iterator[str]:
    options = import_module("mitmproxy.options").Options()
    proxyserver = import_module("mitmproxy.addons.proxyserver").Proxyserver()
    loader = _Loader()
    proxyserver.load(loader)
    for name in OPTIONS:
        if name not in loader.names and not hasattr(options, name):
            yield f"the option {name} is gone"


class _Loader:
    """Takes the names of the options that an addon brings."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_option(self, name: str, *_: object, **__: object) -> None:
        self.names.add(name)

    def add_command(self, *_: object, **__: object) -> None:
        """Commands are not asked about."""

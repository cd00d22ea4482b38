"""The HTTP side of a witness: C2SP tlog-witness over tornado, bounded in size, pace and number."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable

import tornado.httpserver
import tornado.web

from gateway import telemetry
from gateway.audit.files import LogDamaged
from gateway.audit.witness import (
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    TEXT_TYPE,
    Refused,
    RequestRefused,
    load_request,
    origin_of,
)
from gateway.audit.witness_store import WitnessStore, WitnessUnusable
from gateway.clock import Clock

BURST = 60
PER_S = 2.0
_MOST_ADDRESSES = 10_000
_MOST_AT_ONCE = 16
_BODY_TIMEOUT_S = 10.0
_IDLE_TIMEOUT_S = 60.0


class Pace:
    """How often one address may ask: a bucket of *burst*, refilled by *per_s* a second."""

    def __init__(self, burst: int = BURST, per_s: float = PER_S) -> None:
        self._burst = burst
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, address: str, now_s: float) -> bool:
        """Tell whether *address* may ask at *now_s*, a clock that never goes back; counts the asking."""
        left, since_s = self._buckets.pop(address, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - since_s) * self._per_s)
        may = left >= 1.0
        self._buckets[address] = (left - 1.0 if may else left, now_s)
        while len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return may


class _Answering(tornado.web.RequestHandler):
    def initialize(self, store: WitnessStore, clock: Clock, pace: Pace, gate: asyncio.Semaphore) -> None:
        self.store, self.clock, self.pace, self.gate = store, clock, pace, gate

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", TEXT_TYPE)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        if not self.pace.takes(self.request.remote_ip or "", asyncio.get_running_loop().time()):
            self.set_header("Retry-After", "30")
            self.say(429, "too many requests")

    def write_error(self, status_code: int, **_: object) -> None:
        self.finish(f"{status_code}\n")

    def say(self, status: int, text: str, kind: str = TEXT_TYPE) -> None:
        self.set_status(status)
        self.set_header("Content-Type", kind)
        self.finish(text + "\n")


class _AddCheckpoint(_Answering):
    async def post(self) -> None:
        try:
            request = load_request(self.request.body)
        except RequestRefused as error:
            self.say(400, str(error))
            return
        try:
            async with self.gate:
                at_s = self.clock.now_ms() // 1_000
                found = await asyncio.to_thread(self.store.add_checkpoint, request, at_s)
        except (WitnessUnusable, LogDamaged, OSError) as error:
            telemetry.log().error("witness_unusable", what=str(error))
            self.say(503, "this witness cannot keep its state")
            return
        if isinstance(found, Refused):
            if found.status == 422:
                telemetry.log().error("witness_refused_rewritten_log", origin=origin_of(request) or "")
            self.say(found.status, found.text, SIZE_TYPE if found.status == 409 else TEXT_TYPE)
            return
        telemetry.log().info("witness_cosigned", origin=origin_of(request) or "")
        self.finish(found)


class _Kept(_Answering):
    async def get(self, origin_hash: str) -> None:
        try:
            note = await asyncio.to_thread(self.store.kept, origin_hash)
        except OSError as error:
            telemetry.log().error("witness_unusable", what=f"{error.filename}: {error.strerror}")
            self.say(503, "this witness cannot read its state")
            return
        if note is None:
            self.say(404, "no checkpoint of this log was cosigned here")
        else:
            self.finish(note)


class _NoSuchPage(_Answering):
    def prepare(self) -> None:
        self.say(404, "POST /add-checkpoint, GET /HASH/checkpoint")


def make_server(
    store: WitnessStore, clock: Clock, *, tls: ssl.SSLContext | None = None, pace: Pace | None = None
) -> tornado.httpserver.HTTPServer:
    """Return the server of the witness *store*, not listening yet; call it from within an event loop."""
    with_what: dict[str, object] = {
        "store": store,
        "clock": clock,
        "pace": pace if pace is not None else Pace(),
        "gate": asyncio.Semaphore(_MOST_AT_ONCE),
    }
    quiet: Callable[[tornado.web.RequestHandler], None] = lambda _: None  # noqa: E731 - a name for a type
    application = tornado.web.Application(
        [(r"/add-checkpoint", _AddCheckpoint, with_what), (r"/([0-9a-f]{64})/checkpoint", _Kept, with_what)],
        default_handler_class=_NoSuchPage,
        default_handler_args=with_what,
        log_function=quiet,
    )
    return tornado.httpserver.HTTPServer(
        application,
        ssl_options=tls,
        max_header_size=8_192,
        max_body_size=MAX_REQUEST_BYTES,
        max_buffer_size=2 * MAX_REQUEST_BYTES,
        body_timeout=_BODY_TIMEOUT_S,
        idle_connection_timeout=_IDLE_TIMEOUT_S,
    )

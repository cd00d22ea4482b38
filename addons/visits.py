"""What the guard remembers of a flow from hook to hook, and what the flow itself tells of its exchange."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.connection import ConnectionState

from addons.sentinel import FORWARD, RELEASE, verdict_of, was_sent
from addons.wire import APP_SILENT
from gateway import telemetry
from gateway.engine import BodyPlan, Exchange
from gateway.ingress import Admitted

_STATE = "ecluse.visit"


@dataclass(slots=True)
class Visit:
    """One flow: *exchange* is None until its request was admitted."""

    admitted: Admitted | None = None
    exchange: Exchange | None = None
    plan: BodyPlan | None = None
    upgrade: bool = False
    finished: bool = False


def begin_visit(flow: http.HTTPFlow) -> Visit:
    """Return what is remembered of *flow* from now on: nothing yet."""
    visit = flow.metadata[_STATE] = Visit()
    return visit


def visit_of(flow: http.HTTPFlow) -> Visit | None:
    """Return what is remembered of *flow*, None when its visit never began."""
    found = flow.metadata.get(_STATE)
    return found if isinstance(found, Visit) else None


def app_failed(flow: http.HTTPFlow) -> bool:
    """Tell whether a forwarded exchange ended by the app's doing and not by the client's."""
    forwarded = was_sent(flow) and verdict_of(flow) in {FORWARD, RELEASE}
    silent = flow.error is not None and flow.error.msg == APP_SILENT
    return forwarded and (silent or flow.client_conn.state is ConnectionState.OPEN)


def time_app(flow: http.HTTPFlow, exchange: Exchange) -> None:
    """Count how long the app took from the request's last byte to its answer's."""
    began_s = flow.request.timestamp_end
    ended_s = flow.response.timestamp_end if flow.response is not None else None
    if began_s is not None and ended_s is not None:
        telemetry.UPSTREAM_SECONDS.by(exchange.app.name).observe(max(0.0, ended_s - began_s))

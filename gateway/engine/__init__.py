"""The corridor: gather, decide, apply. It knows every room by its functions, and no mitmproxy."""

from gateway import telemetry
from gateway.audit.describe import Context, tell
from gateway.engine import arrivals, login_answers, metering, own_pages, records, requests, responses
from gateway.engine.exchange import (
    Answer,
    AwaitBody,
    BodyPlan,
    Exchange,
    Onward,
    Pass,
    RequestAction,
    ResponseAction,
)
from gateway.engine.replies import refusal
from gateway.engine.services import Services
from gateway.ingress import Admitted, RawHead, Turned, admit
from gateway.pages import views
from gateway.pages.language import language
from gateway.pages.problem import problem, wants_html
from gateway.policy.policy import Policy
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.messages import Reply, RequestFacts, ResponseFacts

__all__ = [
    "Answer",
    "AwaitBody",
    "BodyPlan",
    "Engine",
    "Exchange",
    "Onward",
    "Pass",
    "RequestAction",
    "ResponseAction",
]


class Engine:
    """One per process. Every method may raise only by a fault of ours: the door turns that into a refusal."""

    def __init__(self, services: Services) -> None:
        self.services = services

    @property
    def policy(self) -> Policy:
        """Return the policy that new exchanges get."""
        return self.services.policy

    def arrive(self, head: RawHead, body: bytes | None = None) -> tuple[Admitted | None, Exchange | Answer]:
        """Read *head* strictly and open its exchange; what cannot be read in one way only is turned away.

        *body* is given where it is known before anything is asked.
        """
        request_id, now_ms = self.services.entropy.hex(16), self.services.clock.now_ms()
        admitted = admit(head, self.services.policy)
        if isinstance(admitted, Turned):
            facts = arrivals.stray_facts(head, request_id=request_id, received_ms=now_ms)
            reason = Reason.UNKNOWN_METHOD if admitted.fault == "unknown-method" else Reason.MALFORMED_REQUEST
            return None, self.turn_away(facts, reason, admitted.status, admitted.fault)
        facts = arrivals.facts_of(admitted, request_id=request_id, received_ms=now_ms, body=body)
        return admitted, self.begin(facts)

    def open(self, admitted: Admitted, body: bytes | None = None) -> Exchange | Answer:
        """Open the exchange of what was admitted under the policy of this moment, as ``arrive`` does."""
        request_id, now_ms = self.services.entropy.hex(16), self.services.clock.now_ms()
        return self.begin(arrivals.facts_of(admitted, request_id=request_id, received_ms=now_ms, body=body))

    def unread(self) -> RequestFacts:
        """Return what may be said of a request of which nothing is believed."""
        return arrivals.unread(self.services.entropy.hex(16), self.services.clock.now_ms())

    def begin(self, facts: RequestFacts) -> Exchange | Answer:
        """Open the exchange of an admitted request, on the policy of this moment."""
        policy = self.services.policy
        if self.services.stopping:
            return self.turn_away(facts, Reason.STOPPING, 503)
        app = policy.by_host.get(facts.host)
        if app is None:
            return self.turn_away(facts, Reason.UNKNOWN_HOST, 421)
        return Exchange(facts, policy, app, policy.realms[app.realm])

    def turn_away(self, facts: RequestFacts, reason: Reason, status: int, fault: str | None = None) -> Answer:
        """Refuse what has no exchange: malformed, for nobody we know, or too late. *fault* is a short stable word."""
        policy = self.services.policy
        reference = facts.request_id[:8]
        context = Context(
            facts.request_id,
            policy.policy_id,
            method=facts.method[:16],
            client=facts.client_address,
            client_port=facts.client_port,
        )
        detail = (("fault", fault),) if fault is not None else ()
        self.services.audit.append_soon(
            tell(
                EventKind.REFUSED,
                context,
                self.services.clock.now_ms(),
                reason=reason.value,
                status=status,
                reference=reference,
                detail=detail,
            )
        )
        telemetry.REQUESTS.by("", "", "refuse", reason.value).inc()
        if not wants_html(facts.header("accept"), facts.header("sec-fetch-mode"), None):
            return Answer(problem(reason=reason, status=status, reference=reference))
        look = views.Look(
            language=language(facts.header("accept-language")),
            body=policy.body,
            prefix=policy.prefix,
            app_title="",
            secure=facts.scheme == "https",
        )
        return Answer(views.refusal(look, reason=reason, status=status, reference=reference))

    def stand(self, exchange: Exchange) -> None:
        """Find out at which door the request of *exchange* stands, and whether it is a login: nothing is asked yet.

        A body that the door depends on must have been read.
        """
        requests.stand(exchange)

    async def on_request(self, exchange: Exchange, *, body_read: bool) -> RequestAction:
        """Decide a request; AwaitBody asks to be called again with the body in *exchange.facts*."""
        if exchange.facts.path.startswith(exchange.policy.prefix):
            if exchange.facts.method == "POST" and not body_read:
                return AwaitBody()
            return Answer(await self._own_page(exchange))
        action = await requests.decide(exchange, self.services, body_read=body_read)
        if not isinstance(action, AwaitBody):
            self.counter(exchange).inc()
        return action

    def counter(self, exchange: Exchange) -> telemetry.Tally:
        """Return the metric that counts requests decided as *exchange*'s was."""
        kind = exchange.match.kind.value if exchange.match is not None else ""
        decision = exchange.decision
        name = type(decision).__name__.lower()
        reason = decision.reason.value if decision is not None else ""
        return telemetry.REQUESTS.by(exchange.app.name, kind, name, reason)

    async def _own_page(self, exchange: Exchange) -> Reply:
        try:
            return await own_pages.serve(exchange, self.services)
        except StoreEmptied:
            reason, retry_after_s = Reason.STORE_EMPTIED, 30
        except StoreUnavailable:
            reason, retry_after_s = Reason.STORE_DOWN, 5
        return own_pages.refused(exchange, self.services, reason, 503, retry_after_s=retry_after_s)

    def body_plan(self, exchange: Exchange, head: ResponseFacts) -> BodyPlan:
        """Choose how the answer's body is treated; asked when its head is known and nothing has left."""
        return responses.body_plan(exchange, head)

    async def on_response(self, exchange: Exchange, response: ResponseFacts) -> ResponseAction:
        """Decide an answer of the app. For a stream, *response.body* is None and only the head is decided."""
        return await responses.decide(exchange, self.services, response)

    async def on_abort(self, exchange: Exchange) -> None:
        """Settle an exchange that ended before its answer was seen."""
        if exchange.settled:
            return
        exchange.settled = True
        try:
            await login_answers.abandon(exchange, self.services)
        except (StoreEmptied, StoreUnavailable):
            # The announced attempt stays open in the store until it expires: its cookies open nothing.
            telemetry.log().warning("login_attempt_left_open", app=exchange.app.name)

    def refused_on_the_wire(self, status: int, client: str, client_port: int) -> None:
        """Record that bytes were refused which no exchange could be made of."""
        policy, request_id = self.services.policy, self.services.entropy.hex(16)
        self.services.audit.append_soon(
            tell(
                EventKind.REFUSED,
                Context(request_id, policy.policy_id, client=client, client_port=client_port),
                self.services.clock.now_ms(),
                reason=Reason.MALFORMED_REQUEST.value,
                status=status,
                detail=(("fault", "wire"),),
            )
        )
        telemetry.REQUESTS.by("", "", "refuse", Reason.MALFORMED_REQUEST.value).inc()

    def app_failed(self, exchange: Exchange, reason: Reason) -> None:
        """Record that the app did not answer, broke off, or answered more than can be read."""
        if reason is not Reason.UNINSPECTABLE:
            telemetry.UPSTREAM_FAILURES.labels(exchange.app.name).inc()
        kind = EventKind.STREAM_CUT if exchange.released else EventKind.WITHHELD
        status = 502 if kind is EventKind.WITHHELD else None
        reference = exchange.facts.request_id[:8]
        records.soon(exchange, self.services, kind, reason=reason, status=status, reference=reference)

    def refuse(self, exchange: Exchange, reason: Reason, status: int) -> Answer:
        """Record and word a refusal that only the door can see."""
        records.soon(
            exchange,
            self.services,
            EventKind.REFUSED,
            reason=reason,
            status=status,
            reference=exchange.facts.request_id[:8],
        )
        return Answer(refusal(exchange, reason, status))

    def faulted(self, exchange: Exchange | None, where: str) -> Answer | None:
        """Record a fault of ours; return its page when the exchange is known."""
        telemetry.HOOK_FAULTS.inc()
        if exchange is None:
            now_ms, policy_id = self.services.clock.now_ms(), self.services.policy.policy_id
            self.services.audit.append_soon(
                AuditEvent(
                    EventKind.FAIL_CLOSED,
                    now_ms,
                    reason=Reason.FAULT.value,
                    status=503,
                    policy_id=policy_id,
                    detail=(("where", where),),
                )
            )
            return None
        records.soon(
            exchange,
            self.services,
            EventKind.FAIL_CLOSED,
            reason=Reason.FAULT,
            status=503,
            reference=exchange.facts.request_id[:8],
            detail=(("where", where),),
        )
        return Answer(refusal(exchange, Reason.FAULT, 503, retry_after_s=5))

    def piece_may_leave(self, exchange: Exchange, piece: bytes) -> bool:
        """Count one piece of a stream: its bytes, and the personal data it shows."""
        return metering.meter_piece(exchange, piece)

    async def message_may_leave(self, exchange: Exchange, content: bytes) -> bool:
        """Charge one message of an open socket: its bytes, and the personal data it shows."""
        return exchange.stage is Stage.FULL and await metering.meter_message(exchange, self.services, content)

    def note_cut(self, exchange: Exchange) -> None:
        """Record that a stream was cut."""
        records.soon(exchange, self.services, EventKind.STREAM_CUT)

    async def still_welcome(self, exchange: Exchange) -> bool:
        """Tell whether a long-lived exchange may go on: session live, account not locked; charges its bytes."""
        return exchange.stage is Stage.FULL and await metering.settle_meter(exchange, self.services)

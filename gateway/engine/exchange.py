"""One exchange on its way through the house: what is known of it so far, and what is to be done."""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from gateway.accounts.account import Account
from gateway.audit.describe import Context, session_label
from gateway.lookups import Entered, Entering
from gateway.policy.policy import App, Policy, Realm
from gateway.policy.request import BasicState
from gateway.policy.routes import RouteMatch
from gateway.vocabulary.decision import Forward, RequestDecision
from gateway.vocabulary.identity import AccountRef, SessionClaims, Stage
from gateway.vocabulary.limits import LimitSet
from gateway.vocabulary.logins import LoginRule
from gateway.vocabulary.messages import Headers, Reply, RequestFacts
from gateway.vocabulary.records import REVEALING


class Answer(msgspec.Struct, frozen=True):
    """Send this instead; nothing goes upstream."""

    reply: Reply


class Onward(msgspec.Struct, frozen=True):
    """Send the request to the app with exactly these headers (Host is kept by the door)."""

    headers: Headers


class AwaitBody(msgspec.Struct, frozen=True):
    """The decision needs the request's body: ask again when it was read. Nothing goes upstream before."""


RequestAction = Answer | Onward | AwaitBody


class Pass(msgspec.Struct, frozen=True):
    """Let the app's answer leave, with exactly these headers."""

    headers: Headers


ResponseAction = Answer | Pass


class BodyPlan(StrEnum):
    """How the door treats an answer's body. METER: streamed while its bytes are counted."""

    BUFFER = "buffer"
    STREAM = "stream"
    METER = "meter"


@dataclass(slots=True)
class Credentials:
    """The app credentials of a request. *hashes* runs beside *pairs*; bearer and Basic stand in *authorization*."""

    neutral: tuple[tuple[str, str], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    hashes: tuple[str, ...] = ()
    authorization: str | None = None
    bearer_hash: str | None = None
    basic: BasicState = BasicState.NONE
    basic_user: str | None = None


@dataclass(slots=True)
class Exchange:
    """The one value kept with the flow. *policy* never changes midway; a reload concerns later exchanges."""

    facts: RequestFacts
    policy: Policy
    app: App
    realm: Realm
    match: RouteMatch | None = None
    login: LoginRule | None = None
    stood: RequestFacts | None = None
    """The reading of the request that *match* and *login* were found by."""
    typed: AccountRef | None = None
    credentials: Credentials = field(default_factory=Credentials)
    claims: SessionClaims | None = None
    entered: Entered | None = None
    entering: Entering | None = None
    """Kept where the store's answer to the request is to be known word for word."""
    asserted_until_s: int = 0
    """Until when the assertion that went upstream is the one to use."""
    limits: LimitSet | None = None
    account: AccountRef | None = None
    account_class: str | None = None
    login_account: Account | None = None
    decision: RequestDecision | None = None
    ticket: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    """Hashes of the credentials that went upstream."""
    jar_extra: tuple[str, ...] = ()
    """Credentials that this answer gives to the session beside its cookies."""
    attempt_open: bool = False
    """A login attempt was announced at the door and its end is still owed."""
    metered_bytes: int = 0
    metered_sightings: int = 0
    streams_text: bool = False
    """What streams by is text, and is read for personal data."""
    released: bool = False
    """The answer's head has left: it is streamed."""
    cut: bool = False
    settled: bool = False

    @property
    def stage(self) -> Stage | None:
        """Return the stage of the live session, None without one."""
        return self.entered.stage if self.entered is not None else None

    @property
    def session_id(self) -> str | None:
        """Return the id of the live session, None without one."""
        return self.claims.session_id if self.claims is not None and self.stage is not None else None

    @property
    def full(self) -> bool:
        """Tell whether the request was forwarded for a person with a full session or for a service."""
        return (
            isinstance(self.decision, Forward)
            and self.account is not None
            and (self.stage is Stage.FULL or self.credentials.basic is BasicState.SERVICE)
        )

    @property
    def revealing(self) -> bool:
        """Tell whether the door is one whose answers name patients."""
        return self.match is not None and self.match.kind in REVEALING

    @property
    def held_whole(self) -> bool:
        """Tell whether the answer is held back whole whatever it is: it names patients, or is a login's."""
        return self.revealing or self.login is not None

    def context(self) -> Context:
        """Return what the audit events of this exchange share."""
        session = self.session_id
        return Context(
            request_id=self.facts.request_id,
            policy_id=self.policy.policy_id,
            app=self.app.name,
            realm=self.realm.name,
            route=self.match.rule if self.match is not None else None,
            route_kind=self.match.kind.value if self.match is not None else None,
            method=self.facts.method,
            client=self.facts.client_address,
            client_port=self.facts.client_port,
            account=self.account.name if self.account is not None else None,
            account_class=self.account_class,
            establishment=self.entered.establishment if self.entered is not None else None,
            session=session_label(session) if session is not None else None,
            device=self.entered.device if self.entered is not None else None,
        )

"""Read from a request who it claims to be, before anybody is asked about it. No I/O."""

from ipaddress import ip_address

from gateway import logins
from gateway.accounts.names import NameRefused, account_ref
from gateway.engine.exchange import Credentials, Exchange
from gateway.engine.services import Services
from gateway.policy import caps
from gateway.policy.caps import Place
from gateway.policy.policy import Basic, Service
from gateway.policy.request import BasicState
from gateway.sessions import binding, ticket
from gateway.sessions.cookies import SortedCookies
from gateway.sessions.token import TokenRefused
from gateway.vocabulary.identity import SessionClaims
from gateway.vocabulary.keys import Keys
from gateway.vocabulary.limits import LimitSet


def read_credentials(exchange: Exchange, services: Services) -> Credentials:
    """Sort the request's cookies and Authorization into neutral ones and credentials of the app."""
    cookies = cookies_of(exchange, services)
    found = Credentials(cookies.neutral, cookies.credentials, cookies.hashes)
    found.authorization = exchange.facts.header("authorization")
    if found.authorization is not None:
        _read_authorization(exchange, services.keys, found, found.authorization)
    return found


def _read_authorization(exchange: Exchange, keys: Keys, found: Credentials, value: str) -> None:
    scheme = value.split(" ", 1)[0].lower()
    if scheme != "basic":
        token = value.split(" ", 1)[-1].strip()
        found.bearer_hash = binding.bearer_hash(keys.binding, exchange.app.name, f"{scheme} {token}")
        return
    user = logins.user(exchange.facts)
    if not isinstance(user, str):
        found.basic = BasicState.REFUSED
        return
    try:
        ref = account_ref(user, exchange.realm.name, exchange.realm.mapping, keys.names)
    except NameRefused:
        found.basic = BasicState.REFUSED
        return
    found.basic_user = ref.name
    service = _service(exchange, ref.name)
    if service is not None:
        address = ip_address(exchange.facts.client_address)
        inside = any(address in network for network in service.networks)
        found.basic = BasicState.SERVICE if inside else BasicState.SERVICE_ELSEWHERE
        exchange.account = ref if inside else None
        exchange.account_class = service.account_class
    elif exchange.app.basic is not Basic.LOGIN:
        found.basic = BasicState.REFUSED
    elif exchange.typed is not None and exchange.typed.id != ref.id:
        # A form for one name and Basic for another: the app may believe either.
        found.basic = BasicState.DISAGREES
    else:
        exchange.typed = ref
        found.basic = BasicState.UNCLAIMED


def cookies_of(exchange: Exchange, services: Services) -> SortedCookies:
    """Return the request's cookies, sorted for its app."""
    app = exchange.app
    return services.cookies.read(app.name, app.neutral_cookies, exchange.facts.header_values("cookie"))


def _service(exchange: Exchange, name: str) -> Service | None:
    for service in exchange.app.services:
        if service.account == name:
            return service
    return None


def read_claims(exchange: Exchange, services: Services, now_s: int) -> SessionClaims | None:
    """Return what the gateway cookie claims; None without one, with several, or with one that is not ours."""
    text = cookies_of(exchange, services).session
    if text is None:
        return None
    try:
        return services.tokens.read(text, exchange.app.name, now_s)
    except TokenRefused:
        return None


def read_ticket(exchange: Exchange, services: Services, now_s: int) -> tuple[str, ...]:
    """Return the hashes of the app cookies that this stranger was given through us."""
    text = cookies_of(exchange, services).ticket
    if text is None:
        return ()
    try:
        return ticket.read(services.keys.session, text, exchange.app.name, now_s)
    except TokenRefused:
        return ()


def limits_for(exchange: Exchange, account_class: str | None, establishment: str | None) -> LimitSet:
    """Return the usual limits of *account_class* in *establishment*, at this app and when the request came.

    An unknown class is the realm's default one.
    """
    realm = exchange.realm
    name = account_class if account_class in realm.classes else realm.default_class
    if exchange.credentials.basic is BasicState.SERVICE and exchange.account_class is not None:
        name = exchange.account_class
    if not realm.caps:
        return realm.classes[name]
    minute = caps.local_minute(exchange.facts.received_ms, realm.timezone)
    return caps.held(realm.classes[name], realm.caps, Place(name, exchange.app.name, establishment, minute))

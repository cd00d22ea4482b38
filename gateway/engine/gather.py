"""Read from a request who it claims to be, before anybody is asked about it. No I/O."""

from ipaddress import ip_address

from gateway import logins
from gateway.accounts.names import NameRefused, account_ref
from gateway.engine.exchange import Credentials, Exchange
from gateway.policy.policy import Basic, Service
from gateway.policy.request import BasicState
from gateway.sessions import binding, ticket
from gateway.sessions.token import TokenReader, TokenRefused
from gateway.vocabulary.identity import SessionClaims
from gateway.vocabulary.keys import Keys
from gateway.vocabulary.limits import LimitSet


def read_credentials(exchange: Exchange, keys: Keys) -> Credentials:
    """Sort the request's cookies and Authorization into neutral ones and credentials of the app."""
    app, facts = exchange.app, exchange.facts
    found = Credentials()
    cookies = binding.parse_cookies(facts.header_values("cookie"))
    if cookies:
        neutral, pairs = binding.sort_cookies(cookies, app.neutral_cookies)
        found.neutral, found.pairs = list(neutral), list(pairs)
        found.hashes = [binding.credential_hash(keys.binding, app.name, name, value) for name, value in pairs]
    found.authorization = facts.header("authorization")
    if found.authorization is not None:
        _read_authorization(exchange, keys, found, found.authorization)
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
    elif exchange.app.basic is Basic.LOGIN:
        exchange.typed = ref
        found.basic = BasicState.UNCLAIMED
    else:
        found.basic = BasicState.REFUSED


def _service(exchange: Exchange, name: str) -> Service | None:
    for service in exchange.app.services:
        if service.account == name:
            return service
    return None


def read_claims(exchange: Exchange, reader: TokenReader, now_s: int) -> SessionClaims | None:
    """Return what the gateway cookie claims; None without one, with several, or with one that is not ours."""
    cookies = binding.parse_cookies(exchange.facts.header_values("cookie"))
    text = binding.own_cookie(cookies, binding.SESSION_COOKIE)
    if text is None:
        return None
    try:
        return reader.read(text, exchange.app.name, now_s)
    except TokenRefused:
        return None


def read_ticket(exchange: Exchange, keys: Keys, now_s: int) -> tuple[str, ...]:
    """Return the hashes of the app cookies that this stranger was given through us."""
    cookies = binding.parse_cookies(exchange.facts.header_values("cookie"))
    text = binding.own_cookie(cookies, ticket.COOKIE)
    if text is None:
        return ()
    try:
        return ticket.read(keys.session, text, exchange.app.name, now_s)
    except TokenRefused:
        return ()


def limits_for(exchange: Exchange, account_class: str | None) -> LimitSet:
    """Return the limits of *account_class*, or of the realm's default class when it is unknown."""
    realm = exchange.realm
    if exchange.credentials.basic is BasicState.SERVICE and exchange.account_class is not None:
        return realm.classes[exchange.account_class]
    found = realm.classes.get(account_class) if account_class is not None else None
    return found if found is not None else realm.classes[realm.default_class]

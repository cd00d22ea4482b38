"""Which header lines go to the app, and which come back from it. Pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from gateway.engine.exchange import Exchange
from gateway.engine.services import Services
from gateway.policy.request import BasicState
from gateway.sessions import binding
from gateway.sessions.assertion import PASSWORD_ONLY, TWO_FACTORS
from gateway.vocabulary.messages import Headers

_IDENTITY = frozenset({"cookie", "authorization"})
# What would make an answer partial, empty or unreadable, so that what leaves could not be counted.
_CONDITIONAL = frozenset(
    {
        "range",
        "if-range",
        "if-none-match",
        "if-modified-since",
        "if-match",
        "if-unmodified-since",
        "accept-encoding",
    }
)
_NEVER_BACK = frozenset({"alt-svc", "x-ecluse-assertion"})
_VALIDATORS = frozenset({"etag", "last-modified", "expires", "age", "cache-control", "pragma"})


def for_public(exchange: Exchange) -> Headers:
    """Return the lines for a public door: neutral cookies only, nothing that says who it is."""
    kept = [line for line in exchange.facts.headers if line[0] not in _IDENTITY]
    values = exchange.facts.header_values("cookie")
    if values:
        neutral, _ = binding.sort_cookies(binding.parse_cookies(values), exchange.app.neutral_cookies)
        _add_cookies(kept, neutral)
    return tuple(kept)


def for_stranger(exchange: Exchange, kept_hashes: Iterable[str]) -> Headers:
    """Return the lines for somebody without session: neutral cookies, and those in *kept_hashes*."""
    found, allowed = exchange.credentials, frozenset(kept_hashes)
    pairs = [pair for pair, value in zip(found.pairs, found.hashes, strict=True) if value in allowed]
    kept = _inspected(exchange.facts.headers)
    _add_cookies(kept, [*found.neutral, *pairs])
    if found.basic is BasicState.AGREES and found.authorization is not None:
        kept.append(("authorization", found.authorization))
    return tuple(kept)


def for_session(exchange: Exchange, known: Sequence[bool], services: Services) -> Headers:
    """Return the lines for a full session: the credentials it was given and no others, and our assertion."""
    found = exchange.credentials
    hashes = [*found.hashes] + ([found.bearer_hash] if found.bearer_hash is not None else [])
    allowed = {value for value, is_known in zip(hashes, known, strict=False) if is_known}
    pairs = [pair for pair, value in zip(found.pairs, found.hashes, strict=True) if value in allowed]
    kept = _inspected(exchange.facts.headers)
    _add_cookies(kept, [*found.neutral, *pairs])
    if found.authorization is not None and (
        found.basic in {BasicState.AGREES, BasicState.SERVICE} or found.bearer_hash in allowed
    ):
        kept.append(("authorization", found.authorization))
    exchange.sent = tuple(value for value in found.hashes if value in allowed)
    if exchange.account is not None:
        session = exchange.session_id or exchange.account.id
        now_s = services.clock.now_ms() // 1000
        # Services, and people whom nobody invited yet during a roll-out, gave no code.
        enrolled = exchange.entered is not None and exchange.entered.enrolled
        methods = TWO_FACTORS if enrolled and found.basic is not BasicState.SERVICE else PASSWORD_ONLY
        assertion, exchange.asserted_until_s = services.asserter.lasting(
            session, exchange.app.name, exchange.account.name, now_s, methods
        )
        kept.append(("x-ecluse-assertion", assertion))
    return tuple(kept)


def _inspected(lines: Headers) -> list[tuple[str, str]]:
    kept = [line for line in lines if line[0] not in _IDENTITY and line[0] not in _CONDITIONAL]
    kept.append(("accept-encoding", "identity"))
    return kept


def _add_cookies(lines: list[tuple[str, str]], pairs: Sequence[tuple[str, str]]) -> None:
    if pairs:
        lines.append(("cookie", binding.rebuild(pairs)))


def back(
    exchange: Exchange, lines: Headers, *, extra: Sequence[tuple[str, str]] = (), drop_cookies: bool = False
) -> Headers:
    """Return the lines of the app's answer as they may leave.

    Our own names are ours alone; answers that name patients are never stored (behaviour, part 5);
    *drop_cookies* keeps back every cookie that is not neutral.
    """
    no_store = exchange.revealing
    kept = []
    for name, value in lines:
        if name in _NEVER_BACK or name.startswith("x-ecluse-"):
            continue
        if name == "set-cookie" and not _cookie_may_leave(exchange, value, drop_cookies=drop_cookies):
            continue
        if no_store and name in _VALIDATORS:
            continue
        kept.append((name, value))
    if no_store:
        kept.append(("cache-control", "no-store"))
    kept.extend(extra)
    return tuple(kept)


def is_own_cookie(value: str) -> bool:
    """Tell whether a Set-Cookie line would set a cookie of the gateway's own name, however it is spelt.

    Browsers send a nameless cookie back as its bare value, so ``=name=...`` counts as well.
    """
    return value.lstrip("= \t").lower().startswith(binding.OWN_PREFIX)


def _cookie_may_leave(exchange: Exchange, value: str, *, drop_cookies: bool) -> bool:
    if is_own_cookie(value):
        return False
    if not drop_cookies:
        return True
    name = value.partition("=")[0].strip()
    return any(fnmatchcase(name, pattern) for pattern in exchange.app.neutral_cookies)


def credentials_given(exchange: Exchange, lines: Headers, services: Services) -> tuple[list[str], list[str]]:
    """Return the hashes of app credentials that an answer sets, and the names of those it takes back."""
    given, taken = [], []
    for name, value, expired in binding.set_cookies(lines, services.clock.now_ms() // 1000):
        if any(fnmatchcase(name, pattern) for pattern in exchange.app.neutral_cookies):
            continue
        if expired:
            taken.append(name)
        else:
            given.append(binding.credential_hash(services.keys.binding, exchange.app.name, name, value))
    return given, taken


def bearer_hash(exchange: Exchange, services: Services, value: str) -> str:
    """Return the hash under which ``Authorization: Bearer *value*`` will be recognised."""
    return binding.bearer_hash(services.keys.binding, exchange.app.name, f"bearer {value}")

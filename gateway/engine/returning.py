"""Where somebody goes on after a page of ours: a path of the same app, sealed, so that nobody else can choose it."""

from gateway.accounts.sealing import SealBroken, seal, unseal
from gateway.engine.exchange import Exchange
from gateway.engine.login_answers import relative
from gateway.engine.replies import home_path
from gateway.engine.services import Services

VALID_S = 3_600
_PURPOSE = "return"
_MOST = 2_048


def step_up_path(exchange: Exchange, services: Services) -> str:
    """Return the address of the step-up page, which leads back to what *exchange* asked for."""
    return page_path(exchange, services, "step-up")


def page_path(exchange: Exchange, services: Services, page: str) -> str:
    """Return the address of our *page*, with the way back to what *exchange* asked for when that was a GET.

    The way back may name a patient, so it is sealed and not only signed: no address of ours tells it.
    """
    path, facts = f"{exchange.policy.prefix}{page}", exchange.facts
    target = facts.path + (f"?{facts.query}" if facts.query else "")
    if facts.method != "GET" or exchange.account is None or len(target) > _MOST:
        return path
    until_s = services.clock.now_ms() // 1000 + VALID_S
    plain = f"{exchange.app.name}\n{until_s}\n{target}".encode()
    return f"{path}?to={seal(services.keys.sealing, plain, purpose=_PURPOSE, account_id=exchange.account.id)}"


def target(exchange: Exchange, services: Services, sealed: str) -> str:
    """Return where *sealed* leads: a path of the same app, asked for by the same account, else the app's home."""
    home = home_path(exchange.app)
    if exchange.account is None:
        return home
    try:
        plain = unseal(services.keys.sealing, sealed, purpose=_PURPOSE, account_id=exchange.account.id)
    except SealBroken:
        return home
    app, until_s, path = plain.decode().split("\n", 2)
    if app != exchange.app.name or int(until_s) <= services.clock.now_ms() // 1000:
        return home
    return relative(path)

"""From a decision to the page or problem document that a person or a client gets."""

from urllib.parse import quote

from gateway.engine.exchange import Exchange
from gateway.pages import problem as problems
from gateway.pages import views
from gateway.pages.language import language
from gateway.policy.policy import App, Flow
from gateway.sessions import forms
from gateway.vocabulary.decision import Challenge, Prompt, Reason
from gateway.vocabulary.limits import Control
from gateway.vocabulary.messages import Headers, Reply

_PROMPT_PAGE = {
    Prompt.CODE: "code",
    Prompt.INVITATION: "invitation",
    Prompt.START: "start",
    Prompt.STEP_UP: "step-up",
}
_STATUS_NAVIGABLE = frozenset({"GET", "HEAD"})


def look(exchange: Exchange) -> views.Look:
    """Return how our pages look for this exchange."""
    return views.Look(
        language=language(exchange.facts.header("accept-language")),
        body=exchange.policy.body,
        prefix=exchange.policy.prefix,
        app_title=exchange.app.title,
        secure=exchange.facts.scheme == "https",
    )


def wants_html(exchange: Exchange) -> bool:
    """Tell a browser's navigation from a program's call."""
    facts = exchange.facts
    return problems.wants_html(
        facts.header("accept"), facts.header("sec-fetch-mode"), facts.header("x-requested-with")
    )


def redirect(location: str, *extra: tuple[str, str]) -> Reply:
    """Return a 303 to *location*, which nobody may store."""
    return Reply(303, (("location", location), ("cache-control", "no-store"), *extra))


def with_headers(reply: Reply, *extra: tuple[str, str]) -> Reply:
    """Return *reply* with more header lines."""
    return Reply(reply.status, (*reply.headers, *extra), reply.body)


def prompt_path(exchange: Exchange, prompt: Prompt) -> str:
    """Return where the person goes for *prompt*; a relative path of the same host, never from the request."""
    facts, app = exchange.facts, exchange.app
    target = facts.path + (f"?{facts.query}" if facts.query else "")
    if prompt is Prompt.LOGIN:
        return login_path(app, target if facts.method == "GET" else None)
    path = exchange.policy.prefix + _PROMPT_PAGE[prompt]
    if prompt is Prompt.START and facts.method == "GET":
        return f"{path}?next={quote(target, safe='')}"
    return path


def login_path(app: App, target: str | None = None) -> str:
    """Return the app's login page, which leads on to *target*, or to where the app begins.

    An empty target would not do: some apps take it for one and lead to a page that nobody has.
    """
    return (app.login_page or "/").replace("{path}", quote(target or home_path(app), safe=""))


def home_path(app: App) -> str:
    """Return where *app* begins: the landing of its first login rule that has one, else ``/``."""
    return next((rule.landing for rule in app.logins if rule.landing is not None), "/")


def challenge(exchange: Exchange, decision: Challenge, path: str | None = None) -> Reply:
    """Lead a browser to what is owed; tell a program with a 401 problem and where to go.

    *path* is the page's address when it holds more than ``prompt_path`` knows.
    """
    path = path or prompt_path(exchange, decision.prompt)
    reference = exchange.facts.request_id[:8]
    if not wants_html(exchange):
        return problems.problem(
            reason=decision.reason,
            status=401,
            reference=reference,
            prompt_path=path,
            control=decision.control,
        )
    if exchange.facts.method not in _STATUS_NAVIGABLE:
        # What was typed cannot be replayed for the person: say so instead of losing it silently.
        return views.refusal(
            look(exchange),
            reason=decision.reason,
            status=401,
            reference=reference,
            login_path=path,
            control=decision.control,
            asks_code=decision.prompt is Prompt.STEP_UP,
        )
    own_entrance = decision.prompt is Prompt.LOGIN and exchange.app.login_page is None
    at_entrance = decision.prompt is Prompt.LOGIN and exchange.facts.path == path.partition("?")[0]
    if own_entrance or at_entrance:
        return views.refusal(look(exchange), reason=decision.reason, status=401, reference=reference)
    return redirect(path)


def refusal(
    exchange: Exchange,
    reason: Reason,
    status: int,
    *,
    control: Control | None = None,
    retry_after_s: int | None = None,
    clear: bool = False,
) -> Reply:
    """Return the page or problem for a refusal; *clear* also empties what the browser kept of the app."""
    reference = exchange.facts.request_id[:8]
    if wants_html(exchange):
        login_path = prompt_path(exchange, Prompt.LOGIN) if exchange.app.flow is Flow.AFTER_LOGIN else None
        reply = views.refusal(
            look(exchange),
            reason=reason,
            status=status,
            reference=reference,
            retry_after_s=retry_after_s,
            login_path=login_path if status == 401 else None,
            control=control,
        )
    else:
        reply = problems.problem(
            reason=reason, status=status, reference=reference, retry_after_s=retry_after_s
        )
    if clear:
        extra: Headers = (
            ("clear-site-data", '"cache", "cookies", "storage"'),
            ("set-cookie", forms.clear_cookie()),
        )
        reply = with_headers(reply, *extra)
    return reply


def own_origin(exchange: Exchange) -> str:
    """Return the origin that browsers know this app by."""
    if exchange.app.public_origin is not None:
        return exchange.app.public_origin
    facts = exchange.facts
    usual = {"https": 443, "http": 80}[facts.scheme]
    port = "" if facts.port == usual else f":{facts.port}"
    return f"{facts.scheme}://{facts.host}{port}"

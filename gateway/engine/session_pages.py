"""A person's own sessions: see them, close them, leave."""

from gateway.audit.describe import session_label
from gateway.engine import login_answers, records
from gateway.engine.replies import home_path, login_path, redirect, with_headers
from gateway.engine.visitor import Visitor
from gateway.pages import views
from gateway.policy.policy import Flow
from gateway.sessions import forms
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.identity import Stage
from gateway.vocabulary.messages import Reply


def _entrance(visitor: Visitor) -> str:
    exchange = visitor.exchange
    if exchange.app.flow is Flow.BEFORE_LOGIN:
        return f"{exchange.policy.prefix}start"
    return login_path(exchange.app)


async def home(visitor: Visitor) -> Reply:
    """Show the way to the app, to the sessions and out."""
    if not visitor.bound:
        return redirect(_entrance(visitor))
    token = forms.form_token(visitor.services.keys.session, visitor.exchange.session_id or "", "logout")
    return views.home(visitor.look, token=token, app_path=home_path(visitor.exchange.app))


async def show_sessions(visitor: Visitor) -> Reply:
    """List the person's open sessions, in every app of the realm."""
    if not visitor.bound or visitor.account is None:
        return redirect(_entrance(visitor))
    rows = await visitor.services.sessions.list(visitor.account.id)
    current = visitor.exchange.session_id
    titles = {name: app.title for name, app in visitor.exchange.policy.apps.items()}
    shown = [
        views.SessionRow(
            id=session_label(row.id),
            app=titles.get(row.app, row.app),
            opened_ms=row.created_ms,
            seen_ms=row.seen_ms,
            address=row.address,
            agent=row.agent,
            current=row.id == current,
        )
        for row in rows
        if row.stage is Stage.FULL and row.alive
    ]
    return views.sessions(visitor.look, token=visitor.token(), sessions=shown)


async def close_sessions(visitor: Visitor) -> Reply:
    """Close one of the person's sessions, or all of them."""
    if not visitor.bound or visitor.account is None or visitor.form is None:
        return redirect(_entrance(visitor))
    wanted = visitor.form.get("session", "")
    closed_own = False
    for row in await visitor.services.sessions.list(visitor.account.id):
        label = session_label(row.id)
        if wanted in {views.ALL_SESSIONS, label}:
            await visitor.services.sessions.close(visitor.account.id, row.id)
            detail = (("closed", label), ("why", "by-person"))
            records.soon(visitor.exchange, visitor.services, EventKind.SESSION_CLOSED, detail=detail)
            closed_own = closed_own or row.id == visitor.exchange.session_id
    if closed_own:
        return redirect(f"{visitor.exchange.policy.prefix}logout", ("set-cookie", forms.clear_cookie()))
    return redirect(f"{visitor.exchange.policy.prefix}sessions")


async def log_out(visitor: Visitor) -> Reply:
    """Close this session; the app's cookies open nothing without it."""
    await login_answers.close_session(visitor.exchange, visitor.services, EventKind.LOGOUT)
    return redirect(f"{visitor.exchange.policy.prefix}logout", ("set-cookie", forms.clear_cookie()))


async def show_signed_out(visitor: Visitor) -> Reply:
    """Say that the session is closed."""
    reply = views.signed_out(visitor.look, login_path=_entrance(visitor))
    return with_headers(reply)

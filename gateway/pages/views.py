"""The pages: one function each, from values to a Reply. They know no request, no session and no store.

Forms post to ``{prefix}code``, ``recovery``, ``invitation``, ``enrol``, ``start``, ``step-up``, ``sessions``,
``logout``. Their fields are ``code``, ``login``, ``invitation``, ``session``, ``next``, ``need``, ``words``, ``to`` and
``token`` (the proof that the form is ours, from the caller). Links lead to GET ``{prefix}``, ``code``, ``recovery``,
``sessions``, ``step-up?by=recovery&to=...`` and
``start?by=recovery|invitation&next=...``. Replies carry no Content-Length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.pages.language import catalogue, duration, moment
from gateway.pages.problem import answer_headers, text_key
from gateway.pages.qr import grouped, svg
from gateway.pages.render import ASSET_HEADERS, STYLE, Look, page
from gateway.policy.policy import Body
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.limits import Control
from gateway.vocabulary.messages import Headers, Reply
from gateway.vocabulary.need import STEP_UP_NEEDS, Need

__all__ = [
    "ALL_SESSIONS",
    "FormError",
    "Look",
    "SessionRow",
    "code",
    "enrol",
    "grace",
    "home",
    "invitation",
    "logo",
    "onward",
    "recovery",
    "recovery_codes",
    "recovery_used",
    "refusal",
    "sessions",
    "signed_out",
    "start",
    "step_up",
    "stylesheet",
]

ALL_SESSIONS = "all"
"""Value of the field ``session`` that closes every session."""

_MAX_LOGO_BYTES = 262_144
_LOGO_TYPES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg)[\s>]"), "image/svg+xml"),
)
# A path on this host: no scheme, no second slash or backslash that a browser would read as a host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,2047}\Z")

_OTHER_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:[/?#][!#-;=?-~]*)?\Z")


class FormError(StrEnum):
    """What a form says went wrong. WRONG is one text for wrong, expired, replayed and locked alike."""

    WRONG = "wrong"
    MALFORMED = "malformed"
    """Not the shape of a code; nothing was compared, and it cost no try."""
    TOO_MANY = "too-many"
    EXPIRED = "expired"
    """The form or its step is too old."""
    NEED = "need"
    """No reason was chosen, or OTHER without words."""
    PERSONAL = "personal"
    """The words hold what may be a patient's; they would stay in the log for years."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One open session of the person. *opened_ms* and *seen_ms* are Unix milliseconds."""

    id: str
    app: str
    opened_ms: int
    seen_ms: int
    address: str
    agent: str
    current: bool = False


def code(
    look: Look,
    *,
    token: str,
    error: FormError | None = None,
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the page that asks for the 6 digits. *retry_after_s* is told with TOO_MANY."""
    return _form(look, "code", token, error, retry_after_s, status)


def recovery(
    look: Look,
    *,
    token: str,
    error: FormError | None = None,
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the page that asks for one recovery code (field ``code``)."""
    return _form(look, "recovery", token, error, retry_after_s, status)


def invitation(
    look: Look,
    *,
    token: str,
    error: FormError | None = None,
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the page that asks for the invitation code (field ``invitation``)."""
    return _form(look, "invitation", token, error, retry_after_s, status)


def enrol(
    look: Look,
    *,
    token: str,
    uri: str,
    secret: str,
    login: str,
    error: FormError | None = None,
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the page with the QR code, the secret (base32) in groups of four, and the first code's field.

    Raises:
        ValueError: *uri* is no ``otpauth://`` address.
    """
    values = {"uri": uri, "drawing": svg(uri), "secret": grouped(secret), "login": login}
    return _form(look, "enrol", token, error, retry_after_s, status, **values)


def recovery_codes(look: Look, *, codes: Sequence[str], next_path: str) -> Reply:
    """Return the page that shows the recovery codes, once. It goes on to *next_path* (``/`` if not local)."""
    return page(look, "recovery_codes", 200, codes=codes, next_path=_local(next_path))


def recovery_used(look: Look, *, left: int, next_path: str) -> Reply:
    """Return the notice after a recovery code was accepted: how many are *left*, whom to tell if stolen."""
    return page(look, "recovery_used", 200, left=left, next_path=_local(next_path))


def grace(look: Look, *, until_ms: int, next_path: str, zone: str = "Europe/Paris") -> Reply:
    """Return the notice for people without a second factor: from *until_ms* (Unix) on it is needed."""
    clock, _ = _zone(zone)
    until = moment(datetime.fromtimestamp(until_ms / 1000, clock), look.language)
    return page(look, "grace", 200, until=until, next_path=_local(next_path))


def start(
    look: Look,
    *,
    token: str,
    error: FormError | None = None,
    next: str = "/",  # noqa: A002
    by: Literal["code", "recovery", "invitation"] = "code",
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the first page of before-login apps: ``login``, then a code, a recovery code or an invitation.

    All three post to ``{prefix}start`` with ``next``. The first two send the field ``code``, the third
    ``invitation``; each links to the others at ``{prefix}start?by=...&next=...``.
    """
    next_path = _local(next)
    values = {"by": by, "next_path": next_path, "query": f"next={quote(next_path, safe='')}"}
    return _form(look, "start", token, error, retry_after_s, status, kind=f"start-{by}", **values)


def step_up(
    look: Look,
    *,
    token: str,
    to: str = "",
    needs: Sequence[Need] = STEP_UP_NEEDS,
    chosen: Need | None = None,
    words: str = "",
    by: Literal["code", "recovery"] = "code",
    error: FormError | None = None,
    retry_after_s: int | None = None,
    status: int = 200,
) -> Reply:
    """Return the page that asks a person with a session for a fresh code and why so much is needed.

    *to* is the sealed way back. The form sends ``need``, ``words``, ``code`` (or a recovery code) and ``to``.
    """
    values = {"to": to, "needs": needs, "chosen": chosen, "words": words, "by": by}
    values["faulty"] = "need" if error in {FormError.NEED, FormError.PERSONAL} else "code"
    return _form(look, "step_up", token, error, retry_after_s, status, kind=by, **values)


def sessions(look: Look, *, token: str, sessions: Sequence[SessionRow], zone: str = "Europe/Paris") -> Reply:
    """Return the person's open sessions, each with a button that closes it, and one that closes all.

    Times are shown in *zone*, in UTC where the machine does not know it.
    """
    clock, zone_name = _zone(zone)
    rows = [
        {
            "row": row,
            "opened": moment(datetime.fromtimestamp(row.opened_ms / 1000, clock), look.language),
            "seen": moment(datetime.fromtimestamp(row.seen_ms / 1000, clock), look.language),
        }
        for row in sessions
    ]
    return page(look, "sessions", 200, token=token, rows=rows, zone=zone_name, all_sessions=ALL_SESSIONS)


def home(look: Look, *, token: str, app_path: str = "/") -> Reply:
    """Return the page at ``{prefix}`` for an open session: to the app, to the sessions, log out."""
    return page(look, "home", 200, token=token, app_path=_local(app_path))


def onward(look: Look, *, location: str) -> Reply:
    """Return the page that goes on at once to *location*, on another host than ours.

    A plain redirect would not do: after a form, browsers hold redirects to ``form-action 'self'`` as well
    (CSP 3, 6.4.1), and the person would stay on the code page. *location* comes from the application.

    Raises:
        ValueError: *location* is no absolute http or https address of plain ASCII.
    """
    if _OTHER_ADDRESS.match(location) is None:
        raise ValueError("the address to go on to must be absolute, http or https, in printable ASCII")
    return page(look, "onward", 200, location=location, host=urlsplit(location).netloc)


def signed_out(look: Look, *, login_path: str | None = None) -> Reply:
    """Return the page after logout, with a link to *login_path*."""
    return page(look, "signed_out", 200, login_path=_local(login_path) if login_path else None)


def refusal(
    look: Look,
    *,
    reason: Reason,
    status: int,
    reference: str,
    retry_after_s: int | None = None,
    login_path: str | None = None,
    control: Control | None = None,
    asks_code: bool = False,
) -> Reply:
    """Return the page of a refusal: what happened, what to do, the *reference* to quote; never a count.

    *asks_code*: *login_path* leads to a page that asks for a code, and not to a login.
    """
    wait = None if retry_after_s is None else duration(retry_after_s, look.language)
    return page(
        look,
        "refusal",
        status,
        extra=answer_headers(reason, status, retry_after_s),
        key=text_key(reason, control),
        wait=wait,
        reference=reference,
        login_path=_local(login_path) if login_path else None,
        asks_code=asks_code,
    )


def stylesheet() -> Reply:
    """Return the stylesheet at ``{prefix}style.css``; its address carries its hash, so browsers keep it."""
    kept = ("cache-control", "public, max-age=31536000, immutable")
    return Reply(200, (("content-type", "text/css; charset=utf-8"), kept, *ASSET_HEADERS), STYLE)


def logo(body: Body) -> Reply:
    """Return the body's logo at ``{prefix}logo``: PNG, JPEG, WebP or SVG, at most 256 KiB; otherwise 404."""
    missing = Reply(
        404, (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"), *ASSET_HEADERS)
    )
    if body.logo_file is None:
        return missing
    try:
        with Path(body.logo_file).open("rb") as file:
            data = file.read(_MAX_LOGO_BYTES + 1)
    except OSError:
        # The operator hears of it from the configuration check; a page without logo still works.
        return missing
    kind = next((kind for pattern, kind in _LOGO_TYPES if pattern.match(data)), None)
    if kind is None or len(data) > _MAX_LOGO_BYTES:
        return missing
    return Reply(
        200, (("content-type", kind), ("cache-control", "private, max-age=3600"), *ASSET_HEADERS), data
    )


def _form(
    look: Look,
    name: str,
    token: str,
    error: FormError | None,
    retry_after_s: int | None,
    status: int,
    *,
    kind: str | None = None,
    **values: object,
) -> Reply:
    message: str | None = None
    extra: Headers = ()
    if error is not None:
        message = _message(look, kind or name, error, retry_after_s)
    if error is FormError.TOO_MANY and retry_after_s is not None:
        extra = (("retry-after", str(max(retry_after_s, 1))),)
    return page(look, name, status, extra=extra, token=token, error=message, **values)


def _message(look: Look, kind: str, error: FormError, retry_after_s: int | None) -> str:
    texts = catalogue(look.language)
    match error:
        case FormError.TOO_MANY if retry_after_s is not None:
            return texts.text("error.too-many.wait", wait=duration(retry_after_s, look.language))
        case FormError.TOO_MANY | FormError.EXPIRED | FormError.NEED | FormError.PERSONAL:
            return texts.text(f"error.{error}")
        case FormError.WRONG | FormError.MALFORMED:
            return texts.text(f"error.{error}.{kind}")


def _local(path: str) -> str:
    return path if _LOCAL_PATH.match(path) else "/"


def _zone(name: str) -> tuple[tzinfo, str]:
    try:
        return ZoneInfo(name), name
    except ZoneInfoNotFoundError:
        return UTC, "UTC"

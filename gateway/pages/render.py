"""Templates compiled once, and the headers of every page. Whatever stands in a page is escaped here."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from gateway.pages.language import Language, catalogue
from gateway.policy.policy import Body
from gateway.vocabulary.messages import Headers, Reply

_HERE = Path(__file__).parent
_MAIL = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\Z")
_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)

STYLE = (_HERE / "style.css").read_bytes()
"""The one stylesheet."""

STYLE_VERSION = sha256(STYLE).hexdigest()[:12]
"""Changes with the stylesheet, so that browsers may keep it for ever."""

ASSET_HEADERS: Headers = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    # An SVG logo opened by its own address is a document: it may run nothing and load nothing.
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
)
"""What the stylesheet and the logo carry."""


@dataclass(frozen=True, slots=True)
class Look:
    """What every page of one reply shares.

    *language* comes from ``language.language``; *prefix* starts and ends with ``/``; *app_title* is the
    application in front of which the person stands; *secure* is false only for plain http on loopback.
    """

    language: Language
    body: Body
    prefix: str
    app_title: str
    secure: bool = True


def page(look: Look, name: str, status: int, *, extra: Headers = (), **values: object) -> Reply:
    """Render template *name* (without ``.html``) as a Reply. *extra* headers follow the fixed ones."""
    text = _TEMPLATES[name].render(look=look, t=catalogue(look.language).text, **values)
    return Reply(status, _headers(look) + extra, text.encode())


def _headers(look: Look) -> Headers:
    fixed: Headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", look.language),
        ("vary", "Accept-Language"),
        ("cache-control", "no-store"),
        ("content-security-policy", _CSP),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        # no-referrer would turn the Origin of our own forms into "null", which the token check refuses.
        ("referrer-policy", "same-origin"),
    )
    if look.secure:
        return (*fixed, ("strict-transport-security", "max-age=31536000"))
    return fixed


def _compile() -> dict[str, Template]:
    folder = _HERE / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(style_version=STYLE_VERSION, mail=_MAIL.match)
    return {file.stem: environment.get_template(file.name) for file in sorted(folder.glob("*.html"))}


_TEMPLATES = _compile()

"""Every page in both languages: strict markup, labels, headers, escaping, and nothing internal told."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages import views
from gateway.pages.language import LANGUAGES, Language, catalogue
from gateway.pages.render import STYLE, STYLE_VERSION
from gateway.policy.policy import Body
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.limits import WINDOW_S, Control
from gateway.vocabulary.messages import Reply
from gateway.vocabulary.need import STEP_UP_NEEDS
from tests.unit.pages.markup import Markup
from tests.unit.pages.samples import (
    CODES,
    FORMS,
    PAGES,
    PREFIX,
    REFERENCE,
    SEALED,
    SECRET,
    SESSIONS,
    STEP_UPS,
    TOKEN,
    URI,
    look,
)

EVERY_PAGE = pytest.mark.parametrize("name", PAGES)
BOTH = pytest.mark.parametrize("language", LANGUAGES)


def read(reply: Reply) -> Markup:
    return Markup(reply.body.decode())


def header(reply: Reply, name: str) -> str | None:
    return dict(reply.headers).get(name)


@EVERY_PAGE
@BOTH
def test_markup_is_strict(name: str, language: Language) -> None:
    reply = PAGES[name](look(language))
    assert reply.body.startswith(b"<!doctype html>")
    page = read(reply)
    assert page.all("html") == [{"lang": language}]
    for once in ("h1", "main", "header", "footer", "title"):
        assert len(page.all(once)) == 1, once
    assert page.texts["h1"][0] in page.texts["title"][0]


@EVERY_PAGE
@BOTH
def test_nothing_runs_and_nothing_comes_from_outside(name: str, language: Language) -> None:
    page = read(PAGES[name](look(language)))
    assert not page.all("script")
    assert not page.all("style")
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [key for key in attributes if key.startswith("on")], tag
        for key in ("src", "href", "action"):
            value = attributes.get(key, "/")
            known = value.startswith(("/", "#", "otpauth://")) or (tag, value) == ("link", "data:,")
            assert known or (name, tag) == ("onward", "a"), value
            assert not value.startswith("//")


@EVERY_PAGE
@BOTH
def test_fields_are_labelled_and_described(name: str, language: Language) -> None:
    page = read(PAGES[name](look(language)))
    labels = {attributes["for"] for attributes in page.all("label")}
    for attributes in [*page.all("input"), *page.all("select")]:
        if attributes.get("type") != "hidden":
            assert attributes["id"] in labels
    for _, attributes in page.elements:
        assert set(attributes.get("aria-describedby", "").split()) <= page.ids
    assert sum("autofocus" in attributes for _, attributes in page.elements) <= 1


@pytest.mark.parametrize("name", FORMS)
@BOTH
def test_forms_carry_the_token_and_tie_the_error_to_the_field(name: str, language: Language) -> None:
    page = read(FORMS[name](look(language)))
    forms = page.all("form")
    assert all(form["method"] == "post" and form["action"].startswith(PREFIX) for form in forms)
    tokens = [field["value"] for field in page.all("input") if field["name"] == "token"]
    assert tokens == [TOKEN] * len(forms)
    faulty = any(name.endswith(f"-{error}") for error in views.FormError)
    for field in page.all("input"):
        if field["type"] != "hidden":
            assert ("aria-invalid" in field) == faulty
            assert ("error" in field["aria-describedby"].split()) == faulty
    prefix = catalogue(language).text("layout.error_document", page="")
    assert page.texts["title"][0].startswith(prefix) == faulty


@pytest.mark.parametrize("name", STEP_UPS)
@BOTH
def test_step_ups_tie_the_error_to_the_fields_it_is_about(name: str, language: Language) -> None:
    page = read(STEP_UPS[name](look(language)))
    assert [field["value"] for field in page.all("input") if field["name"] == "to"] == [SEALED]
    about = {"need", "words"} if name.endswith(("-need", "-personal")) else {"code"}
    faulty = any(name.endswith(f"-{error}") for error in views.FormError)
    for field in [*page.all("input"), *page.all("select")]:
        if field.get("type") != "hidden":
            wrong = faulty and field["name"] in about
            assert ("aria-invalid" in field) == wrong
            assert ("error" in field["aria-describedby"].split()) == wrong
    assert [option["value"] for option in page.all("option")] == ["", *STEP_UP_NEEDS]


@EVERY_PAGE
@BOTH
def test_headers(name: str, language: Language) -> None:
    reply = PAGES[name](look(language))
    assert all(key == key.lower() for key, _ in reply.headers)
    assert len(dict(reply.headers)) == len(reply.headers)
    expected = {
        "content-type": "text/html; charset=utf-8",
        "content-language": language,
        "vary": "Accept-Language",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "strict-transport-security": "max-age=31536000",
        "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    }
    assert expected.items() <= dict(reply.headers).items()


def test_plain_http_promises_no_https() -> None:
    assert header(views.code(look(secure=False), token=TOKEN), "strict-transport-security") is None


@BOTH
def test_every_text_of_the_catalogue_is_used_by_some_page(language: Language) -> None:
    shown = " ".join(read(page(look(language))).text for page in PAGES.values())
    attributes = " ".join(
        value
        for page in PAGES.values()
        for _, attributes in read(page(look(language))).elements
        for value in attributes.values()
    )
    for key, text in catalogue(language).texts.items():
        pieces = [piece.strip() for piece in re.split(r"%\([a-z]+\)s", text)]
        assert all(piece in shown or piece in attributes for piece in pieces), key


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</title><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt; & \u202e%(app)s %s",
    "é" * 300,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_stay_text(text: str) -> None:
    at = views.Look("fr", Body(text, text, "logo.png"), PREFIX, text)
    bare = replace(at, body=Body(text, text))
    rows = (views.SessionRow(text, text, 0, 0, text, text),)
    replies = [
        views.code(at, token=text, error=views.FormError.WRONG),
        views.recovery(bare, token=text),
        views.invitation(bare, token=text),
        views.step_up(bare, token=text, to=text, words=text),
        views.enrol(at, token=text, uri="otpauth://totp/" + text[:150], secret=text, login=text),
        views.recovery_codes(bare, codes=[text], next_path=text),
        views.start(at, token=text, next="/" + text),
        views.sessions(at, token=text, sessions=rows),
        views.home(at, token=text, app_path=text),
        views.signed_out(bare, login_path=text),
        views.refusal(at, reason=Reason.CAP, status=429, reference=text, login_path=text),
    ]
    for reply in replies:
        page = read(reply)
        assert text in page.text
        assert not page.all("script")
        assert {attributes.get("src") for attributes in page.all("img")} <= {f"{PREFIX}logo"}
        for tag, attributes in page.elements:
            assert not [key for key in attributes if key.startswith("on")], tag


# The address of the next page comes from the person: anything that could leave this host becomes "/".
@pytest.mark.parametrize(
    ("asked", "given_back"),
    [
        # Paths of this host.
        ("/", "/"),
        ("/dossiers?page=2&tri=nom", "/dossiers?page=2&tri=nom"),
        ("/x@evil.example", "/x@evil.example"),
        ("/%09/evil.example", "/%09/evil.example"),
        # Other hosts, in every spelling that browsers accept.
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\/\\/evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n//evil.example", "/"),
        ("https://evil.example", "/"),
        ("https:evil.example", "/"),
        ("javascript:alert(1)", "/"),
        (" /dossiers", "/"),
        ("/dossiers\r\nLocation: x", "/"),
        ("", "/"),
        ("dossiers", "/"),
        ("/\u2215evil.example", "/"),
        ("/" + "a" * 10_000, "/"),
    ],
)
def test_next_stays_on_this_host(asked: str, given_back: str) -> None:
    page = read(views.recovery_codes(look(), codes=CODES, next_path=asked))
    assert [link["href"] for link in page.all("a") if link.get("class") == "button"] == [given_back]
    page = read(views.start(look(), token=TOKEN, next=asked))
    assert [field["value"] for field in page.all("input") if field["name"] == "next"] == [given_back]


def test_code_field_accepts_what_people_paste() -> None:
    (field,) = [
        field for field in read(views.code(look(), token=TOKEN)).all("input") if field["name"] == "code"
    ]
    wanted = {
        "inputmode": "numeric",
        "autocomplete": "one-time-code",
        "pattern": "[0-9 ]*",
        "maxlength": "11",
        "required": "",
        "autofocus": "",
        "type": "text",
    }
    assert wanted.items() <= field.items()


def test_wrong_tells_nothing_more_than_wrong() -> None:
    first = views.code(look(), token=TOKEN, error=views.FormError.WRONG)
    again = views.code(look(), token=TOKEN, error=views.FormError.WRONG, retry_after_s=3_600)
    assert first == again


@pytest.mark.parametrize(
    ("wait_s", "text"),
    [(None, "plus tard"), (30, "dans 30 secondes"), (300, "dans 5 minutes"), (0, "1 seconde")],
)
def test_too_many_tells_the_wait(wait_s: int | None, text: str) -> None:
    reply = views.code(look(), token=TOKEN, error=views.FormError.TOO_MANY, retry_after_s=wait_s, status=429)
    assert reply.status == 429
    assert text in read(reply).text.replace("\u00a0", " ")
    assert header(reply, "retry-after") == (None if wait_s is None else str(max(wait_s, 1)))


def test_enrolment_shows_the_key_in_three_ways() -> None:
    page = read(PAGES["enrol"](look()))
    assert [image["aria-label"] for image in page.all("div") if image.get("role") == "img"]
    assert len(page.all("svg")) == 2
    assert URI in [link["href"] for link in page.all("a")]
    assert "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ" in page.text


def test_enrolment_refuses_an_address_of_another_kind() -> None:
    with pytest.raises(ValueError, match="otpauth://"):
        views.enrol(look(), token=TOKEN, uri="javascript:alert(1)", secret=SECRET, login="x")


@pytest.mark.parametrize(
    "location",
    [
        "https://portail.example",
        "https://portail.example:8443/accueil;jsessionid=1?a=b&c='d'#e",
        "http://[2001:db8::1]/",
    ],
)
def test_onward_goes_where_the_application_says(location: str) -> None:
    page = read(views.onward(look(), location=location))
    (refresh,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert refresh == f"0; url={location}"
    assert [link["href"] for link in page.all("a")] == [location]


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/accueil",
        "//portail.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https://moi@portail.example/",
        "https://portail.example\\@evil.example/",
        "https://portail.example/ ; url=javascript:alert(1)",
        'https://portail.example/"',
        "https://portail.example/\r\n",
        "https://pörtail.example/",
    ],
)
def test_onward_refuses_what_is_no_plain_address(location: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        views.onward(look(), location=location)


def test_sessions_close_one_or_all() -> None:
    page = read(PAGES["sessions"](look()))
    asked = [field["value"] for field in page.all("input") if field["name"] == "session"]
    assert asked == [*(row.id for row in SESSIONS), views.ALL_SESSIONS]
    # 2025-11-22 08:26:40 UTC is an hour later in Paris.
    assert page.text.count("22/11/2025 09:26") >= 3
    assert page.text.count("Cette session") == 1


def test_sessions_without_zone_data_say_utc() -> None:
    page = read(views.sessions(look(), token=TOKEN, sessions=SESSIONS, zone="Nulle/Part"))
    assert "22/11/2025 08:26" in page.text
    assert "UTC" in page.text


@pytest.mark.parametrize("control", Control)
@BOTH
def test_refusals_tell_no_bound_and_no_internal_word(control: Control, language: Language) -> None:
    reply = PAGES[f"refusal-cap-{control}"](look(language))
    text = read(reply).text
    assert REFERENCE in text
    assert "10 min" in text
    rest = text.replace(REFERENCE, "").replace("10 min", "").replace("03 53 01 00 00", "")
    assert not re.search(r"[0-9]", rest)
    assert str(WINDOW_S[control]) not in rest
    assert control.value not in rest
    assert reply.status == 429
    assert header(reply, "retry-after") == "560"


@pytest.mark.parametrize("reason", Reason)
def test_refusals_name_no_part_of_the_gateway(reason: Reason) -> None:
    for language in LANGUAGES:
        text = read(PAGES[f"refusal-{reason}"](look(language))).text.lower()
        for word in (
            "redis",
            "valkey",
            "mitmproxy",
            "upstream",
            "audit",
            "store",
            "python",
            "écluse",
            "ecluse",
        ):
            assert word not in text


def test_locked_and_retired_are_one_page() -> None:
    locked = views.refusal(look(), reason=Reason.ACCOUNT_LOCKED, status=403, reference=REFERENCE)
    assert locked == views.refusal(look(), reason=Reason.ACCOUNT_RETIRED, status=403, reference=REFERENCE)
    assert header(locked, "clear-site-data") == '"cache", "storage"'


def test_unauthenticated_names_our_scheme() -> None:
    reply = views.refusal(look(), reason=Reason.NO_SESSION, status=401, reference=REFERENCE)
    assert header(reply, "www-authenticate") == "Ecluse"
    assert header(PAGES["refusal-no-session"](look()), "www-authenticate") is None


def test_stylesheet_is_kept_and_its_address_changes_with_it() -> None:
    reply = views.stylesheet()
    assert reply.body == STYLE
    assert "immutable" in (header(reply, "cache-control") or "")
    assert f'href="{PREFIX}style.css?v={STYLE_VERSION}"' in views.code(look(), token=TOKEN).body.decode()
    assert not re.search(rb"url\(|@import", STYLE)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        # Pictures.
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b'<svg xmlns="x"></svg>', "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><svg/>', "image/svg+xml"),
        # Anything else.
        (b"<!doctype html><script>", None),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"<svgx>", None),
        (b"", None),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 262_144, None),
    ],
)
def test_logo(tmp_path: Path, data: bytes, kind: str | None) -> None:
    file = tmp_path / "logo"
    file.write_bytes(data)
    reply = views.logo(Body("", "", str(file)))
    assert (reply.status, header(reply, "content-type") == kind) == ((200, True) if kind else (404, False))
    assert reply.body == (data if kind else b"")
    assert "sandbox" in (header(reply, "content-security-policy") or "")


@pytest.mark.parametrize("file", [None, "absent.png", "."])
def test_no_logo(tmp_path: Path, file: str | None) -> None:
    assert views.logo(Body("", "", file and str(tmp_path / file))).status == 404


def test_contact_is_a_link_only_when_it_is_an_address() -> None:
    assert (
        b'href="mailto:aide@grades.example"'
        in PAGES["home"](replace(look(), body=Body("", "aide@grades.example"))).body
    )
    for contact in ("aide@grades.example?body=x", "03 53 01 00 00", "poste 12 ou aide@grades.example"):
        assert b"mailto:" not in PAGES["home"](replace(look(), body=Body("", contact))).body


@given(app=st.text(max_size=60), token=st.text(max_size=60), reference=st.text(max_size=60))
def test_any_text_gives_a_strict_page(app: str, token: str, reference: str) -> None:
    at = replace(look(), app_title=app)
    shown = [
        field["value"] for field in read(views.code(at, token=token)).all("input") if field["name"] == "token"
    ]
    newline = str.maketrans({"\r": "\n"})
    assert {value.replace("\r\n", "\n").translate(newline) for value in shown} == {
        token.replace("\r\n", "\n").translate(newline)
    }
    read(views.refusal(at, reason=Reason.CAP, status=429, reference=reference))

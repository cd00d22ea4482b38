"""Ways to a second factor of one's own for somebody who stole only a password (G01 to G14)."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.accounts.store import Labels
from gateway.audit.operator import local_user
from tests.attacks.factor import (
    about,
    ask_store,
    at_enrolment,
    crowd,
    crowded,
    is_specific,
    operate,
    recovery_codes,
    show_invitation,
    shown_secret,
    silent,
    type_code,
)
from tests.people import Person
from tests.stand import Browser, Got, Stand, form_token, stand

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("cheap_hashes")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("enrol")) as running:
        yield running


async def test_g01_a_stolen_password_shows_no_secret(gate: Stand, person: Person) -> None:
    """G01 Gateways that enrol whoever has the password (AA22-074A) show the QR code here."""
    browser = await gate.password_only(person)
    with silent(gate):
        for path in ("/.ecluse/enrol", "/.ecluse/code", "/.ecluse/recovery", "/.ecluse/continue", "/"):
            got = await browser.get(path)
            assert got.status == 303, path
            assert "otpauth" not in got.text
        page = await browser.get("/.ecluse/invitation")
        assert page.status == 200
        assert "otpauth" not in page.text
        assert LexborHTMLParser(page.text).css_first(".qr, .secret") is None
        record = await browser.get("/dossiers/1001")
        assert (record.status, record.header("location")) == (303, "/.ecluse/invitation")
    [denied] = await about(gate, "enrolment-denied", person, reason="not-invited")
    assert is_specific(denied, person)
    assert await about(gate, "session-opened", person) == []


async def test_g01_posting_straight_to_enrolment_enrols_nobody(gate: Stand, person: Person) -> None:
    """G01 The form is skipped: code and token are sent to where a secret would be confirmed."""
    browser = await gate.password_only(person)
    page = await browser.get("/.ecluse/invitation")
    with silent(gate):
        other = await browser.post("/.ecluse/enrol", {"code": "000000", "token": form_token(page)})
        assert other.status == 403
        assert (await browser.get("/.ecluse/enrol")).status == 303
    refused = (await about(gate, "refused", reason="form-refused", rule="enrol"))[-1]
    # Nobody invited the account, so that the log names the session and not what was typed as a login.
    assert is_specific(refused)
    assert len(refused["session"]) == 12
    assert await gate.services.accounts.get(gate.ref(person.login).id) is None


@pytest.mark.oathtool
@pytest.mark.skipif(shutil.which("oathtool") is None, reason="oathtool is not installed")
async def test_the_invited_enrol_with_an_authenticator_of_another_maker(gate: Stand, person: Person) -> None:
    """The honest neighbour: oathtool computes the code from what the page shows, and the record opens."""
    browser, page = await at_enrolment(gate, person)
    made = await asyncio.to_thread(
        subprocess.run,
        ["oathtool", "--totp", "-b", shown_secret(page)],
        capture_output=True,
        check=True,
        text=True,
    )
    got = await browser.post("/.ecluse/enrol", {"code": made.stdout.strip(), "token": form_token(page)})
    assert got.status == 200
    gone_on = await browser.get("/.ecluse/continue")
    assert (gone_on.status, gone_on.header("location")) == (302, "/") or gone_on.status == 303
    assert "Patient1001" in (await browser.get("/dossiers/1001")).text
    assert len(await about(gate, "enrolled", person)) == 1
    [used] = await about(gate, "invitation-used", person)
    assert is_specific(used, person)


async def test_the_secret_in_the_qr_code_is_the_one_in_words(gate: Stand, person: Person) -> None:
    """G14 The link holds the same secret, issuer and account, and the parameters that apps support."""
    _, page = await at_enrolment(gate, person)
    link = LexborHTMLParser(page.text).css_first('a[href^="otpauth:"]')
    assert link is not None
    parts = urlsplit(str(link.attributes["href"]))
    values = parse_qs(parts.query)
    assert values["secret"] == [shown_secret(page)]
    assert values["issuer"] == ["GRADeS Exemple"]
    assert unquote(parts.path) == f"/GRADeS Exemple:{person.login}"


async def test_g02_an_invitation_serves_once(gate: Stand, person: Person) -> None:
    """G02 The letter is found in a bin after its owner enrolled."""
    code_browser, _ = await recovery_codes(gate, person)
    assert code_browser
    thief = await gate.password_only(person)
    with silent(gate):
        got = await thief.get("/.ecluse/invitation")
        assert (got.status, got.header("location")) == (303, "/.ecluse/code")
        page = await thief.get("/.ecluse/code")
        posted = await thief.post(
            "/.ecluse/invitation",
            {"invitation": gate.secrets["invitation:" + person.login], "token": form_token(page)},
        )
        assert posted.status == 403
        assert (await thief.get("/.ecluse/enrol")).status == 303
        assert (await thief.get("/dossiers/1001")).header("location") == "/.ecluse/code"
    [refused] = await about(gate, "refused", person, reason="form-refused", rule="invitation")
    assert is_specific(refused, person)
    assert len(await about(gate, "enrolled", person)) == 1


async def test_g02_an_invitation_is_its_owners(gate: Stand, people: Iterator[Person]) -> None:
    """G02 CVE-2022-23555: an invitation for one account is used by another."""
    owner, other = next(people), next(people)
    await gate.invite(owner)
    await gate.invite(other)
    browser = await gate.password_only(other)
    with silent(gate):
        got = await show_invitation(gate, browser, gate.secrets["invitation:" + owner.login])
        assert got.status == 403
        assert (await browser.get("/.ecluse/enrol")).header("location") == "/.ecluse/invitation"
    [refused] = await about(gate, "invitation-refused", other)
    assert refused["detail"]["why"] == "wrong"
    assert is_specific(refused, other)
    # The right one still works after that.
    proven = await show_invitation(gate, browser, gate.secrets["invitation:" + other.login])
    assert proven.header("location") == "/.ecluse/enrol"


async def test_g02_an_invitation_that_was_replaced_is_dead(gate: Stand, person: Person) -> None:
    """G02 Re-inviting kills the earlier code, also where it was already proven."""
    browser, page = await at_enrolment(gate, person)
    secret, old = shown_secret(page), gate.secrets["invitation:" + person.login]
    await gate.invite(person)
    other = await gate.password_only(person)
    with silent(gate):
        assert (await show_invitation(gate, other, old)).status == 403
        got = await browser.post(
            "/.ecluse/enrol", {"code": pyotp.TOTP(secret).now(), "token": form_token(page)}
        )
        assert (got.status, "secours" in got.text) != (200, True)
        assert await about(gate, "enrolled", person) == []
        record = await browser.get("/dossiers/1001")
        assert record.status == 303
    [denied] = await about(gate, "enrolment-denied", person)
    assert denied["detail"]["why"] == "too-late"
    assert is_specific(denied, person)
    [refused] = await about(gate, "invitation-refused", person)
    assert refused["detail"]["why"] == "wrong"


async def test_g02_an_invitation_that_expired_is_dead(gate: Stand, person: Person) -> None:
    """G02 Seven days are over. The store's own clock decides."""
    await gate.invite(person)
    ref = gate.ref(person.login)
    from gateway.accounts.invitation import new_invitation

    old = new_invitation(gate.services.keys.names, ref.id, b"0123456789")
    await gate.services.accounts.invite(
        ref, old.hash, gate.services.clock.now_ms() - 1000, Labels("standard")
    )
    browser = await gate.password_only(person)
    with silent(gate):
        got = await show_invitation(gate, browser, old.code)
        assert got.status == 403
    [refused] = await about(gate, "invitation-refused", person)
    assert refused["detail"]["why"] == "expired"


async def test_g02_an_invitation_that_an_operator_took_back_is_dead(gate: Stand, person: Person) -> None:
    """G02 The letter went to the wrong address: the operator retires the account before anybody used it."""
    await gate.invite(person)
    browser = await gate.password_only(person)
    await gate.services.accounts.retire(gate.ref(person.login).id)
    with silent(gate):
        asked = await browser.get("/.ecluse/invitation")
        assert asked.status in {303, 403}
        assert "otpauth" not in (await browser.get("/.ecluse/enrol")).text
        assert (await browser.get("/dossiers/1001")).status == 403
    back = gate.browser()
    await back.get("/login")
    shut = await back.post("/login", {"user": person.login, "password": person.password})
    assert shut.status == 403
    refused = await about(gate, "refused", person, reason="account-retired")
    assert is_specific(refused[0], person)
    assert await about(gate, "invitation-used", person) == []


async def test_g02_a_code_of_another_kind_is_no_invitation(gate: Stand, people: Iterator[Person]) -> None:
    """G02 CVE-2025-64708: what was made for one step is shown at another: a recovery code, a one-time code."""
    owner, invited = next(people), next(people)
    _, codes = await recovery_codes(gate, owner)
    await gate.invite(invited)
    browser = await gate.password_only(invited)
    with silent(gate):
        for typed in (codes[0], gate.code(owner), gate.secrets[owner.login]):
            assert (await show_invitation(gate, browser, typed)).status == 403
        assert (await browser.get("/.ecluse/enrol")).header("location") == "/.ecluse/invitation"
    refused = await about(gate, "invitation-refused", invited)
    assert [entry["detail"]["why"] for entry in refused] == ["wrong"] * 3
    assert is_specific(refused[0], invited)


async def test_g03_guessing_is_slowed_after_five(gate: Stand, person: Person) -> None:
    """G03 The sixth wrong invitation waits, and the right one waits with it."""
    await gate.invite(person)
    browser = await gate.password_only(person)
    page = await browser.get("/.ecluse/invitation")
    statuses: list[int] = []
    with silent(gate):
        for guess in range(7):
            form = {"invitation": f"AAAA-AAAA-AAAA-AA{guess:02}", "token": form_token(page)}
            statuses.append((await browser.post("/.ecluse/invitation", form)).status)
        form = {"invitation": gate.secrets["invitation:" + person.login], "token": form_token(page)}
        got = await browser.post("/.ecluse/invitation", form)
        assert got.status == 429
        assert int(got.header("retry-after") or "0") >= 1
    assert statuses[:4] == [403] * 4
    assert statuses[-1] == 429
    assert len(await about(gate, "invitation-refused", person)) == 8


async def test_g03_guessing_over_many_accounts_is_slowed_too(gate: Stand, people: Iterator[Person]) -> None:
    """G03 One try on each of ten thousand accounts: everybody's wrong invitations of this hour are counted."""
    person = next(people)
    await gate.invite(person)
    browser, thief = await gate.password_only(person), await gate.password_only(next(people))
    form = {
        "invitation": gate.secrets["invitation:" + person.login],
        "token": form_token(await browser.get("/.ecluse/invitation")),
    }
    # As if others had guessed for a while: the count of this hour is one short of its bound.
    hour = str(int((await ask_store(gate, "TIME"))[0]) // 3600)
    short = str(gate.services.accounts._invitation_failures_an_hour - 1)
    await ask_store(gate, "HSET", "ecluse:invitations:failures", "hour", hour, "count", short)
    try:
        with silent(gate):
            assert (await show_invitation(gate, thief, "AAAA-AAAA-AAAA-AAAA")).status == 403
            got = await browser.post("/.ecluse/invitation", form)
            assert got.status == 429
            assert int(got.header("retry-after") or "0") >= 1
    finally:
        await ask_store(gate, "DEL", "ecluse:invitations:failures")
    [refused] = await about(gate, "invitation-refused", person)
    assert refused["detail"]["why"] == "everybody-delayed"
    assert is_specific(refused, person)
    # The hour is over: the letter is as good as before.
    got = await browser.post("/.ecluse/invitation", form)
    assert (got.status, got.header("location")) == (303, "/.ecluse/enrol")


async def test_g04_a_secret_that_was_only_looked_at_is_no_factor(gate: Stand, person: Person) -> None:
    """G04 Nothing is kept as a factor before a first code, and a wrong code enrols nobody."""
    browser, page = await at_enrolment(gate, person)
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert not account.has_secret
    with silent(gate):
        got = await browser.post("/.ecluse/enrol", {"code": "000000", "token": form_token(page)})
        assert got.status == 403
        # The same secret is shown again, so that a scanned QR code stays good.
        assert shown_secret(got) == shown_secret(page)
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert not account.has_secret
    [refused] = await about(gate, "code-refused", person)
    assert refused["detail"]["why"] == "wrong-code"
    assert is_specific(refused, person)
    [kept] = await ask_store(gate, "KEYS", f"ecluse:{{{gate.ref(person.login).id}}}:enrolling:*")
    assert 0 < await ask_store(gate, "PTTL", kept) <= 600_000
    # Ten minutes later it is gone: its code enrols nobody, and the page shows another.
    await ask_store(gate, "DEL", kept)
    with silent(gate):
        late = await browser.post(
            "/.ecluse/enrol", {"code": pyotp.TOTP(shown_secret(page)).now(), "token": form_token(page)}
        )
        assert late.status == 403
        assert shown_secret(late) != shown_secret(page)
    [denied] = await about(gate, "enrolment-denied", person)
    assert denied["detail"]["why"] == "too-late"
    assert await about(gate, "enrolled", person) == []


async def test_g05_who_is_enrolled_enrols_no_second_factor_with_the_password(
    gate: Stand, person: Person
) -> None:
    """G05 CVE-2026-3429: the enrolment page is asked for again with a session that has no second factor."""
    await gate.enrol(person)
    browser = await gate.password_only(person)
    page = await browser.get("/.ecluse/code")
    with silent(gate):
        for method, path in (
            ("GET", "/.ecluse/enrol"),
            ("POST", "/.ecluse/enrol"),
            ("POST", "/.ecluse/invitation"),
            ("DELETE", "/.ecluse/enrol"),
            ("PUT", "/.ecluse/code"),
        ):
            got = await browser.request(
                method,
                path,
                body=b"" if method == "GET" else b"code=000000&token=" + form_token(page).encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded"} if method != "GET" else {},
            )
            assert got.status in {303, 403, 405}, (method, path)
            assert "otpauth" not in got.text
    refused = await about(gate, "refused", person, reason="form-refused", status=403)
    assert [entry["rule"] for entry in refused] == ["enrol", "invitation"]
    assert all(is_specific(entry, person) for entry in refused)
    unknown = (await about(gate, "refused", reason="unknown-method", status=405))[-2:]
    assert [entry["method"] for entry in unknown] == ["DELETE", "PUT"]
    assert all(is_specific(entry) for entry in unknown)
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.has_secret
    # The factor of before still opens.
    assert (await type_code(browser, gate.code(person))).status == 303


async def test_g06_a_full_session_changes_no_factor_either(gate: Stand, person: Person) -> None:
    """G06 No page of this version replaces or removes a factor: that takes an operator."""
    browser = await gate.log_in(person)
    with silent(gate):
        assert (await browser.get("/.ecluse/enrol")).status == 303
        assert (await browser.get("/.ecluse/invitation")).status == 303
        for name in ("reset", "factor", "unenrol", "totp", "recovery-codes"):
            assert (await browser.get(f"/.ecluse/{name}")).status == 404, name
            assert (await browser.request("DELETE", f"/.ecluse/{name}")).status == 404, name
    refused = [entry for entry in await about(gate, "refused") if entry["status"] == 404]
    assert [entry["reason"] for entry in refused] == ["route-blocked"] * 10
    assert all(is_specific(entry) for entry in refused)
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    assert account.has_secret


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"token": None}, {}),
        ({"token": ""}, {}),
        ({"token": "k.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, {}),
        ({}, {"Origin": "https://mechant.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Origin": "https://parcours.example"}),
        ({}, {"Sec_Fetch_Site": "cross-site"}),
        ({}, {"Sec_Fetch_Site": "same-site"}),
        ({}, {"Content_Type": "text/plain"}),
    ],
    ids=["no-token", "empty", "forged", "origin", "null-origin", "scheme", "cross-site", "sibling", "plain"],
)
async def test_g07_another_site_posts_to_enrolment(
    gate: Stand, person: Person, form: dict[str, str | None], headers: dict[str, str]
) -> None:
    """G07 CVE-2024-52948: the browser of somebody who is about to enrol is used by another page."""
    browser, page = await at_enrolment(gate, person)
    sent: dict[str, str | None] = {
        "code": pyotp.TOTP(shown_secret(page)).now(), "token": form_token(page), **form,
    }  # fmt: skip
    with silent(gate):
        got = await browser.post(
            "/.ecluse/enrol", {name: value for name, value in sent.items() if value is not None}, **headers
        )
        if "Content_Type" in headers:
            assert got.status in {400, 403}
        else:
            assert got.status == 403
    assert await about(gate, "enrolled", person) == []
    if "Content_Type" not in headers:
        [refused] = await about(gate, "refused", person, reason="form-refused")
        assert is_specific(refused, person)


async def test_g07_a_token_is_for_one_page_of_one_session(gate: Stand, people: Iterator[Person]) -> None:
    """G07 The thief fetches a token with a session of his own, or takes one from another page."""
    victim, thief = next(people), next(people)
    browser, page = await at_enrolment(gate, victim)
    own, own_page = await at_enrolment(gate, thief)
    assert own
    code = pyotp.TOTP(shown_secret(page)).now()
    with silent(gate):
        stolen = await browser.post("/.ecluse/enrol", {"code": code, "token": form_token(own_page)})
        assert stolen.status == 403
        crossed = await browser.post("/.ecluse/invitation", {"code": code, "token": form_token(page)})
        assert crossed.status == 403
    assert (await browser.post("/.ecluse/enrol", {"code": code, "token": form_token(page)})).status == 200


async def test_g08_the_secret_stands_on_the_page_alone(gate: Stand, person: Person) -> None:
    """G08 Not in an address, a cache, a header, the log; and after the enrolment nowhere at all."""
    browser, page = await at_enrolment(gate, person)
    secret = shown_secret(page)
    assert page.header("cache-control") == "no-store"
    assert page.header("referrer-policy") in {"no-referrer", "same-origin"}
    assert all(secret not in value for _, value in page.headers)
    links = [str(node.attributes["href"]) for node in LexborHTMLParser(page.text).css("a, link")]
    assert all(secret not in link for link in links if not link.startswith("otpauth://"))
    assert LexborHTMLParser(page.text).css_first("script, img[src*='otpauth']") is None
    got = await browser.post("/.ecluse/enrol", {"code": pyotp.TOTP(secret).now(), "token": form_token(page)})
    assert got.status == 200
    assert secret not in got.text
    assert (await browser.get("/.ecluse/enrol")).status == 303
    journal = b"".join(
        file.read_bytes() for file in (gate.loaded.settings.audit_dir / "gateway").iterdir() if file.is_file()
    )
    assert secret.encode() not in journal


async def test_g09_the_dormant_need_a_new_invitation(tmp_path: Path) -> None:
    """G09 AA22-074A: an account that nobody used for 90 days is the one that attackers enrol."""

    def _soon_dormant(config: dict[str, object]) -> None:
        config["realms"] = {"region": {"dormant_s": 86_400}}

    async with crowded(tmp_path, _soon_dormant) as gate:
        person = next(crowd())
        await gate.enrol(person)
        key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
        long_ago = gate.services.clock.now_ms() - 86_400_000 - 60_000
        await ask_store(gate, "HSET", key, "last_login_ms", str(long_ago))
        browser = await gate.password_only(person)
        with silent(gate):
            assert (await browser.get("/")).header("location") in {"/.ecluse/invitation", "/.ecluse/code"}
            asked = await browser.get("/.ecluse/code")
            assert (asked.status, asked.header("location")) == (303, "/.ecluse/invitation")
            page = await browser.get("/.ecluse/invitation")
            got = await browser.post("/.ecluse/code", {"code": gate.code(person), "token": form_token(page)})
            assert got.status in {303, 403}
            assert (await browser.get("/dossiers/1001")).status == 303
        assert await about(gate, "code-accepted", person) == []
        [refused] = await about(gate, "refused", person, reason="form-refused", rule="code")
        assert is_specific(refused, person)
        assert {entry["reason"] for entry in await about(gate, "challenged", person)} == {"code-owed"}


async def test_g10_of_two_enrolments_at_once_one_wins(gate: Stand, person: Person) -> None:
    """G10 Owner and thief both hold the letter; whoever comes second has a dead QR code."""
    first, first_page = await at_enrolment(gate, person)
    second = await gate.password_only(person)
    proven = await show_invitation(gate, second, gate.secrets["invitation:" + person.login])
    assert proven.header("location") == "/.ecluse/enrol"
    second_page = await second.get("/.ecluse/enrol")
    secrets = [shown_secret(first_page), shown_secret(second_page)]
    assert secrets[0] != secrets[1]

    async def confirm(browser: Browser, page: Got, secret: str) -> Got:
        form = {"code": pyotp.TOTP(secret).now(), "token": form_token(page)}
        return await browser.post("/.ecluse/enrol", form)

    answers = await asyncio.gather(
        confirm(first, first_page, secrets[0]), confirm(second, second_page, secrets[1])
    )
    assert sorted(got.status for got in answers) == [200, 303]
    assert len(await about(gate, "enrolled", person)) == 1
    winner = next(at for at, got in enumerate(answers) if got.status == 200)
    loser = (first, second)[1 - winner]
    [denied] = await about(gate, "enrolment-denied", person)
    assert denied["detail"]["why"] in {"not-invited", "too-late"}
    assert is_specific(denied, person)
    with silent(gate):
        assert (await loser.get("/.ecluse/enrol")).status == 303
        dead = await type_code(loser, pyotp.TOTP(secrets[1 - winner]).now())
        assert dead.status == 403


async def test_g12_a_reset_ends_every_session_and_the_old_factor(gate: Stand, person: Person) -> None:
    """G12 The telephone was stolen. Nothing that it opened stays open."""
    browser = await gate.log_in(person)
    assert (await browser.get("/dossiers/1001")).status == 200
    reason = "telephone stolen, seen in person"
    assert await operate(gate, "account", "reset", person.login, "--reason", reason) == 0
    [told] = await about(gate, "factor-reset", person, writer="operator")
    assert (told["reason"], told["operator"], told["detail"]) == (reason, local_user(), {"act": "reset"})
    with silent(gate):
        assert (await browser.get("/dossiers/1001")).status == 303
    [challenged] = await about(gate, "challenged", person, route="record")
    assert is_specific(challenged, person)
    again = await gate.password_only(person)
    with silent(gate):
        got = await again.get("/.ecluse/code")
        assert (got.status, got.header("location")) == (303, "/.ecluse/invitation")


async def test_g14_a_hostile_body_name_breaks_no_link(tmp_path: Path) -> None:
    """G14 Issuer and account hold what separates them in the link, and markup."""
    name = 'CHU: "A" & <script>alert(1)</script>'

    def _hostile(config: dict[str, object]) -> None:
        config["body"] = {"name": name}

    async with stand(tmp_path, changes=_hostile) as gate:
        from tests.people import DR_MARTIN

        _, page = await at_enrolment(gate, DR_MARTIN)
        assert "<script" not in page.text
        link = LexborHTMLParser(page.text).css_first('a[href^="otpauth:"]')
        assert link is not None
        href = str(link.attributes["href"])
        parts = urlsplit(href)
        assert href.isascii()
        assert sorted(parse_qs(parts.query)) == ["algorithm", "digits", "issuer", "period", "secret"]
        assert unquote(parts.path).count(":") == 1
        assert parse_qs(parts.query)["secret"] == [shown_secret(page)]


async def test_signing_out_works_from_every_page_of_the_factor(gate: Stand, people: Iterator[Person]) -> None:
    """The honest neighbour: who came to the wrong account leaves by the button that the page shows."""
    enrolled, invited = next(people), next(people)
    await gate.enrol(enrolled)
    await gate.invite(invited)
    for person, page in ((enrolled, "code"), (enrolled, "recovery"), (invited, "invitation")):
        browser = await gate.password_only(person)
        shown = await browser.get(f"/.ecluse/{page}")
        form = LexborHTMLParser(shown.text).css_first('form[action="/.ecluse/logout"] input[name="token"]')
        assert form is not None, page
        got = await browser.post("/.ecluse/logout", {"token": str(form.attributes["value"])})
        assert got.status == 303, page
        assert "__Host-ecluse" not in browser.cookies
        assert (await browser.get("/.ecluse/code")).header("location") == "/login"

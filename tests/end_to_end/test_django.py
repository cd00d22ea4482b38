"""Django's own administration, unmodified, behind the gateway with the shipped profile."""

import re
import subprocess
from collections.abc import AsyncIterator, Callable
from itertools import count
from urllib.parse import quote

import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.disclosure import pseudonym
from tests.end_to_end.real_apps.bench import Bench, Child, Hand, bench, query
from tests.end_to_end.real_apps.django_site import CLERKS, PASSWORD, PATIENTS, READER, SURNAMES
from tests.people import Person
from tests.stand import Browser, Got

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIST = "/admin/care/patient/"
_next_clerk = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("django")
    module = "tests.end_to_end.real_apps.django_site"
    async with Child("-m", module, str(folder)) as child, bench(folder, "django", child) as made:
        yield made


@pytest.fixture
def clerk() -> Person:
    """Return a clerk nobody used yet: limits are counted by account."""
    return Person(CLERKS[next(_next_clerk)], PASSWORD)


async def password(site: Bench, person: Person, wanted: str = "/admin/", hand: Hand | None = None) -> Hand:
    """Ask for *wanted*, be led to the login form, and send the right password."""
    hand = hand or site.hand()
    form = await hand.open(wanted)
    assert form.status == 200
    assert hand.at == f"/admin/login/?next={quote(wanted, safe='')}"
    await hand.send(form, "#login-form", username=person.login, password=person.password)
    return hand


async def inside(site: Bench, person: Person, wanted: str = "/admin/") -> tuple[Hand, Got]:
    """Log *person* in with password and code; the page first asked for comes back."""
    if person.login not in site.gate.secrets:
        await site.gate.enrol(person)
    hand = await password(site, person, wanted)
    assert hand.at == "/.ecluse/code"
    return hand, await hand.give_code(site, person)


def rows(page: Got) -> list[str]:
    """Return the ids of the patients in the table of *page*, read without the profile."""
    return re.findall(r'<th class="field-nom"><a href="/admin/care/patient/(\d+)/change/', page.text)


def named(site: Bench, ids: list[str]) -> set[str]:
    """Return the pseudonyms under which *ids* stand in the log."""
    keys = site.gate.services.keys
    return {pseudonym(keys, "care", each).text for each in ids}


def shows_somebody(got: Got) -> bool:
    return any(name in got.text for name in SURNAMES) or "01 99 00" in got.text


# --- Ways in ---


async def test_the_password_alone_opens_nothing(site: Bench, clerk: Person) -> None:
    """F01 H13: the right password in Django's own form, and then every door without the code."""
    await site.gate.enrol(clerk)
    hand = await password(site, clerk, LIST)
    assert hand.at == "/.ecluse/code"
    assert "sessionid" not in hand.browser.cookies
    mark = len(site.tap.sent)
    for path in (LIST, LIST + "1/change/", LIST + "1/history/", "/admin/", "/admin/password_change/"):
        got = await hand.browser.get(path)
        assert (got.status, got.header("location")) == (303, "/.ecluse/code")
        assert not shows_somebody(got)
    assert site.tap.since(mark) == b""
    assert len(await site.of("login-seen", clerk.login)) == 1
    assert {each["reason"] for each in await site.of("challenged", clerk.login)} == {"code-owed"}


@pytest.mark.oathtool
async def test_enrolment_by_invitation_leads_to_the_page_first_asked(site: Bench, clerk: Person) -> None:
    await site.gate.invite(clerk)
    hand = await password(site, clerk, LIST + "7/change/")
    assert hand.at == "/.ecluse/invitation"
    mark = len(site.tap.sent)
    wrong = await hand.send(await hand.browser.get(hand.at), invitation="AAAA-AAAA-AAAA-AAAA")
    assert wrong.status == 403
    code = site.gate.secrets[f"invitation:{clerk.login}"]
    page = await hand.send(wrong, invitation=code)
    assert hand.at == "/.ecluse/enrol"
    shown = LexborHTMLParser(page.text).css_first(".secret code")
    assert shown is not None
    secret = shown.text().replace(" ", "")
    typed = subprocess.run(["oathtool", "--totp", "-b", secret], capture_output=True, text=True, check=True)
    codes = await hand.send(page, code=typed.stdout.strip())
    assert codes.status == 200
    assert len(LexborHTMLParser(codes.text).css(".codes li")) == 10
    assert site.tap.since(mark) == b""
    record = await hand.open("/.ecluse/continue")
    assert hand.at == LIST + "7/change/"
    assert 'value="Prénom7"' in record.text
    kinds = [each["kind"] for each in await site.gate.events() if each.get("account") == clerk.login]
    assert kinds[-5:] == ["invitation-refused", "invitation-used", "enrolled", "session-opened", "access"]
    await site.gate.services.accounts.lock(site.gate.ref(clerk.login).id, "test")


async def test_a_wrong_password_is_djangos_to_tell(site: Bench, clerk: Person) -> None:
    await site.gate.enrol(clerk)
    hand = site.hand()
    form = await hand.open("/admin/")
    for login, typed in ((clerk.login, "faux"), ("nobody", "faux"), ("usager", PASSWORD), ("", "")):
        got = await hand.send(form, "#login-form", username=login, password=typed)
        assert got.status == 200
        assert "errornote" in got.text
        assert "__Host-ecluse" not in hand.browser.cookies
        form = got
    assert len(await site.of("login-failed", clerk.login)) == 1
    back = await hand.send(form, "#login-form", username=clerk.login, password=PASSWORD)
    assert (back.status, hand.at) == (200, "/.ecluse/code")


@pytest.mark.parametrize(
    "spell", [str.strip, lambda name: f"  {name} ", lambda name: name.replace("a", "ａ")]
)
async def test_one_person_is_one_account_however_django_reads_the_name(
    site: Bench, clerk: Person, spell: Callable[[str], str]
) -> None:
    """F05: Django strips blanks and folds full-width letters, so all of these are the same user."""
    await site.gate.enrol(clerk)
    hand = await password(site, Person(spell(clerk.login), PASSWORD))
    assert hand.at == "/.ecluse/code"
    page = await hand.give_code(site, clerk)
    assert clerk.login in page.text
    assert len(await site.of("session-opened", clerk.login)) == 1


async def test_a_next_that_leads_away_is_not_followed(site: Bench, clerk: Person) -> None:
    """J10: Django keeps ``next`` to its own host, and so it stays through the code."""
    await site.gate.enrol(clerk)
    hand = site.hand()
    form = await hand.open("/admin/login/?next=https://pirate.example/")
    await hand.send(form, "#login-form", username=clerk.login, password=PASSWORD)
    await hand.give_code(site, clerk)
    # Django's own default for a login without a good ``next``; this site has no such page.
    assert hand.trail[-1] == "/accounts/profile/"


async def test_a_form_sent_too_late_says_so_and_leads_back(site: Bench, clerk: Person) -> None:
    """J12: the session ended while somebody typed; nothing is saved, the page tells, its link leads home."""
    hand, _ = await inside(site, clerk)
    page = await hand.open(LIST + "55/change/")
    hand.browser.cookies.pop("__Host-ecluse")
    mark = len(site.tap.sent)
    late = await hand.send(page, "#patient_form", telephone="01 99 00 44 44", _save="1")
    assert late.status == 401
    assert site.tap.since(mark) == b""
    link = LexborHTMLParser(late.text).css_first('a[href^="/admin/login/"]')
    assert link is not None
    form = await hand.open(link.attributes["href"] or "")
    account = site.gate.ref(clerk.login).id
    await site.gate.services.store.execute("HSET", f"ecluse:{{{account}}}:account", "last_step", "0")
    await hand.send(form, "#login-form", username=clerk.login, password=PASSWORD)
    home = await hand.give_code(site, clerk)
    assert (home.status, hand.at) == (200, "/admin/")


async def test_an_app_session_got_elsewhere_opens_nothing(site: Bench, clerk: Person) -> None:
    """F02: a session cookie that the thief got from Django itself, behind the gateway's back."""
    direct = Hand(Browser(site.tap.app_port, "127.0.0.1"))
    form = await direct.open("/admin/")
    await direct.send(form, "#login-form", username=clerk.login, password=PASSWORD)
    stolen = direct.browser.cookies["sessionid"]
    assert rows(await direct.open(LIST))
    await direct.browser.close()

    stranger = site.hand()
    stranger.browser.cookies["sessionid"] = stolen
    mark = len(site.tap.sent)
    got = await stranger.browser.get(LIST)
    assert got.status == 303
    assert site.tap.since(mark) == b""
    # At the login door the cookie stays behind, or Django would lead straight in.
    login = await stranger.browser.get("/admin/login/?next=/admin/")
    assert login.status == 200
    assert stolen.encode() not in site.tap.since(mark)

    # Under a session of one's own, the other's cookie is not sent on either: alone, or beside the right one.
    other, _ = await inside(site, Person(CLERKS[next(_next_clerk)], PASSWORD))
    own = dict(other.browser.cookies)
    mark = len(site.tap.sent)
    alone = await other.browser.request("GET", LIST, cookies={**own, "sessionid": stolen})
    assert alone.status == 303
    assert site.tap.since(mark) == b""
    both = await other.browser.request(
        "GET", LIST, cookies={**own, " sessionid": stolen, "sessionid ": stolen}
    )
    assert both.status in {200, 303}
    assert stolen.encode() not in site.tap.since(mark)


async def test_either_cookie_alone_opens_nothing(site: Bench, clerk: Person) -> None:
    """J04: the gateway's cookie without Django's, and the other way round."""
    hand, page = await inside(site, clerk)
    assert page.status == 200
    mark = len(site.tap.sent)
    for name in ("__Host-ecluse", "sessionid"):
        part = {key: value for key, value in hand.browser.cookies.items() if key != name}
        got = await hand.browser.request("GET", LIST, cookies=part)
        assert got.status == 303
        assert "/admin/login/" in (got.header("location") or "")
    assert site.tap.since(mark) == b""
    assert rows(await hand.open(LIST))


async def test_basic_credentials_are_refused(site: Bench, clerk: Person) -> None:
    """F04: Django ignores them; an app server with REMOTE_USER would not."""
    hand, _ = await inside(site, clerk)
    mark = len(site.tap.sent)
    got = await hand.browser.get(LIST, Authorization="Basic YWdlbnQwMTpHbHljaW5l")
    assert got.status == 403
    assert site.tap.since(mark) == b""
    assert (await site.gate.events("refused"))[-1]["reason"] == "basic-refused"


# --- What is seen is counted, patient by patient ---


async def test_a_hundred_rows_are_recorded_one_by_one(site: Bench, clerk: Person) -> None:
    hand, page = await inside(site, clerk, LIST)
    shown = rows(page)
    assert len(shown) == 100
    event = (await site.accesses(clerk.login))[-1]
    assert set(event["patients"]) == named(site, shown)
    assert (event["opened"], event["rows"] >= 100, event["rule"]) == (False, True, "patients")
    assert page.header("cache-control") == "no-store"

    found = await hand.send(page, "#changelist-search", q="ABELARD-006")
    assert rows(found) == ["6"]
    assert set((await site.accesses(clerk.login))[-1]["patients"]) == named(site, ["6"])

    nobody = await hand.send(found, "#changelist-search", q="INCONNU")
    assert (nobody.status, rows(nobody)) == (200, [])
    assert not (await site.accesses(clerk.login))[-1].get("patients")

    second = await hand.open(f"{LIST}?p=2")
    assert len(rows(second)) == 100
    assert set(rows(second)).isdisjoint(shown)
    assert set((await site.accesses(clerk.login))[-1]["patients"]) == named(site, rows(second))
    assert await site.of("withheld", clerk.login) == []


async def test_a_row_without_a_box_counts_too(site: Bench) -> None:
    """K03: who may only read has no boxes in the list; a profile that reads boxes would see nobody."""
    _, page = await inside(site, Person(READER, PASSWORD), LIST)
    assert "_selected_action" not in page.text
    assert len(rows(page)) == 100
    assert set((await site.accesses(READER))[-1]["patients"]) == named(site, rows(page))


async def test_record_pages_by_id(site: Bench, clerk: Person) -> None:
    hand, _ = await inside(site, clerk)
    change = await hand.open(LIST + "12/change/")
    assert 'value="Prénom12"' in change.text
    history = await hand.open(LIST + "12/history/")
    assert history.status == 200
    delete = await hand.open(LIST + "12/delete/")
    assert "Prénom12" in delete.text
    padded = await hand.open(LIST + "0012/change/")
    assert 'value="Prénom12"' in padded.text
    events = [each for each in await site.accesses(clerk.login) if each.get("patients")]
    assert [each["rule"] for each in events] == [
        "patient-change", "patient-history", "patient-delete", "patient-change",
    ]  # fmt: skip
    assert all(set(each["patients"]) == named(site, ["12"]) and each["opened"] for each in events)


@pytest.mark.parametrize(
    "path",
    [
        # Django unquotes _31 to 1, and int() reads every script's digits.
        "_31_32/change/", "%D9%A1%D9%A2/change/", "%2012/change/", "+12/change/", "1_2/change/",
        # A redirect of old to the change page; the same page under other names.
        "12/", "12/change/x/", "12/change/;x", "12/password/",
        # A format or a slash the route does not know.
        "12/change.json", "12//change/",
    ],
)  # fmt: skip
async def test_another_spelling_of_an_id_is_no_way_around(site: Bench, reader_in: Hand, path: str) -> None:
    """D03 D11: none of these reaches Django."""
    mark = len(site.tap.sent)
    got = await reader_in.browser.get(LIST + path)
    assert got.status in {400, 403}
    assert site.tap.since(mark) == b""
    assert (await site.gate.events("refused"))[-1]["status"] == got.status


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader_in(site: Bench) -> Hand:
    hand, _ = await inside(site, Person(CLERKS[next(_next_clerk)], PASSWORD))
    return hand


@pytest.mark.parametrize(
    "path", ["/admin/auth/user/", "/admin/autocomplete/", "/admin/r/3/12/", "/admin/care/other/", "/media/x"]
)
async def test_doors_that_are_not_mapped_are_closed(site: Bench, reader_in: Hand, path: str) -> None:
    mark = len(site.tap.sent)
    assert (await reader_in.browser.get(path)).status == 403
    assert site.tap.since(mark) == b""


async def test_the_home_page_names_whom_one_changed_last(site: Bench, clerk: Person) -> None:
    """K03: recent actions show names to whoever holds the account, days later."""
    hand, _ = await inside(site, clerk)
    page = await hand.open(LIST + "33/change/")
    await hand.send(page, "#patient_form", telephone="01 99 00 77 77", _save="1")
    home = await hand.open("/admin/")
    assert "CARDINAL" in home.text or "DUVIVIER" in home.text
    event = (await site.accesses(clerk.login))[-1]
    assert (event["rule"], set(event["patients"])) == ("home", named(site, ["33"]))


async def test_an_export_is_counted_line_by_line(site: Bench, clerk: Person) -> None:
    hand, page = await inside(site, clerk, f"{LIST}?q=FROMENTIN-01")
    picked = rows(page)
    assert 0 < len(picked) < 10
    sent = [("_selected_action", each) for each in picked]
    path, form = hand.filled(page, "#changelist-form", {"action": "export_csv"})
    body = query(**form) + "".join(f"&{name}={value}" for name, value in sent)
    got = await hand.browser.request(
        "POST", path, body=body.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (got.status, got.header("content-type")) == (200, "text/csv")
    assert got.text.count("FROMENTIN") == len(picked)
    event = (await site.accesses(clerk.login))[-1]
    assert (event["rule"], event["opened"], set(event["patients"])) == (
        "patients-export", False, named(site, picked),
    )  # fmt: skip


@pytest.mark.parametrize("action", ["export_csv", "delete_selected"])
async def test_everybody_at_once_is_withheld(site: Bench, clerk: Person, action: str) -> None:
    """K04: ``select_across`` makes one action run over all 600 rows, whatever the page showed."""
    hand, page = await inside(site, clerk, f"{LIST}?q=FROMENTIN-01")
    path, form = hand.filled(page, "#changelist-form", {"action": action, "select_across": "1"})
    path = LIST
    body = query(**form, _selected_action=rows(page)[0])
    got = await hand.browser.request(
        "POST", path, body=body.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert got.status == 429
    assert not shows_somebody(got)
    event = (await site.of("withheld", clerk.login))[-1]
    assert (event["reason"], event["control"]) == ("cap", "patients-10min")
    assert event["reference"] in got.text
    # What was withheld was not charged: the list of before is still there.
    assert rows(await hand.open(f"{LIST}?q=FROMENTIN-01")) == rows(page)


async def test_the_cap_stops_who_turns_the_pages_of_the_list(site: Bench, clerk: Person) -> None:
    """K01: 600 patients in pages of 100; the third new page within ten minutes is withheld whole."""
    hand, page = await inside(site, clerk, LIST)
    gained = set(rows(page))
    for number in range(2, 7):
        got = await hand.open(f"{LIST}?p={number}")
        gained |= set(rows(got))
        if number > 2:
            assert got.status == 429
            assert not shows_somebody(got)
    # Another order, the long list, one patient more: the cap is on patients, not on pages.
    for path in (f"{LIST}?o=-1", f"{LIST}?all="):
        got = await hand.open(path)
        gained |= set(rows(got))
    assert len(gained) == 200
    recorded = {each for event in await site.accesses(clerk.login) for each in event.get("patients", ())}
    assert recorded == named(site, sorted(gained))
    assert {each["control"] for each in await site.of("withheld", clerk.login)} == {"patients-10min"}
    # Seen before is free, and a colleague is not held.
    assert len(rows(await hand.open(LIST))) == 100
    _, neighbour = await inside(site, Person(CLERKS[next(_next_clerk)], PASSWORD), LIST)
    assert len(rows(neighbour)) == 100


# --- The honest day ---


async def test_the_day_of_an_honest_clerk(site: Bench, clerk: Person) -> None:
    """Everything the administration offers for one's work, and not one refusal."""
    hand, home = await inside(site, clerk)
    assert clerk.login in home.text
    style = await hand.browser.get("/static/admin/css/base.css")
    assert (style.status, style.header("content-type")) == (200, "text/css")
    words = await hand.browser.get("/admin/jsi18n/")
    assert (words.status, "django.catalog" in words.text) == (200, True)
    assert (await hand.open("/admin/care/")).status == 200

    form = await hand.open(LIST + "add/")
    wrong = await hand.send(
        form, "#patient_form", nom="NOUVELLE", prenom="", naissance="1950-02-01", _save="1"
    )
    assert (wrong.status, "errornote" in wrong.text) == (200, True)
    saved = await hand.send(wrong, "#patient_form", prenom="Odile", telephone="01 99 00 88 01", _save="1")
    assert hand.at == LIST
    assert "NOUVELLE Odile" in LexborHTMLParser(saved.text).css_first(".messagelist").text()

    found = await hand.send(saved, "#changelist-search", q="NOUVELLE")
    (new,) = rows(found)
    page = await hand.open(f"{LIST}{new}/change/")
    page = await hand.send(page, "#patient_form", telephone="01 99 00 88 02", _continue="1")
    assert hand.at == f"{LIST}{new}/change/"
    assert "01 99 00 88 02" in page.text
    page = await hand.send(page, "#patient_form", service="Gériatrie", _addanother="1")
    assert hand.at == LIST + "add/"
    filtered = await hand.open(f"{LIST}?service__exact={quote('Gériatrie')}")
    assert rows(filtered) == [new]

    page = await hand.open(f"{LIST}{new}/change/")
    for number in range(4):
        page = await hand.send(page, "#patient_form", telephone=f"01 99 00 88 1{number}", _continue="1")
        assert page.status == 200
    sure = await hand.open(f"{LIST}{new}/delete/")
    gone = await hand.send(sure, "#content form", post="yes")
    assert (gone.status, hand.at) == (200, LIST)

    missing = await hand.open(f"{LIST}{PATIENTS + 500}/change/")
    assert (missing.status, hand.at) == (200, "/admin/")
    for kind in ("refused", "withheld", "fail-closed", "would"):
        assert await site.of(kind, clerk.login) == [], kind
    assert len(await site.of("unsafe-sent", clerk.login)) >= 6


async def test_notes_do_not_push_the_session_out_of_the_jar(site: Bench, clerk: Person) -> None:
    """Each save sets a cookie of a new value; 64 credentials are kept, and Django's session must be one of them."""
    hand, _ = await inside(site, clerk)
    page = await hand.open(LIST + "44/change/")
    path, sent = hand.filled(page, "#patient_form", {"_continue": "1"})
    account = site.gate.ref(clerk.login).id
    for number in range(3):
        sent["telephone"] = f"01 99 00 66 0{number}"
        assert (await hand.browser.post(path, sent)).status == 302
        assert "messages" in hand.browser.cookies
    (session,) = await site.gate.services.sessions.list(account)
    jar = await site.gate.services.store.execute("HKEYS", f"ecluse:{{{account}}}:session:{session.id}")
    assert len([key for key in jar if key.startswith(b"j:")]) <= 2


async def test_changing_the_password_keeps_the_session(site: Bench, clerk: Person) -> None:
    """Django gives a new session cookie with the new password; the old one is dead on both sides."""
    hand, _ = await inside(site, clerk)
    old = hand.browser.cookies["sessionid"]
    form = await hand.open("/admin/password_change/")
    wrong = await hand.send(form, "#content form", old_password="non", new_password1="a", new_password2="b")
    assert (wrong.status, "errornote" in wrong.text) == (200, True)
    done = await hand.send(
        wrong,
        "#content form",
        old_password=PASSWORD,
        new_password1="Iris-Jaune-93",
        new_password2="Iris-Jaune-93",
    )
    assert (done.status, hand.at) == (200, "/admin/password_change/done/")
    assert hand.browser.cookies["sessionid"] != old
    assert rows(await hand.open(LIST))
    # The new password is the first factor from now on; the second is the same.
    again = await password(site, Person(clerk.login, "Iris-Jaune-93"))
    assert again.at == "/.ecluse/code"


async def test_logging_out_closes_both_sides(site: Bench, clerk: Person) -> None:
    """F08 J05: Django's own logout, then the cookies of before."""
    hand, home = await inside(site, clerk)
    kept = dict(hand.browser.cookies)
    bye = await hand.send(home, "#logout-form")
    assert (bye.status, hand.at) == (200, "/admin/logout/")
    assert "__Host-ecluse" not in hand.browser.cookies
    mark = len(site.tap.sent)
    got = await hand.browser.request("GET", LIST, cookies=kept)
    assert got.status == 303
    assert site.tap.since(mark) == b""
    assert len(await site.of("logout", clerk.login)) == 1


async def test_a_link_does_not_log_out(site: Bench, clerk: Person) -> None:
    """J13: Django logs out by POST only, and so does the gateway: an image on another site closes nobody's session."""
    hand, _ = await inside(site, clerk)
    assert (await hand.browser.get("/admin/logout/")).status == 405
    assert rows(await hand.open(LIST))


async def test_another_account_in_the_same_browser_owes_its_own_code(site: Bench, clerk: Person) -> None:
    """F07: logging in over a full session closes it, and nothing of the first one is left."""
    hand, _ = await inside(site, clerk)
    second = Person(CLERKS[next(_next_clerk)], PASSWORD)
    await site.gate.enrol(second)
    form = await hand.browser.get("/admin/password_change/")
    csrf = LexborHTMLParser(form.text).css_first("input[name=csrfmiddlewaretoken]").attributes["value"]
    got = await hand.browser.post(
        "/admin/login/?next=/admin/",
        {"username": second.login, "password": PASSWORD, "csrfmiddlewaretoken": csrf or "", "next": LIST},
    )
    assert (got.status, got.header("location")) == (303, "/.ecluse/code")
    assert (await hand.browser.get(LIST)).status == 303
    assert len(await site.of("session-closed", clerk.login)) == 1
    page = await hand.give_code(site, second)
    assert (page.status, second.login in page.text) == (200, True)


async def test_a_lock_reaches_an_open_administration(site: Bench, clerk: Person) -> None:
    """J06 J07 P05: the next request is refused and empties the browser; the password, still right, opens nothing."""
    hand, _ = await inside(site, clerk)
    await site.gate.services.accounts.lock(site.gate.ref(clerk.login).id, "vol de mot de passe")
    mark = len(site.tap.sent)
    got = await hand.browser.get(LIST)
    assert got.status == 403
    assert "clear-site-data" in dict(got.headers)
    assert site.tap.since(mark) == b""
    # The password still works in Django; the gateway keeps its answer.
    again = site.hand()
    form = await again.open("/admin/")
    shut = await again.send(form, "#login-form", username=clerk.login, password=PASSWORD)
    assert shut.status == 403
    assert "sessionid" not in again.browser.cookies

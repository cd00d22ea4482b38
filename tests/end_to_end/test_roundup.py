"""Roundup, unmodified: logins, actions and templates told by parameters on any address, Basic, REST and CSV."""

import base64
import json
import re
from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio
from selectolax.lexbor import LexborHTMLParser

from gateway.disclosure import pseudonym
from tests.end_to_end.real_apps.bench import Bench, Child, Hand, bench
from tests.end_to_end.real_apps.roundup_tracker import HOST, PASSWORD, SURNAMES, USERS
from tests.people import Person
from tests.stand import Browser, Got

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGIN = "form:has(input[name=__login_name])"
COLUMNS = "@columns=id,activity,title,creator,status"
_next_user = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("roundup")
    module = "tests.end_to_end.real_apps.roundup_tracker"
    async with Child("-m", module, str(folder)) as child, bench(folder, "roundup", child) as made:
        assert made.host == HOST
        yield made


def somebody() -> Person:
    return Person(USERS[next(_next_user)], PASSWORD)


@pytest.fixture
def agent() -> Person:
    """Return an account nobody used yet: limits are counted by account, and Roundup's own patience too."""
    return somebody()


async def password(site: Bench, person: Person, wanted: str = "/", hand: Hand | None = None) -> Hand:
    """Send the right password with the form that stands in place of *wanted*."""
    hand = hand or site.hand()
    form = await hand.open(wanted)
    assert form.status == 200
    await hand.send(form, LOGIN, __login_name=person.login, __login_password=person.password)
    return hand


async def inside(site: Bench, person: Person, wanted: str = "/") -> tuple[Hand, Got]:
    """Log *person* in with password and code; the page first asked for comes back."""
    if person.login not in site.gate.secrets:
        await site.gate.enrol(person)
    hand = await password(site, person, wanted)
    assert hand.at == "/.ecluse/code"
    return hand, await hand.give_code(site, person)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def thief(site: Bench) -> Hand:
    """Return somebody inside who tries things."""
    hand, _ = await inside(site, somebody())
    return hand


def issues(page: Got) -> set[str]:
    """Return the issues that a list shows, read without the profile."""
    return set(re.findall(r'<a href="issue(\d+)">', page.text))


def named(site: Bench, ids: set[str], system: str = "dossiers") -> set[str]:
    keys = site.gate.services.keys
    return {pseudonym(keys, system, each).text for each in ids}


def shows_somebody(got: Got) -> bool:
    return any(name in got.text for name in SURNAMES)


# --- Ways in ---


@pytest.mark.parametrize("wanted", ["/", "/issue3", "/issue?@columns=title", "/msg1"])
async def test_a_stranger_gets_the_form_in_place_and_nothing_else(site: Bench, wanted: str) -> None:
    """Pages answer 200 to strangers, with a login form where the record would stand."""
    got = await site.hand().open(wanted)
    assert (got.status, "__login_name" in got.text) == (200, True)
    assert not shows_somebody(got)


@pytest.mark.parametrize("wanted", ["/", "/issue5", f"/issue?{COLUMNS}&@sort=-activity"])
async def test_the_password_alone_opens_nothing_wherever_it_is_typed(site: Bench, wanted: str) -> None:
    """F01 F04: login by ``@action`` on any address, a record's too."""
    person = somebody()
    await site.gate.enrol(person)
    hand = await password(site, person, wanted)
    assert hand.at == "/.ecluse/code"
    assert not [name for name in hand.browser.cookies if "roundup" in name]
    mark = len(site.tap.sent)
    for path in ("/", "/issue5", f"/issue?{COLUMNS}", "/rest/data/issue"):
        assert (await hand.browser.get(path)).status == 303
    assert site.tap.since(mark) == b""
    page = await hand.give_code(site, person)
    assert (page.status, f"Welcome {person.login}" in page.text) == (200, True)
    assert hand.at.partition("?")[0] == wanted.partition("?")[0]
    assert len(await site.of("login-seen", person.login)) == 1


@pytest.mark.parametrize(
    ("path", "sends", "seen"),
    [
        ("/issue5", {"@action": "login"}, 1),
        ("/issue5", {"@action": "LoGiN"}, 1),
        ("/issue5?@action=login", {}, 1),
        ("/issue5?%40action=login", {}, 1),
        ("/issue5", {"@action": "login", "remember": "on"}, 1),
        # Roundup knows no action here, and logs nobody in.
        ("/rest/data/issue/5", {"@action": "login"}, 0),
        ("/nowhere", {"@action": "login"}, 0),
    ],
)
async def test_a_login_in_any_spelling_shows_nothing(
    site: Bench, path: str, sends: dict[str, str], seen: int
) -> None:
    """F04: without ``__came_from`` Roundup answers a login with the record itself, status 200."""
    person = somebody()
    await site.gate.enrol(person)
    hand = site.hand()
    form = await hand.open("/")
    _, sent = hand.filled(form, LOGIN, {"at_action": None, "__came_from": None})
    sent |= {"__login_name": person.login, "__login_password": PASSWORD, **sends}
    got = await hand.browser.post(path, sent, Origin=hand.origin, Referer=hand.origin + "/")
    assert not shows_somebody(got)
    assert not [name for name in hand.browser.cookies if "roundup" in name]
    again = await hand.browser.get("/issue5")
    assert not shows_somebody(again)
    assert len(await site.of("login-seen", person.login)) == seen


@pytest.mark.parametrize("spelt", [":action", "@action"])
async def test_the_colon_spelling_of_an_action_is_closed(site: Bench, thief: Hand, spelt: str) -> None:
    """D12 F06: ``:action`` beats ``@action``; a logout that is none would open a record under a page's rule."""
    mark = len(site.tap.sent)
    got = await thief.browser.get("/issue5?:action=show&@action=logout")
    assert got.status == 403
    assert site.tap.since(mark) == b""
    form = {spelt: "login", ":action": "login", "__login_name": USERS[-1], "__login_password": PASSWORD}
    stranger = site.hand()
    got = await stranger.browser.post("/issue5", form)
    assert not shows_somebody(got)
    assert not [name for name in stranger.browser.cookies if "roundup" in name]
    assert "Hello" not in got.text


async def test_basic_on_every_page_is_refused(site: Bench, agent: Person, thief: Hand) -> None:
    """F04: Basic wins over the cookie in Roundup, for strangers and under somebody else's session."""
    word = base64.b64encode(f"{agent.login}:{PASSWORD}".encode()).decode()
    direct = Browser(site.tap.app_port, "127.0.0.1")
    direct.host = HOST
    naive = await direct.get("/issue5", Authorization=f"Basic {word}")
    await direct.close()
    assert shows_somebody(naive)
    for hand in (site.hand(), thief):
        mark = len(site.tap.sent)
        for path in ("/issue5", "/rest/data/issue/5", "/", "/xmlrpc"):
            got = await hand.browser.get(path, Authorization=f"Basic {word}")
            assert got.status == 403
        assert site.tap.since(mark) == b""


async def test_a_wrong_password_is_roundups_to_tell(site: Bench, agent: Person) -> None:
    await site.gate.enrol(agent)
    hand = site.hand()
    form = await hand.open("/issue5")
    got = await hand.send(form, LOGIN, __login_name=agent.login, __login_password="faux")
    assert (got.status, "Invalid login" in got.text) == (200, True)
    assert "__Host-ecluse" not in hand.browser.cookies
    assert len(await site.of("login-failed", agent.login)) == 1
    # The address of the failure is the form's next `came_from`: the success after it is told all the same.
    await hand.send(got, LOGIN, __login_name=agent.login, __login_password=PASSWORD)
    assert hand.at == "/.ecluse/code"


async def test_a_session_got_elsewhere_opens_nothing(site: Bench, agent: Person, thief: Hand) -> None:
    """F02 F04: a cookie from Roundup itself, behind the gateway's back; with ``remember`` it lives for a year."""
    direct = Hand(Browser(site.tap.app_port, HOST))
    form = await direct.open("/")
    await direct.send(form, LOGIN, __login_name=agent.login, __login_password=PASSWORD, remember="on")
    assert shows_somebody(await direct.open("/issue5"))
    ((name, stolen),) = [pair for pair in direct.browser.cookies.items() if "roundup" in pair[0]]
    await direct.browser.close()
    for hand in (site.hand(), thief):
        mark = len(site.tap.sent)
        kept = {**hand.browser.cookies, name: stolen}
        got = await hand.browser.request("GET", "/issue5", cookies=kept)
        assert not shows_somebody(got)
        assert stolen.encode() not in site.tap.since(mark)


async def test_the_same_cookie_for_another_account_owes_the_code_again(site: Bench, agent: Person) -> None:
    """F07: Roundup keeps its session id when somebody else logs in over it, and sets no cookie at all."""
    hand, page = await inside(site, agent)
    second = somebody()
    await site.gate.enrol(second)
    token = LexborHTMLParser((await hand.open("/issue1")).text).css_first("input[name='@csrf']")
    sent = {
        "@action": "login", "__login_name": second.login, "__login_password": PASSWORD,
        "__came_from": f"http://{HOST}/issue1", "@csrf": token.attributes["value"] or "",
    }  # fmt: skip
    got = await hand.browser.post("/issue1", sent, Origin=hand.origin, Referer=hand.origin + "/issue1")
    assert (got.status, got.header("location")) == (303, "/.ecluse/code")
    assert (await hand.browser.get("/issue1")).status == 303
    assert len(await site.of("session-closed", agent.login)) == 1
    page = await hand.give_code(site, second)
    assert f"Welcome {second.login}" in page.text
    assert (await site.accesses(second.login))[-1]["account"] == second.login


# --- What is seen is counted ---


async def test_lists_and_records_are_counted_by_issue(site: Bench, agent: Person) -> None:
    hand, home = await inside(site, agent)
    assert len(issues(home)) == 50
    events = await site.accesses(agent.login)
    assert set(events[-1]["patients"]) == named(site, issues(home))
    some = await hand.open(f"/issue?{COLUMNS}&@sort=id&@pagesize=7&@startwith=0&@filter=status&status=1")
    assert len(issues(some)) == 7
    assert set((await site.accesses(agent.login))[-1]["patients"]) == named(site, issues(some))
    every_column = await hand.open("/issue?@pagesize=5&@sort=id")
    assert len(issues(every_column)) == 5
    record = await hand.open("/issue7")
    assert "Prénom7" in record.text
    padded = await hand.open("/issue0007")
    assert "Prénom7" in padded.text
    shown = [event for event in await site.accesses(agent.login) if event["rule"] == "issue"]
    assert [(event["opened"], set(event["patients"])) for event in shown] == [(True, named(site, {"7"}))] * 2
    led = await hand.send(home, "form:has(input[name='@number'])", at_number="9")
    assert (hand.at, "Prénom9" in led.text) == ("/issue9", True)
    assert await site.of("withheld", agent.login) == []


async def test_a_page_size_of_everybody_is_withheld(site: Bench, agent: Person) -> None:
    """K04: ``@pagesize`` has no bound in Roundup; 150 listed patients weigh 30, and 100 opened ones 100."""
    hand, _ = await inside(site, agent, "/issue?@pagesize=1")
    got = await hand.open(f"/issue?{COLUMNS}&@pagesize=1000&@sort=id&@filter=")
    assert len(issues(got)) == 150
    for number in range(1, 13):
        assert (await hand.open(f"/issue{number}")).status == 200
    refused = await hand.open("/issue14")
    assert refused.status == 429
    assert not shows_somebody(refused)
    assert {each["control"] for each in await site.of("withheld", agent.login)} == {"patients-10min"}


@pytest.mark.parametrize(
    "path",
    [
        # Names as headings of groups, no link anywhere.
        "/issue?@columns=id&@group=title", "/issue?@columns=title&@group=title", "/issue?@group=-title",
        "/issue?@columns=title&@group0=title", "/issue?@columns=title&@group0=status&@group1=title",
        "/issue?@columns=title&@group0=status&@group1=priority&@group2=title",
        "/issue?@columns=title&:group=title", "/issue?@columns=title&%40group=title", "/?@group=title",
        # No title, no link; the colon that wins; the list under another template.
        "/issue?@columns=id,status", "/issue?@columns=title&:columns=id", "/issue?:columns=id",
        "/issue?@template=help&properties=id,title", "/issue5?@template=index", "/issue5?:template=index",
        "/issue?@template=index&@columns=id", "/?@template=classlist",
        # Exports without ids, on other addresses, in other spellings.
        "/issue?@action=export_csv&@columns=title", "/issue?@action=export_csv", "/?@action=export_csv&@columns=id",
        "/issue5?@action=export_csv&@columns=id", "/issue?:action=export_csv&@columns=id",
        "/user?@action=export_csv&@columns=id", "/issue?@action=EXPORT_csv_id&@columns=title",
        # Links of mails: confirming a registration logs in, a reset sets a new password.
        "/?@action=confrego&otk=x", "/issue5?@action=passrst&otk=x", "/user?@action=Register",
        # Other classes and programs' doors.
        "/user", "/query", "/keyword", "/rest", "/rest/data/msg/1", "/rest/data/issue/5/title", "/xmlrpc",
        "/issue5/name", "/issue%D9%A5", "/@@file/../issue5",
    ],
)  # fmt: skip
async def test_a_list_that_cannot_be_counted_is_closed(site: Bench, thief: Hand, path: str) -> None:
    """K04: nothing of these reaches Roundup."""
    mark = len(site.tap.sent)
    got = await thief.browser.get(path)
    assert got.status in {400, 403}
    assert site.tap.since(mark) == b""


async def test_what_roundup_itself_would_have_shown(site: Bench, agent: Person) -> None:
    """The naive outcome of the cases above: names in abundance, and no link that a profile could count."""
    direct = Hand(Browser(site.tap.app_port, HOST))
    form = await direct.open("/")
    await direct.send(form, LOGIN, __login_name=agent.login, __login_password=PASSWORD)
    for path in ("/issue?@columns=id&@group=title", "/issue5?:action=show&@action=logout"):
        got = await direct.browser.get(path)
        assert shows_somebody(got)
        assert not issues(got)
    await direct.browser.close()


@pytest.mark.parametrize(
    "extra",
    [
        {"@template": "index", "@columns": "id", "@group": "title"}, {"@group": "title"}, {"@group0": "title"},
        {":template": "index"}, {":action": "new"},
    ],
)  # fmt: skip
async def test_a_post_does_not_choose_what_is_shown(site: Bench, thief: Hand, extra: dict[str, str]) -> None:
    """D12 K04: query and form are one to Roundup, so a failing "new" could bring back a list of names."""
    mark = len(site.tap.sent)
    got = await thief.browser.post("/issue", {"@action": "new", **extra})
    assert got.status == 403
    assert not shows_somebody(got)
    assert site.tap.since(mark) == b""


async def test_the_export_is_counted_line_by_line(site: Bench, agent: Person) -> None:
    """K04: the export ignores the page size."""
    hand, page = await inside(site, agent, f"/issue?{COLUMNS}&@pagesize=3&@filter=priority&priority=1")
    link = re.search(r'href="([^"]*export_csv[^"]*)"', page.text)
    assert link is not None
    got = await hand.open("/" + link.group(1).replace("&amp;", "&"))
    assert got.status == 200
    assert (got.header("content-type") or "").startswith("text/csv")
    ids = set(re.findall(r'^"(\d+)"', got.text, re.MULTILINE))
    assert len(ids) == 30
    event = (await site.accesses(agent.login))[-1]
    assert (event["rule"], set(event["patients"])) == ("export", named(site, ids))
    assert len(issues(page)) == 3


async def test_rest_is_counted_too(site: Bench, agent: Person) -> None:
    hand, _ = await inside(site, agent, "/issue?@pagesize=1")
    found = await hand.browser.get("/rest/data/issue?@page_size=5&@fields=title", Accept="application/json")
    assert found.status == 200
    ids = {each["id"] for each in json.loads(found.body)["data"]["collection"]}
    assert len(ids) == 5
    assert set((await site.accesses(agent.login))[-1]["patients"]) == named(site, ids)
    one = await hand.browser.get("/rest/data/issue/23", Accept="application/json")
    assert one.json()["data"]["id"] == "23"
    assert set((await site.accesses(agent.login))[-1]["patients"]) == named(site, {"23"})
    bare = await hand.browser.get("/rest/data/issue?@verbose=0", Accept="application/json")
    assert bare.status == 200
    assert (await site.accesses(agent.login))[-1]["patients"]


# --- The honest day ---


async def test_a_file_is_sent_and_fetched_again(site: Bench, agent: Person) -> None:
    """Roundup's own form is multipart, with an empty or a real file beside the fields that tell the action."""
    hand, _ = await inside(site, agent, "/issue40")
    page = await hand.open("/issue40")
    path, fields = hand.filled(page, "form[name=itemSynopsis]", {"at_note": "Courrier du médecin"})
    edge = "----ecluse"
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts += [
        (
            f'--{edge}\r\nContent-Disposition: form-data; name="@file"; filename="lettre.txt"\r\n'
            f"Content-Type: text/plain\r\n\r\nCher confrère\r\n--{edge}--\r\n"
        )
    ]
    got = await hand.browser.request(
        "POST",
        path,
        body="".join(parts).encode(),
        headers={
            "Content-Type": f"multipart/form-data; boundary={edge}",
            "Origin": hand.origin,
            "Referer": f"{hand.origin}/issue40",
        },
    )
    assert got.status == 302
    after = await hand.open("/issue40")
    assert "Courrier du médecin" in after.text
    link = re.search(r'href="(file\d+/lettre\.txt)"', after.text)
    assert link is not None
    fetched = await hand.open("/" + link.group(1))
    assert (fetched.status, fetched.text) == (200, "Cher confrère")
    event = (await site.accesses(agent.login))[-1]
    number = re.findall(r"\d+", link.group(1))[0]
    assert (event["rule"], set(event["patients"])) == (
        "file-content",
        named(site, {number}, "dossiers-files"),
    )
    assert await site.of("refused", agent.login) == []


async def test_the_day_of_an_honest_agent(site: Bench, agent: Person) -> None:
    hand, home = await inside(site, agent)
    style = await hand.browser.get("/@@file/style.css")
    assert (style.status, (style.header("content-type") or "").partition(";")[0]) == (200, "text/css")
    assert (await hand.open("/issue?@template=search")).status == 200
    details = re.search(r'href="(user\d+)"', home.text)
    assert details is not None
    assert agent.login in (await hand.open("/" + details.group(1))).text
    fresh = await hand.open("/issue?@template=item")
    form = "form[name=itemSynopsis]"
    bad = await hand.send(fresh, form, title="", priority="1")
    assert bad.status == 200
    assert "Required" in bad.text or "required" in bad.text
    made = await hand.send(bad, form, title="NOUVELLE Odile", priority="2", at_note="Arrivée ce matin")
    assert made.status == 200
    found = re.match(r"/issue(\d+)\?", hand.at)
    assert found is not None
    assert "NOUVELLE Odile" in made.text
    changed = await hand.send(made, form, title="NOUVELLE Odile", priority="3", at_note="Repartie")
    assert "Repartie" in changed.text
    assert hand.at.startswith(f"/issue{found.group(1)}")
    searched = await hand.send(changed, "#searchbox form", at_search_text="Repartie")
    assert issues(searched) == {found.group(1)}
    nobody = await hand.open(f"/issue?{COLUMNS}&@filter=title&title=INCONNU")
    assert (nobody.status, issues(nobody)) == (200, set())
    message = re.search(r'href="(msg\d+)"', changed.text)
    assert message is not None
    assert "Repartie" in (await hand.open("/" + message.group(1))).text
    for kind in ("refused", "withheld", "fail-closed", "would"):
        assert await site.of(kind, agent.login) == [], kind
    bye = re.search(r'href="([^"]*action=logout[^"]*)"', home.text)
    assert bye is not None
    kept = dict(hand.browser.cookies)
    gone = await hand.open("/" + bye.group(1).replace("&amp;", "&").removeprefix("/"))
    assert (gone.status, "__login_name" in gone.text) == (200, True)
    assert "__Host-ecluse" not in hand.browser.cookies
    again = await hand.browser.request("GET", "/issue5", cookies=kept)
    assert not shows_somebody(again)
    assert len(await site.of("logout", agent.login)) == 1

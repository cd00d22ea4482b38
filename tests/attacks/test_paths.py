"""Ways around the door by spelling the same address otherwise: one path, one host, one reading, or none."""

import base64
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
import pytest_asyncio

from gateway.policy.explain import Asker, explain
from tests.attacks.harness import hang_up
from tests.attacks.witness import assert_refused, attempt, detail, lavish, raw
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import HOST, MiniApp, Said, Seen, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND_HOST = "annexe.example"


class LaxApp(MiniApp):
    """An app that reads paths as loosely as any known server does: the worst neighbour a gateway can have."""

    def __call__(self, seen: Seen) -> Said:
        path = unquote(unquote(seen.path)).replace("\\", "/").partition("#")[0].partition("\0")[0]
        kept: list[str] = []
        for piece in path.split("/"):
            name = piece.partition(";")[0].rstrip(". ").lower() if piece.strip(".") else piece
            if name == "..":
                kept = kept[:-1]
            elif name not in {"", "."}:
                kept.append(name)
        number = kept[1].removesuffix(".json") if len(kept) == 2 else ""
        if len(kept) == 2 and kept[0] in {"dossiers", "fiches"} and number.isdigit():
            return self._record(str(int(number)))
        if kept == ["fiche"]:
            sent = seen.query + "&" + seen.body.decode("utf-8", "replace")
            numbers = [value for name, value in parse_qsl(sent) if name.rstrip("[]") == "id"]
            numbers += re.findall(r'name="id"\r\n\r\n([0-9]+)\r\n', sent)
            return self._record(numbers[-1]) if numbers else Said(404)
        if kept == ["entete"]:
            return self._record(seen.header("x-patient") or "0")
        if kept[:1] == ["codes"]:
            return self._record(base64.urlsafe_b64decode(seen.path.rpartition("/")[2]).decode())
        if kept[:1] == ["personnes"]:
            return Said(body="<main>Patient1001</main>")
        if kept in (["recherche"], ["graphql"]):
            numbers = re.findall(r"10[0-9]{2}", seen.body.decode())
            return self._record(numbers[-1])
        if len(kept) > 2:
            return Said(404)
        return super().__call__(seen)


def _config(config: dict[str, Any]) -> None:
    lavish(config)
    app = config["apps"]["parcours"]
    name = ["identite.nom"]
    steps = ["nfkc", "digits", "trim", "unpad"]
    for route in app["routes"]:
        if route["name"] == "record":
            route["patients"]["normalise"] = steps
    shared = {"kind": "record", "categories": name}
    app["routes"] += [
        {
            **shared,
            "name": "sheet",
            "path": "/fiches/{id:int}",
            "patients": {"path": "id", "normalise": steps, "system": "parcours"},
        },
        {
            **shared,
            "name": "by-param",
            "path": "/fiche",
            "patients": {
                "from": [{"query": "id"}, {"form": "id"}],
                "normalise": steps,
                "system": "parcours",
            },
        },
        {
            **shared,
            "name": "search",
            "path": "/recherche",
            "methods": ["POST"],
            "patients": {"request_json": "$.id", "normalise": steps, "system": "parcours"},
        },
        {
            **shared,
            "name": "graphql",
            "path": "/graphql",
            "methods": ["POST"],
            "patients": {"request_json": "$.variables.id", "normalise": steps, "system": "parcours"},
        },
        # Where the request hides the id, the answer names it.
        *(
            {
                **shared,
                "name": name,
                "path": path,
                "patients": {
                    "html": "main[data-id]",
                    "attribute": "data-id",
                    "normalise": steps,
                    "system": "parcours",
                },
            }
            for name, path in (("by-header", "/entete"), ("by-code", "/codes/{code}"))
        ),
        {
            **shared,
            "name": "person",
            "path": "/personnes/{uuid}",
            "patients": {"path": "uuid", "normalise": ["trim", "casefold", "squeeze"], "system": "identite"},
        },
    ]
    config["apps"]["annexe"] = {
        "title": "Annexe",
        "realm": "region",
        "hosts": [SECOND_HOST],
        "upstream": app["upstream"],
        "login_page": "/login",
        "login": app["login"],
        "routes": [
            {"name": "login", "kind": "login", "path": "/login"},
            {
                "name": "sheet",
                "kind": "record",
                "path": "/fiches/{id:int}",
                "patients": {"path": "id", "normalise": steps, "system": "parcours"},
                "categories": name,
            },
            {"name": "style", "kind": "public", "path": "/static/*"},
            # A permissive catch-all after the specific doors, as people write them.
            {"name": "rest", "kind": "page", "path": "/*"},
        ],
        "otherwise": "blocked",
    }


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _sockets() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("paths"), LaxApp(), _config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cookies(gate: Stand) -> dict[str, str]:
    """Return the cookies of a professional who is in."""
    return (await gate.log_in(DR_MARTIN)).cookies


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(gate: Stand, cookies: dict[str, str]) -> str:
    """Return the pseudonym of patient 1001, from the honest spelling."""
    outcome = await attempt(gate, raw(cookies=cookies))
    assert outcome.status == 200
    assert b"Patient1001" in outcome.answer.raw
    (found,) = outcome.event["patients"]
    return str(found)


MALFORMED = [
    # D01: dot segments from a public door, plain and dressed up (CVE-2019-9901, CVE-2020-24660).
    ("/static/../dossiers/1001", "path-dot-segment"),
    ("/static/./..//dossiers/1001", "path-empty-segment"),
    ("/static/x/../../dossiers/1001", "path-dot-segment"),
    ("/dossiers/./1001", "path-dot-segment"),
    ("/static/..", "path-dot-segment"),
    # D02: the same, encoded once, twice, overlong, or with other separators (CVE-2021-29492).
    ("/static/%2e%2e/dossiers/1001", "path-dot-segment"),
    ("/static/.%2E/dossiers/1001", "path-dot-segment"),
    ("/static/%252e%252e/dossiers/1001", "path-encoded-percent"),
    ("/static/..%2fdossiers%2f1001", "path-encoded-slash"),
    ("/static%2f..%2fdossiers%2f1001", "path-encoded-slash"),
    ("/static/..%5cdossiers%5c1001", "path-backslash"),
    ("/static/%c0%ae%c0%ae/dossiers/1001", "path-not-utf-8"),
    ("/static/..%255cdossiers/1001", "path-encoded-percent"),
    ("/static/%u002e%u002e/dossiers/1001", "path-bad-escape"),
    # D03: what one server ignores and another reads.
    ("//dossiers/1001", "path-empty-segment"),
    ("/dossiers//1001", "path-empty-segment"),
    ("/dossiers/1001;jsessionid=x", "path-bad-character"),
    ("/dossiers;/1001", "path-bad-character"),
    ("/static/..;/dossiers/1001", "path-bad-character"),
    ("/dossiers/1001%3bx", "path-semicolon"),
    ("/dossiers/1001%00", "path-control-character"),
    ("/dossiers/1001%0a", "path-control-character"),
    # D04: a fragment has no place on the wire (GHSA-pxq7-h93f-9jrg, CVE-2023-47106).
    ("/dossiers/1001#/static/app.css", "fragment"),
    ("/dossiers/1001?x#/static/app.css", "fragment"),
    # D07: malformed addresses (CVE-2021-32637: no rule matched, so it was allowed).
    ("/%", "path-bad-escape"),
    ("/static/%zz", "path-bad-escape"),
    ("/static\\..\\dossiers\\1001", "path-bad-character"),
    ("*", "path-not-origin-form"),
]


@pytest.mark.parametrize(("target", "fault"), MALFORMED, ids=[target for target, _ in MALFORMED])
async def test_a_path_with_two_readings(
    gate: Stand, cookies: dict[str, str], target: str, fault: str
) -> None:
    """D01 D02 D03 D04 D07: refused with and without a session, before the app sees a byte."""
    for jar in ({}, cookies):
        event = assert_refused(await attempt(gate, raw(target=target, cookies=jar)), 400, "malformed-request")
        assert detail(event, "fault") == fault


@pytest.mark.parametrize(
    "target",
    [
        b"/dossiers/1001 x",
        b"/static/\xc3\xa9",
        b"/static/\xff",
        b"/dossiers/1001\x00",
        b"/dossiers/10\t01",
        b"",
    ],
)
async def test_bytes_that_are_no_address(gate: Stand, cookies: dict[str, str], target: bytes) -> None:
    """D07: refused on the wire already, where no request was made of them; the log tells from whom they came."""
    event = assert_refused(await attempt(gate, raw(target=target, cookies=cookies)), 400, "malformed-request")
    assert detail(event, "fault") in {"wire", "path-not-origin-form"}


SPELLINGS = [
    # D03 D11: every spelling that some server would take for patient 1001.
    "/dossiers/1001/", "/DOSSIERS/1001", "/Dossiers/1001", "/dossiers/%31001", "/d%6fssiers/1001",
    "/dossiers/0001001", "/dossiers/1001%20", "/dossiers/%201001", "/dossiers/%EF%BC%91%EF%BC%90%EF%BC%90%EF%BC%91",
    "/fiches/1001", "/fiches/1001/", "/FICHES/01001", "/fiches/1001.json", "/fiches/1001.", "/fiches/1001%20",
    "/fiches/1001./", "/fiches/1001.json/", "/fiches/1001%20%20", "/fiches/1001.json.",
    "/fiche?id=1001", "/fiche?id=01001", "/fiche?x=/static/app.css&id=1001", "/fiche?id=%31001", "/fiche/?id=1001",
    # D05: a query takes no part in skipping rules (GHSA-7rh7-c77v-6434).
    "/dossiers/1001?x=/static/app.css", "/dossiers/1001?/static/app.css", "/dossiers/1001?.css", "/dossiers/1001?",
]  # fmt: skip


@pytest.mark.parametrize("target", SPELLINGS)
async def test_another_spelling_of_a_patient(
    gate: Stand, cookies: dict[str, str], patient: str, target: str
) -> None:
    """D03 D05 D11: without session nothing; with one, the same patient in the log, or nothing at all."""
    stranger = await attempt(gate, raw(target=target))
    assert stranger.app_bytes == b""
    assert stranger.status in {400, 401}
    assert stranger.event["reason"] in {"alias-of-protected", "no-session"}
    inside = await attempt(gate, raw(target=target, cookies=cookies))
    if inside.status == 200:
        assert b"Patient1001" in inside.answer.raw
        assert [(event["kind"], event["patients"]) for event in inside.events] == [("access", [patient])]
    elif inside.status == 404:
        # The app itself does not take it for a record: a probe, and nobody named.
        assert b" NOM" not in inside.answer.raw
        assert detail(inside.event, "probe") == "true"
    else:
        assert_refused(inside, 400, "alias-of-protected")


@pytest.mark.parametrize("ending", [".json", ".", "%20", ".json/", ".x.y"])
async def test_a_catch_all_is_no_way_around(gate: Stand, ending: str) -> None:
    """D10: the permissive door after the specific one does not take other spellings of the specific one."""
    # Naive: the catch-all fits, so the record leaves as a page that nobody counts.
    outcome = await attempt(gate, raw(target=f"/fiches/1001{ending}", host=SECOND_HOST))
    assert_refused(outcome, 400, "alias-of-protected")


async def test_the_catch_all_takes_what_is_its_own(gate: Stand) -> None:
    """D10, the honest neighbour: files with endings, and pages that only look a little alike."""
    browser = await gate.log_in(NURSE_BEN, gate.browser(host=SECOND_HOST))
    for path in ("/guide.html", "/fiches/aide.html", "/static/1001.css", "/"):
        got = await browser.get(path)
        assert got.status in {200, 404}, (path, got.status, got.text[:200])
        assert gate.app.seen[-1].path == path


@pytest.mark.parametrize(
    ("target", "reason", "status"),
    [
        ("/admin/users", "route-blocked", 403),
        ("/ADMIN/users", "route-blocked", 403),
        ("/nulle-part", "route-blocked", 403),
        ("/dossiers/1001/export", "route-blocked", 403),
        # D06: an encoded question mark stays part of the path, here and upstream (CVE-2026-32811).
        ("/dossiers/1001%3F/static/app.css", "route-blocked", 403),
        ("/static%3F/../x", "malformed-request", 400),
        ("/.ecluse%2fcode", "malformed-request", 400),
    ],
)
async def test_what_no_rule_names(
    gate: Stand, cookies: dict[str, str], target: str, reason: str, status: int
) -> None:
    """D06 D10: nothing is allowed because nobody thought of it."""
    for jar in ({}, cookies):
        assert_refused(await attempt(gate, raw(target=target, cookies=jar)), status, reason)


async def test_explain_names_the_rule(gate: Stand) -> None:
    """D10: the same rules, told."""
    policy = gate.loaded.policy
    told = explain(policy, method="GET", url=f"http://{HOST}/nulle-part", asker=Asker())
    assert any("otherwise" in line for line in told.lines), told.lines
    told = explain(policy, method="GET", url=f"http://{SECOND_HOST}/fiches/1001.json", asker=Asker())
    assert any("alias-of-protected" in line for line in told.lines), told.lines


async def test_a_public_door_opens_to_its_own_letters_only(gate: Stand, cookies: dict[str, str]) -> None:
    """D06: what goes upstream is what was judged, and goes without anybody's cookies."""
    for target in ("/static/app.css", "/static/x%3Fa=b/c", "/static/a%20b.css", "/static/dossiers/1001"):
        outcome = await attempt(gate, raw(target=target, cookies=cookies))
        assert outcome.status in {200, 404}, outcome.answer.raw[:200]
        (seen,) = outcome.requests
        assert (seen.path, seen.cookies) == (target, {})
        assert outcome.events == ()
    assert_refused(await attempt(gate, raw(target="/STATIC/app.css")), 403, "route-blocked")


UNKNOWN_HOSTS = [
    "autre.example", "127.0.0.1", "[::1]", "localhost", "mitm.it", "evil-parcours.example",
    f"{HOST}.evil.example", "xn--prcours-hya.example", "example", f"www.{HOST}",
]  # fmt: skip


@pytest.mark.parametrize("host", UNKNOWN_HOSTS)
async def test_a_host_nobody_configured(gate: Stand, cookies: dict[str, str], host: str) -> None:
    """D08 D09: 421, and never the first app; mitm.it brings no certificate."""
    # Naive: mitmproxy's reverse mode forwards any Host, and its onboarding answers mitm.it itself.
    event = assert_refused(await attempt(gate, raw(host=host, cookies=cookies)), 421, "unknown-host")
    assert "app" not in event


@pytest.mark.parametrize(
    "host",
    [
        f"{HOST}:0", f"{HOST}:65536", f"{HOST}:", f"{HOST}:80:80", f"{HOST}/", f"{HOST}@evil.example",
        f"a@{HOST}", "par cours.example", "", "..", f"{HOST}..", "[::1", "[::1%25eth0]", "parcours,example",
        b"parcours.ex\xd0\xb0mple", f"{HOST}#", f"{HOST}?", "-", f"{'a' * 300}.example",
    ],
)  # fmt: skip
async def test_a_host_with_two_readings(gate: Stand, cookies: dict[str, str], host: str | bytes) -> None:
    """D08: 400, nothing upstream."""
    outcome = await attempt(gate, raw(host=host, cookies=cookies))
    assert outcome.status in {400, 421}
    assert outcome.app_bytes == b""
    assert outcome.event["reason"] in {"malformed-request", "unknown-host"}


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}.", f"{HOST}:8443", f"{HOST.title()}.:443"])
async def test_the_same_host_otherwise_written(
    gate: Stand, cookies: dict[str, str], patient: str, host: str
) -> None:
    """D08: one app, the same rules, one canonical Host upstream."""
    assert (await attempt(gate, raw(host=host))).event["reason"] == "no-session"
    outcome = await attempt(gate, raw(host=host, cookies=cookies))
    assert outcome.status == 200
    assert outcome.event["patients"] == [patient]
    assert (outcome.requests[0].header("host") or "").partition(":")[0] == HOST


JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
MULTI = "Content-Type: multipart/form-data; boundary=x"
SEVERAL = [
    # D12: every value counts, or the request does not pass; the app here takes the last one it finds.
    ("GET", "/fiche?id=1001&id=1002", "", b""),
    ("GET", "/fiche?id=1001&id[]=1002", "", b""),
    ("GET", "/fiche?id=1001&%69d=1002", "", b""),
    ("POST", "/fiche?id=1001", FORM, b"id=1002"),
    ("POST", "/fiche", FORM, b"id=1001&id=1002"),
    ("POST", "/fiche?id=1001", MULTI, b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n1002\r\n--x--\r\n'),
    ("POST", "/recherche", JSON, b'{"id": 1001, "id": 1002}'),
    ("POST", "/recherche", JSON, b'{"id": 1001, "\\u0069d": 1002}'),
    ("POST", "/recherche", JSON, b'{"id": [1001, 1002]}'),
    ("POST", "/recherche", JSON, b'{"id": "1001"} {"id": 1002}'),
]  # fmt: skip


WAYS = [
    ("GET", "/fiche?id=1001", "", b""),
    ("GET", "/fiche?id=0001001", "", b""),
    ("POST", "/fiche", FORM, b"id=%31001"),
    ("POST", "/fiche", MULTI, b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n1001\r\n--x--\r\n'),
    ("POST", "/recherche", JSON, b'{"id": 1001}'),
    ("POST", "/recherche", JSON, b'{"id": "\\u0031001"}'),
    ("POST", "/graphql", JSON, b'{"query": "query($id: ID) {p(id: $id) {nom}}", "variables": {"id": "1001"}}'),
    ("GET", "/entete", "X-Patient: 1001", b""),
    ("GET", "/codes/MTAwMQ==", "", b""),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "line", "body"), WAYS)
async def test_a_patient_asked_for_otherwise_is_the_same_patient(
    gate: Stand, cookies: dict[str, str], patient: str, method: str, target: str, line: str, body: bytes
) -> None:
    """D11: query, form, parts, JSON, variables of a query, a header, a code: one pseudonym, counted once."""
    lines = (line,) if line else ()
    stranger = await attempt(gate, raw(method, target, *lines, body=body))
    assert (stranger.status, stranger.app_bytes, stranger.event["reason"]) == (401, b"", "no-session")
    charged = f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:opened"
    before = await gate.services.store.execute("ZCARD", charged)
    outcome = await attempt(gate, raw(method, target, *lines, cookies=cookies, body=body))
    assert (outcome.status, b"Patient1001" in outcome.answer.raw) == (200, True), outcome.answer.raw[:300]
    assert [event["patients"] for event in outcome.events if event["kind"] == "access"] == [[patient]]
    assert await gate.services.store.execute("ZCARD", charged) == before


async def test_an_identifier_in_any_case_is_one(gate: Stand, cookies: dict[str, str]) -> None:
    """D11: a UUID in capitals, in small letters, with and without its hyphens."""
    uuid = "0b1e4b7c-8f5d-4c6e-9a3b-2d1f0e9c8b7a"
    charged = f"ecluse:{{{gate.ref(DR_MARTIN.login).id}}}:opened"
    before = await gate.services.store.execute("ZCARD", charged)
    named = set()
    for spelt in (uuid, uuid.upper(), uuid.replace("-", ""), uuid.title()):
        outcome = await attempt(gate, raw(target=f"/personnes/{spelt}", cookies=cookies))
        assert outcome.status == 200, outcome.answer.raw[:300]
        named |= set(outcome.event["patients"])
    assert len(named) == 1
    assert await gate.services.store.execute("ZCARD", charged) == before + 1


@pytest.mark.parametrize(("method", "target", "kind", "body"), SEVERAL)
async def test_several_values_for_one_patient(
    gate: Stand, cookies: dict[str, str], patient: str, method: str, target: str, kind: str, body: bytes
) -> None:
    """D11 D12: whom the answer shows is among those charged and recorded, or it stays here."""
    shown = await attempt(gate, raw(target="/dossiers/1002", cookies=cookies))
    (second,) = shown.event["patients"]
    lines = (kind,) if kind else ()
    outcome = await attempt(gate, raw(method, target, *lines, cookies=cookies, body=body))
    if b"Patient1002" in outcome.answer.raw:
        (access,) = [event for event in outcome.events if event["kind"] == "access"]
        assert second in access["patients"], access
    elif b"Patient1001" in outcome.answer.raw:
        (access,) = [event for event in outcome.events if event["kind"] == "access"]
        assert patient in access["patients"], access
    else:
        assert outcome.status in {400, 404, 502}, outcome.answer.raw[:300]
        assert outcome.events

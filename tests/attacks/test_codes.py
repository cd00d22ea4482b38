"""Ways through the code page without the authenticator (H01 to H17), each tried at the door."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import pytest_asyncio

from gateway import telemetry
from tests.attacks.factor import (
    about,
    ask_store,
    crowded,
    is_specific,
    silent,
    time_stands,
    type_code,
)
from tests.people import Person
from tests.stand import Got, Stand, form_token

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _behind_a_proxy(config: dict[str, Any]) -> None:
    config["gateway"]["trusted_proxies"] = ["127.0.0.1/32"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with crowded(tmp_path_factory.mktemp("codes"), _behind_a_proxy) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(gate: Stand, people: Iterator[Person]) -> Person:
    """Somebody enrolled."""
    found = next(people)
    await gate.enrol(found)
    return found


def opened(got: Got) -> bool:
    """Tell whether the answer handed the parked one over."""
    return got.status in {302, 303} and got.header("location") == "/"


def worded(got: Got) -> str:
    """Return a page without what differs each time."""
    return re.sub(r'name="token" value="[^"]+"', "", got.text)


def wrong(code: str) -> str:
    """Return a code that is certainly not *code*."""
    return f"{(int(code) + 500_000) % 1_000_000:06}"


async def failures(gate: Stand, person: Person) -> int:
    """Return how many failures the account has reserved."""
    account = await gate.services.accounts.get(gate.ref(person.login).id)
    assert account is not None
    return account.failures


async def test_h01_a_code_serves_once(gate: Stand, person: Person) -> None:
    """H01 CVE-2025-43798: whoever looked over the shoulder types the same code within its window."""
    with time_stands(gate):
        code = gate.code(person)
        assert (await (await gate.log_in(person, code=code)).get("/dossiers/1001")).status == 200
        thief = await gate.password_only(person)
        with silent(gate):
            got = await type_code(thief, code)
            assert got.status == 403
            assert (await thief.get("/dossiers/1001")).header("location") == "/.ecluse/code"
            wrongly = await type_code(thief, wrong(code))
        # The page does not tell that the code was right a moment ago.
        assert (got.status, worded(got)) == (wrongly.status, worded(wrongly))
    refused = await about(gate, "code-refused", person)
    assert [entry["detail"]["why"] for entry in refused] == ["replayed", "wrong"]
    assert all(is_specific(entry, person) for entry in refused)


@pytest.mark.parametrize(
    "spelling", ["{0} {1}", " {0}{1} ", "{0}\u00a0{1}"], ids=["gap", "around", "no-break"]
)
async def test_h02_blanks_around_digits_are_pardoned(gate: Stand, person: Person, spelling: str) -> None:
    """H02 The honest neighbour: authenticator apps show 123 456, and people copy it so. Still good only once."""
    with time_stands(gate):
        code = gate.code(person)
        browser = await gate.password_only(person)
        assert opened(await type_code(browser, spelling.format(code[:3], code[3:])))
        thief = await gate.password_only(person)
        with silent(gate):
            assert (await type_code(thief, code)).status == 403
    [refused] = await about(gate, "code-refused", person)
    assert refused["detail"]["why"] == "replayed"
    assert is_specific(refused, person)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda code: "".join(chr(0xFF10 + int(digit)) for digit in code),  # pyotp folds these by NFKC
        lambda code: "".join(chr(0x0660 + int(digit)) for digit in code),
        lambda code: code + "\n",
        lambda code: "\t" + code,
        lambda code: code[:3] + "\u2009" + code[3:],
        lambda code: code[:3] + "-" + code[3:],
        lambda code: "+" + code,
        lambda code: code + ".0",
        lambda code: "0" + code,
        lambda code: code[:-1],
        lambda code: code + "\x00",
        lambda code: "\u200b" + code,
        lambda code: hex(int(code)),
    ],
    ids=[
        *("full-width", "arabic", "line-feed", "tab", "thin-space", "hyphen", "plus", "decimal", "zero"),
        *("short", "nul", "zero-width", "hex"),
    ],
)
async def test_h02_another_spelling_of_a_right_code_is_wrong(
    gate: Stand, person: Person, disguise: Any
) -> None:
    """H02 pyotp accepts full-width digits, and a replay check that compares text is then passed by."""
    with time_stands(gate):
        browser = await gate.password_only(person)
        with silent(gate):
            got = await type_code(browser, disguise(gate.code(person)))
            assert got.status == 403
        assert opened(await type_code(browser, gate.code(person)))
    [refused] = await about(gate, "code-refused", person)
    assert refused["detail"]["why"] == "malformed"


async def test_h03_fifty_at_once_open_one_session(gate: Stand, person: Person) -> None:
    """H03 A check-then-set on the last step lets several through (Gitea's TOCTOU)."""
    with time_stands(gate):
        browsers = [await gate.password_only(person) for _ in range(3)]
        posts = []
        for browser in browsers:
            page = await browser.get("/.ecluse/code")
            form = {"code": gate.code(person), "token": form_token(page)}
            for _ in range(17):
                other = gate.browser()
                other.cookies = dict(browser.cookies)
                posts.append((other, form))
        answers = await asyncio.gather(*(other.post("/.ecluse/code", form) for other, form in posts))
        assert sum(opened(got) for got in answers) == 1
        assert len(await about(gate, "code-accepted", person)) == 1
        assert len(await about(gate, "session-opened", person)) == 1
        assert {entry["detail"]["why"] for entry in await about(gate, "code-refused", person)} <= {
            "replayed",
            "delayed",
        }
        winner = next(other for (other, _), got in zip(posts, answers, strict=True) if opened(got))
        assert (await winner.get("/dossiers/1001")).status == 200
        with silent(gate):
            for (other, _), got in zip(posts, answers, strict=True):
                if not opened(got):
                    other.cookies.pop("sid", None)
                    assert (await other.get("/dossiers/1001")).status != 200
                    break


async def test_h04_an_older_step_is_refused_after_a_newer_one(gate: Stand, person: Person) -> None:
    """H04 RFC 6238, 5.2: the step before is still in its window, but time does not run backwards."""
    with time_stands(gate):
        await gate.log_in(person)
        thief = await gate.password_only(person)
        with silent(gate):
            assert (await type_code(thief, gate.code(person, -1))).status == 403
    [refused] = await about(gate, "code-refused", person)
    assert refused["detail"]["why"] == "replayed"


@pytest.mark.parametrize(("step", "opens"), [(0, True), (-1, True), (-2, False), (1, False), (-6, False)])
async def test_h05_h16_only_this_step_and_the_one_before(
    gate: Stand, person: Person, step: int, opens: bool
) -> None:
    """H05 H16 A window of three minutes was enough for AuthQuake; ours is a minute, and never ahead."""
    with time_stands(gate):
        browser = await gate.password_only(person)
        with nullcontext() if opens else silent(gate):
            assert opened(await type_code(browser, gate.code(person, step))) is opens
            assert opens or (await browser.get("/dossiers/1001")).status == 303
    assert len(await about(gate, "code-accepted", person)) == int(opens)
    refused = await about(gate, "code-refused", person)
    assert [entry["detail"]["why"] for entry in refused] == ([] if opens else ["wrong"])
    assert all(is_specific(entry, person) for entry in refused)


async def test_h05_a_node_whose_clock_is_off_opens_nothing_more(gate: Stand, person: Person) -> None:
    """H05 A node 45 s ahead refuses what its clock refuses, and a code is used up on all nodes."""
    with time_stands(gate):
        code = gate.code(person)
        await gate.log_in(person, code=code)
    with time_stands(gate, after_s=30):
        thief = await gate.password_only(person)
        with silent(gate):
            assert (await type_code(thief, code)).status == 403
            assert (await thief.get("/dossiers/1001")).status == 303
    [refused] = await about(gate, "code-refused", person)
    assert refused["detail"]["why"] == "replayed"
    assert is_specific(refused, person)


async def test_h06_failures_survive_a_new_login(gate: Stand, person: Person) -> None:
    """H06 Logging in again between tries does not give the tries back."""
    with time_stands(gate):
        bad = wrong(gate.code(person))
        statuses = []
        for _ in range(3):
            thief = await gate.password_only(person)
            with silent(gate):
                for _ in range(2):
                    got = await type_code(thief, bad)
                    statuses.append(got.status)
        assert statuses == [403] * 5 + [429]
        with silent(gate):
            waits = await type_code(thief, gate.code(person))
        assert waits.status == 429
        assert 1 <= int(waits.header("retry-after") or "0") <= 30
    assert await failures(gate, person) == 5
    refused = await about(gate, "code-refused", person)
    assert [entry["detail"]["why"] for entry in refused] == ["wrong"] * 5 + ["delayed"] * 2
    assert all(is_specific(entry, person) for entry in refused)


async def test_h07_many_addresses_share_one_budget(gate: Stand, person: Person) -> None:
    """H07 A budget by address is none: the thief has a botnet."""
    with time_stands(gate):
        bad = wrong(gate.code(person))
        thief = await gate.password_only(person)
        page = await thief.get("/.ecluse/code")
        statuses = []
        with silent(gate):
            for last in range(8):
                got = await thief.post(
                    "/.ecluse/code",
                    {"code": bad, "token": form_token(page)},
                    X_Forwarded_For=f"203.0.113.{last + 1}",
                )
                statuses.append(got.status)
        assert statuses == [403] * 5 + [429] * 3
    refused = await about(gate, "code-refused", person)
    assert {entry["client"] for entry in refused} == {f"203.0.113.{last + 1}" for last in range(8)}


async def test_h08_spraying_shows_in_the_metrics(gate: Stand, people: Iterator[Person]) -> None:
    """H08 One try on each of many accounts: each has its budget, and the rate of refusals is countable."""
    before = _codes_refused()
    with time_stands(gate):
        for _ in range(4):
            person = next(people)
            await gate.enrol(person)
            thief = await gate.password_only(person)
            with silent(gate):
                assert (await type_code(thief, wrong(gate.code(person)))).status == 403
            [refused] = await about(gate, "code-refused", person)
            assert is_specific(refused, person)
    assert _codes_refused() == before + 4


def _codes_refused() -> float:
    value = telemetry.REGISTRY.get_sample_value(
        "ecluse_codes_total", {"realm": "region", "outcome": "refused"}
    )
    return value or 0.0


async def test_h09_parallel_guesses_do_not_outrun_the_budget(gate: Stand, person: Person) -> None:
    """H09 CVE-2026-27801: forty wrong codes at once, counted after they were compared."""
    with time_stands(gate):
        bad = wrong(gate.code(person))
        thief = await gate.password_only(person)
        page = await thief.get("/.ecluse/code")
        posts = []
        for _ in range(40):
            other = gate.browser()
            other.cookies = dict(thief.cookies)
            posts.append(other.post("/.ecluse/code", {"code": bad, "token": form_token(page)}))
        with silent(gate):
            statuses = [got.status for got in await asyncio.gather(*posts)]
        # 5 were looked at; among them, those answered after the fifth was reserved already tell to wait.
        assert set(statuses) <= {403, 429}
    refused = await about(gate, "code-refused", person)
    looked_at = [entry for entry in refused if entry["detail"]["why"] == "wrong"]
    assert len(refused) == 40
    assert len(looked_at) == 5
    assert await failures(gate, person) == 5


@pytest.mark.parametrize(
    ("extra", "headers"),
    [
        ({"login": "agent00"}, {}),
        ({"account": "agent00", "user": "agent00", "email": "a@b.example"}, {}),
        ({}, {"X_Remote_User": "agent00", "Remote_User": "agent00"}),
        ({}, {"X_Ecluse_Account": "agent00"}),
    ],
    ids=["login", "more-fields", "remote-user", "own-header"],
)
async def test_h10_the_budget_is_the_sessions_account(
    gate: Stand, person: Person, extra: dict[str, str], headers: dict[str, str]
) -> None:
    """H10 CVE-2025-64526: the key of the lock is made from a field that the attacker chooses."""
    with time_stands(gate):
        thief = await gate.password_only(person)
        page = await thief.get("/.ecluse/code")
        form = {"code": wrong(gate.code(person)), "token": form_token(page), **extra}
        with silent(gate):
            assert (await thief.post("/.ecluse/code", form, **headers)).status == 403
    assert await failures(gate, person) == 1
    [refused] = await about(gate, "code-refused", person)
    assert is_specific(refused, person)


async def test_h11_h12_wrong_passwords_lock_nobody_out(gate: Stand, person: Person) -> None:
    """H12 Sixty wrong passwords, which cost the attacker nothing, leave the doctor's codes alone."""
    with time_stands(gate):
        attacker = gate.browser()
        await attacker.get("/login")
        for _ in range(12):
            got = await attacker.post("/login", {"user": person.login, "password": "essai"})
            assert (got.status, "incorrect" in got.text) == (200, True)
        assert await failures(gate, person) == 0
        assert (await (await gate.log_in(person)).get("/dossiers/1001")).status == 200
    failed = await about(gate, "login-failed", person)
    assert len(failed) == 12
    assert is_specific(failed[0], person)


async def test_h11_a_lock_is_not_seen_without_the_password(gate: Stand, people: Iterator[Person]) -> None:
    """H11 Locked, active, invited and unknown accounts answer a wrong password alike, the app's own words."""
    locked, active, invited, unknown = (next(people) for _ in range(4))
    await gate.enrol(locked)
    await gate.services.accounts.lock(gate.ref(locked.login).id, "essai")
    await gate.enrol(active)
    await gate.invite(invited)
    seen = set()
    for who in (locked, active, invited, unknown):
        stranger = gate.browser()
        await stranger.get("/login")
        got = await stranger.post("/login", {"user": who.login, "password": "essai"})
        names = tuple(name for name, _ in got.headers)
        seen.add((got.status, got.text, names))
    assert len(seen) == 1
    # What the page keeps to itself stands in the log, for those an operator knows.
    for who in (locked, active, invited):
        [failed] = await about(gate, "login-failed", who)
        assert is_specific(failed, who)
    assert await about(gate, "login-failed", unknown) == []


async def test_h11_waiting_tells_nothing_of_the_code(gate: Stand, person: Person) -> None:
    """H11 While the account waits, the right code and a wrong one get one page, one status and one set of headers."""
    with time_stands(gate):
        code = gate.code(person)
        thief = await gate.password_only(person)
        for _ in range(5):
            await type_code(thief, wrong(code))
        with silent(gate):
            right, false = await type_code(thief, code), await type_code(thief, wrong(code))
        assert (right.status, worded(right)) == (false.status, worded(false))
        assert [name for name, _ in right.headers] == [name for name, _ in false.headers]
        assert right.status == 429
    refused = await about(gate, "code-refused", person)
    assert [entry["detail"]["why"] for entry in refused[-2:]] == ["delayed"] * 2
    assert await about(gate, "code-accepted", person) == []


async def test_h13_the_pending_session_reads_nothing(gate: Stand, person: Person) -> None:
    """H13 The code page is skipped: every door behind it stays shut, for browsers and for programs."""
    thief = await gate.password_only(person)
    with silent(gate):
        for method, path in (
            ("GET", "/"),
            ("GET", "/dossiers/1001"),
            ("HEAD", "/dossiers/1001"),
            ("POST", "/dossiers/1001"),
            ("GET", "/api/dossiers?size=50"),
            ("GET", "/export.csv"),
            ("GET", "/DOSSIERS/1001"),
            ("GET", "/logout"),
        ):
            got = await thief.request(method, path)
            assert got.status in {303, 401}, (method, path)
        program = gate.browser(accept="application/json")
        program.cookies = dict(thief.cookies)
        got = await program.get("/api/dossiers")
        assert (got.status, got.header("content-type")) == (401, "application/problem+json")
        assert got.json()["prompt"] == "/.ecluse/code"
    challenged = await about(gate, "challenged", person, reason="code-owed")
    assert len(challenged) == 9
    assert is_specific(challenged[0], person)


async def test_h13_the_code_of_one_account_opens_no_other(gate: Stand, people: Iterator[Person]) -> None:
    """H13 The thief enrolled an account of his own, and types its code in the victim's session."""
    victim, thief = next(people), next(people)
    await gate.enrol(victim)
    await gate.enrol(thief)
    with time_stands(gate):
        browser = await gate.password_only(victim)
        own = await gate.password_only(thief)
        own_page = await own.get("/.ecluse/code")
        with silent(gate):
            assert (await type_code(browser, gate.code(thief))).status == 403
            crossed = await browser.post(
                "/.ecluse/code", {"code": gate.code(victim), "token": form_token(own_page)}
            )
            assert crossed.status == 403
            assert (await browser.get("/dossiers/1001")).status == 303
    [refused] = await about(gate, "code-refused", victim)
    assert refused["detail"]["why"] == "wrong"
    [crossing] = await about(gate, "refused", victim, reason="form-refused", rule="code")
    assert is_specific(refused, victim)
    assert is_specific(crossing, victim)
    assert await about(gate, "code-accepted", victim) == []


@pytest.mark.parametrize(
    ("body", "kind", "counted"),
    [
        (b"", "application/x-www-form-urlencoded", 0),
        (b"token={token}", "application/x-www-form-urlencoded", 1),
        (b"token={token}&code=", "application/x-www-form-urlencoded", 1),
        (b"token={token}&code={code}&code={code}", "application/x-www-form-urlencoded", 0),
        (b"token={token}&code={code}&code[]={code}", "application/x-www-form-urlencoded", 0),
        (b"token={token}&code=%00%ff%fe", "application/x-www-form-urlencoded", None),
        (b"token={token}&code=" + b"1" * 9_000, "application/x-www-form-urlencoded", 0),
        (b'{"token": "{token}", "code": null}', "application/json", 0),
        (b'{"token": "{token}", "code": ["{code}"]}', "application/x-www-form-urlencoded", 0),
        (b"token={token}&code={code}", "multipart/form-data; boundary=x", 0),
        (b"token={token}&code={code}", "text/plain", 0),
    ],
    ids=[
        *("nothing", "no-code", "empty", "twice", "array", "not-utf-8", "long", "json", "json-as-form"),
        *("multipart", "plain"),
    ],
)
async def test_h14_odd_forms_are_refused_without_a_fault(
    gate: Stand, person: Person, body: bytes, kind: str, counted: int | None
) -> None:
    """H14 Empty, missing, doubled, typed otherwise: refused and no exception, with the right code in it or not."""
    faults = telemetry.REGISTRY.get_sample_value("ecluse_hook_faults_total")
    with time_stands(gate):
        thief = await gate.password_only(person)
        page = await thief.get("/.ecluse/code")
        sent = body.replace(b"{token}", form_token(page).encode()).replace(
            b"{code}", gate.code(person).encode()
        )
        with silent(gate):
            got = await thief.request("POST", "/.ecluse/code", body=sent, headers={"Content-Type": kind})
            assert got.status == 403
        if counted is not None:
            assert await failures(gate, person) == counted
        told = await about(gate, "code-refused", person) + await about(gate, "refused", person, status=403)
        assert len(told) == 1
        assert is_specific(told[0], person)
        assert told[0].get("reason") == "form-refused" or told[0]["detail"]["why"] == "malformed"
        assert opened(await type_code(thief, gate.code(person)))
    assert telemetry.REGISTRY.get_sample_value("ecluse_hook_faults_total") == faults


async def test_h14_ten_megabytes_of_code_are_not_read(gate: Stand, person: Person) -> None:
    """H14 The size bound of requests holds for our own pages too."""
    thief = await gate.password_only(person)
    with silent(gate):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        cookie = "; ".join(f"{name}={value}" for name, value in thief.cookies.items())
        head = f"POST /.ecluse/code HTTP/1.1\r\nHost: {thief.host}\r\nCookie: {cookie}\r\n"
        writer.write(f"{head}Content-Length: 10500000\r\n\r\ncode=111".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()
    assert await failures(gate, person) == 0
    refused = (await about(gate, "refused", status=413))[-1]
    assert (refused["reason"], refused["detail"]["fault"]) == ("malformed-request", "wire")
    assert is_specific(refused)


async def test_h15_guessing_until_the_lock_is_hopeless(gate: Stand) -> None:
    """H15 Two codes of a million are right at any time, and the account locks: under one in a thousand."""
    budget = gate.loaded.policy.realms["region"].budget
    assert budget.lock_at * 2 / 1_000_000 < 1e-3
    waits = [
        min(budget.longest_delay_s, budget.first_delay_s * 2 ** (failures - budget.free))
        for failures in range(budget.free, budget.lock_at)
    ]
    assert sum(waits) > 86_400


async def test_h17_a_secret_moved_to_another_account_opens_nothing(
    gate: Stand, people: Iterator[Person]
) -> None:
    """H17 Who can write in the store copies his own sealed secret onto the victim's account."""
    victim, thief = next(people), next(people)
    await gate.enrol(victim)
    await gate.enrol(thief)
    source, target = (f"ecluse:{{{gate.ref(who.login).id}}}:account" for who in (thief, victim))
    sealed = await ask_store(gate, "HGET", source, "secret")
    await ask_store(gate, "HSET", target, "secret", sealed)
    with time_stands(gate):
        browser = await gate.password_only(victim)
        with silent(gate):
            got = await type_code(browser, gate.code(thief))
            assert got.status == 503
            assert (await browser.get("/dossiers/1001")).status == 303
    assert await about(gate, "code-accepted", victim) == []
    [fault] = await about(gate, "fail-closed", victim)
    assert is_specific(fault, victim)


@pytest.mark.parametrize("at_once", [False, True], ids=["one-by-one", "at-once"])
async def test_h09_the_lock_is_recorded_once_and_holds(gate: Stand, person: Person, at_once: bool) -> None:
    """H06 H09 The fiftieth failure locks, also when a dozen guesses race for it."""
    key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
    await ask_store(gate, "HSET", key, "failures", "49", "next_try_ms", "0")
    with time_stands(gate):
        bad = wrong(gate.code(person))
        thief = await gate.password_only(person)
        page = await thief.get("/.ecluse/code")

        async def guess() -> Got:
            other = gate.browser()
            other.cookies = dict(thief.cookies)
            return await other.post("/.ecluse/code", {"code": bad, "token": form_token(page)})

        if at_once:
            await asyncio.gather(*(guess() for _ in range(12)))
        else:
            for _ in range(3):
                await guess()
        account = await gate.services.accounts.get(gate.ref(person.login).id)
        assert account is not None
        assert account.standing.value == "locked"
        [locked] = await about(gate, "account-locked", person)
        assert is_specific(locked, person)
        assert locked["detail"]["why"] == "failure-budget"
        # Nothing of the account opens any more, and the person is told whom to call.
        with silent(gate):
            assert (await thief.get("/.ecluse/code")).status == 303
        back = gate.browser()
        await back.get("/login")
        got = await back.post("/login", {"user": person.login, "password": person.password})
        assert got.status == 403
        assert "auth" not in "".join(got.set_cookies().values())
        assert "assistance" in got.text
        await gate.services.accounts.unlock(gate.ref(person.login).id)
        again = await gate.password_only(person)
        assert opened(await type_code(again, gate.code(person)))


async def test_h17_tries_that_break_off_lock_too_and_the_lock_is_recorded(
    gate: Stand, person: Person
) -> None:
    """H17 A secret that does not unseal lets nobody in; its tries are paid for, and the lock is told."""
    key = f"ecluse:{{{gate.ref(person.login).id}}}:account"
    await ask_store(gate, "HSET", key, "failures", "49", "next_try_ms", "0", "secret", "broken")
    with time_stands(gate):
        thief = await gate.password_only(person)
        with silent(gate):
            assert (await type_code(thief, "123456")).status == 503
            await ask_store(gate, "HSET", key, "next_try_ms", "0")
            assert (await type_code(thief, "123456")).status == 403
    [locked] = await about(gate, "account-locked", person)
    assert locked["detail"]["why"] == "failure-budget"

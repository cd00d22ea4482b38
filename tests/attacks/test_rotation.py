"""Keys that leaked, or grew old, are replaced: what a thief makes with them is worth nothing, nobody else notices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt

from gateway.configuration import load_keys, rotate_key
from gateway.configuration.keys import drop_key
from gateway.sessions import token
from gateway.vocabulary.identity import SessionClaims
from tests.people import DR_MARTIN
from tests.stand import Browser, MiniApp, Stand, stand


@asynccontextmanager
async def started_again(
    folder: Path, app: MiniApp, cookies: dict[str, str]
) -> AsyncIterator[tuple[Stand, Browser]]:
    """Start the gateway on what it left in *folder*; give it and a browser with the *cookies* of before."""
    async with stand(folder, app) as gate:
        browser = gate.browser()
        browser.cookies = dict(cookies)
        yield gate, browser


async def shut_out(gate: Stand, browser: Browser, reason: str) -> None:
    """Hold that *browser* gets no record, that the app hears nothing, and that the log tells *reason*."""
    before = len(gate.app.bytes)
    got = await browser.get("/dossiers/1001")
    assert (got.status, got.header("location")) == (303, "/login")
    assert len(gate.app.bytes) == before
    assert (await gate.events("challenged"))[-1]["reason"] == reason


async def test_a_new_key_logs_nobody_out_and_a_dropped_one_opens_nothing(tmp_path: Path) -> None:
    """N04 Old cookies stay good while the old key is held; then neither they nor what a thief signs with it count."""
    app, keys = MiniApp(), tmp_path / "keys"
    async with stand(tmp_path, app) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
    leaked = load_keys(keys).session
    rotate_key(keys, "session", "fresh1")
    async with started_again(tmp_path, app, cookies) as (_, browser):
        assert "Patient1001" in (await browser.get("/dossiers/1001")).text
        assert jwt.get_unverified_header(browser.cookies["__Host-ecluse"])["kid"] == leaked.current
    drop_key(keys, "session", leaked.current)
    async with started_again(tmp_path, app, cookies) as (gate, browser):
        await shut_out(gate, browser, "no-session")
        body = jwt.decode(cookies["__Host-ecluse"], options={"verify_signature": False})
        forged = token.issue(
            leaked, SessionClaims(body["sid"], body["sub"], "parcours", body["exp"]), body["iat"]
        )
        browser.cookies = {**cookies, "__Host-ecluse": forged}
        await shut_out(gate, browser, "no-session")


async def test_another_key_of_the_binding_asks_everybody_to_log_in_again(tmp_path: Path) -> None:
    """The app's cookies are known by hashes of the current key alone: no session outlives it."""
    app = MiniApp()
    async with stand(tmp_path, app) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
    rotate_key(tmp_path / "keys", "binding", "fresh1")
    async with started_again(tmp_path, app, cookies) as (gate, browser):
        await shut_out(gate, browser, "binding-broken")


async def test_an_assertion_is_readable_before_and_after_a_new_key(tmp_path: Path) -> None:
    """N04 Published first, used next, dropped last: an app that keeps the key set a while meets no unknown key."""
    app, keys = MiniApp(), tmp_path / "keys"
    used = []
    async with stand(tmp_path, app) as gate:
        cookies = (await gate.log_in(DR_MARTIN)).cookies
    old = load_keys(keys).assertion.current
    steps = (
        lambda: rotate_key(keys, "assertion", "fresh1", make_current=False),
        lambda: rotate_key(keys, "assertion", "fresh1"),
        lambda: drop_key(keys, "assertion", old),
    )
    published: list[set[str]] = []
    for step in steps:
        step()
        async with started_again(tmp_path, app, cookies) as (gate, browser):
            assert (await browser.get("/dossiers/1001")).status == 200
            made = gate.app.seen[-1].header("x-ecluse-assertion") or ""
            kid = jwt.get_unverified_header(made)["kid"]
            used.append(kid)
            document = (await browser.get("/.ecluse/jwks.json")).json()
            published.append({key["kid"] for key in document["keys"]})
            (key,) = [each for each in jwt.PyJWKSet.from_dict(document).keys if each.key_id == kid]
            claims = jwt.decode(made, key, algorithms=["EdDSA"], audience="parcours", issuer="ecluse.test")
            assert claims["sub"] == DR_MARTIN.login
    assert used == [old, "fresh1", "fresh1"]
    assert published == [{old, "fresh1"}, {old, "fresh1"}, {"fresh1"}]

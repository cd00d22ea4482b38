"""What the app can check on its own: who came through the gateway, and whether with a code."""

from pathlib import Path
from typing import Any

import pytest

from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import Stand, stand
from tests.unit.test_assertion_sample import sample

SAMPLE = sample()
FORGED = {"X-Ecluse-Assertion": "forged"}


async def gate_of(gate: Stand) -> Any:
    published = await gate.browser().get("/.ecluse/jwks.json")
    return SAMPLE["Gate"](published.json(), "ecluse.test", "parcours")


def brought(gate: Stand, path: str) -> list[str | None]:
    return [seen.header("x-ecluse-assertion") for seen in gate.app.seen if seen.path == path]


async def test_the_sample_takes_what_comes_through_the_gate(tmp_path: Path) -> None:
    async with stand(tmp_path) as gate:
        browser = await gate.log_in(DR_MARTIN)
        assert (await browser.get("/dossiers/1001", **FORGED)).status == 200
        assert (await browser.get("/static/site.css", **FORGED)).status == 200
        (assertion,) = brought(gate, "/dossiers/1001")
        assert (await gate_of(gate)).login(assertion) == DR_MARTIN.login
        # Nobody is known yet at the login page, and nobody is wanted to be at a public door.
        assert set(brought(gate, "/login") + brought(gate, "/static/site.css")) == {None}


async def test_whoever_gave_no_code_is_not_said_to_have_given_one(tmp_path: Path) -> None:
    def roll_out(config: dict[str, Any]) -> None:
        config["realms"]["region"]["grace"] = {"until": "2099-01-01T00:00:00+01:00"}

    async with stand(tmp_path, changes=roll_out) as gate:
        browser = await gate.password_only(NURSE_BEN)
        await browser.get("/.ecluse/continue")
        assert (await browser.get("/dossiers/1001")).status == 200
        verifier, (assertion,) = await gate_of(gate), brought(gate, "/dossiers/1001")
        assert verifier.login(assertion, second_factor=False) == NURSE_BEN.login
        with pytest.raises(SAMPLE["NotThroughTheGate"]):
            verifier.login(assertion)

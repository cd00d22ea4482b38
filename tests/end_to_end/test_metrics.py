"""What Prometheus is told of one person's road, and of an app that does not answer."""

from pathlib import Path
from typing import Any

from gateway.telemetry import REGISTRY
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import Stand, stand

APP = {"app": "parcours"}


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def numbers() -> dict[str, float]:
    return {
        "requests": told(
            "ecluse_requests_total", **APP, kind="record", decision="forward", reason="session-full"
        ),
        "logins": told("ecluse_logins_total", **APP, outcome="success"),
        "failed logins": told("ecluse_logins_total", **APP, outcome="failure"),
        "codes": told("ecluse_codes_total", realm="region", outcome="accepted"),
        "entered": told("ecluse_store_seconds_count", call="ecluse_enter"),
        "revealed": told("ecluse_store_seconds_count", call="ecluse_reveal"),
        "recorded": told("ecluse_audit_seconds_count"),
        "answers": told("ecluse_upstream_seconds_count", **APP),
        "no answer": told("ecluse_upstream_failures_total", **APP),
    }


async def road(gate: Stand) -> None:
    other = gate.browser()
    await other.get("/login")
    await other.post("/login", {"user": NURSE_BEN.login, "password": "faux"})
    browser = await gate.log_in(DR_MARTIN)
    assert (await browser.get("/dossiers/1001")).status == 200


async def test_a_road_is_counted(tmp_path: Path) -> None:
    before = numbers()
    async with stand(tmp_path) as gate:
        await road(gate)
        spent = gate.app.seen
        after = numbers()
    moved = {name: after[name] - before[name] for name in after}
    once = {
        name: moved[name]
        for name in ("requests", "logins", "failed logins", "codes", "revealed", "no answer")
    }
    assert once == {
        "requests": 1, "logins": 1, "failed logins": 1, "codes": 1, "revealed": 1, "no answer": 0
    }  # fmt: skip
    assert moved["answers"] == len(spent)
    # The code page and its post, and the record.
    assert moved["entered"] >= 3
    # Password, code, session, access.
    assert moved["recorded"] == 4
    assert told("ecluse_upstream_seconds_sum", **APP) >= 0


async def test_an_app_that_does_not_answer_is_counted(tmp_path: Path) -> None:
    def nowhere(config: dict[str, Any]) -> None:
        config["apps"]["parcours"]["upstream"] = "http://127.0.0.1:1"

    before = told("ecluse_upstream_failures_total", **APP)
    async with stand(tmp_path, changes=nowhere) as gate:
        assert (await gate.browser().get("/login")).status == 502
        assert [event["reason"] for event in await gate.events("withheld")] == ["upstream-down"]
    assert told("ecluse_upstream_failures_total", **APP) == before + 1

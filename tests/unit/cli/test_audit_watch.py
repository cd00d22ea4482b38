"""``ecluse audit watch``: which reloads it follows, and how it begins."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway import telemetry
from gateway.alerts import OutboxRefused
from gateway.assembly.lookout import Lookout
from gateway.cli import audit_watch, main
from gateway.clock import SystemClock
from gateway.configuration import load, load_keys
from gateway.vocabulary.signals import Rules
from gateway.watching import Watcher
from tests.stand import write_config


class Judge:
    """A watcher that only remembers by which rules it was told to judge."""

    def __init__(self) -> None:
        self.applied: list[Rules] = []

    def apply(self, rules: Rules) -> None:
        self.applied.append(rules)


def lookout_of(path: Path) -> Lookout:
    loaded = load(path)
    return Lookout(
        policy=loaded.policy,
        settings=loaded.settings,
        keys=load_keys(loaded.settings.keys_dir),
        accounts=cast("Any", None),
        clock=SystemClock(),
        operator="sysop",
    )


def answer(lookout: Lookout, outcome: str) -> None:
    """Write *outcome* where the gateway writes how a reload ended."""
    lookout.settings.reload_file.parent.mkdir(exist_ok=True)
    lookout.settings.reload_file.write_text(outcome, "utf-8")


def changed(config: dict[str, Any]) -> None:
    config["signals"] = {"ask_at": 90}
    config["body"]["contact"] = "accueil"


def follow(judge: Judge, lookout: Lookout) -> None:
    audit_watch._follow_reload(cast("Watcher", judge), lookout)


@pytest.mark.parametrize("carries_id", [True, False])
def test_a_reload_in_force_is_followed(tmp_path: Path, *, carries_id: bool) -> None:
    lookout, judge = lookout_of(write_config(tmp_path, 1)), Judge()
    fresh = load(write_config(tmp_path, 1, changed))
    told = {"policy_id": fresh.policy.policy_id} if carries_id else {}
    answer(lookout, json.dumps({"loaded": True, **told, "faults": []}))
    follow(judge, lookout)
    assert lookout.policy.policy_id == fresh.policy.policy_id
    assert lookout.settings.rules == fresh.settings.rules
    assert judge.applied == [fresh.settings.rules]


@pytest.mark.parametrize(
    "outcome",
    [
        '{"loaded": false, "policy_id": "{before}", "faults": ["needs a restart: audit_dir"]}',
        '{"loaded": false, "policy_id": "{after}", "faults": ["the disk is full"]}',
        '{"loaded": true, "policy_id": "{before}", "faults": []}',
        '{"policy_id": "{after}"}',
        '{"loaded": "yes", "policy_id": "{after}"}',
        '{"loaded": tr',
        "[]",
        "",
    ],
)
def test_what_the_gateway_has_not_in_force_is_not_followed(tmp_path: Path, outcome: str) -> None:
    """A reload that was refused, files that were edited after it, and an answer nobody can read."""
    lookout, judge = lookout_of(write_config(tmp_path, 1)), Judge()
    policy, settings = lookout.policy, lookout.settings
    after = load(write_config(tmp_path, 1, changed)).policy.policy_id
    assert after != policy.policy_id
    answer(lookout, outcome.replace("{before}", policy.policy_id).replace("{after}", after))
    follow(judge, lookout)
    assert (lookout.policy, lookout.settings) == (policy, settings)
    assert judge.applied == []


def test_an_answer_that_is_gone_is_no_reload(tmp_path: Path) -> None:
    lookout, judge = lookout_of(write_config(tmp_path, 1)), Judge()
    before = lookout.settings
    write_config(tmp_path, 1, changed)
    follow(judge, lookout)
    assert (lookout.settings, judge.applied) == (before, [])


def elsewhere(config: dict[str, Any]) -> None:
    config["gateway"]["metrics"] = {"address": "127.0.0.2", "port": 9_464}


def test_a_metrics_port_that_is_taken_ends_it_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "configure", lambda: None)
    path = write_config(tmp_path, 1, elsewhere)
    with socket.create_server(("127.0.0.2", 0)) as taken, pytest.raises(SystemExit) as leaving:
        port = taken.getsockname()[1]
        main(["audit", "watch", "--once", "--metrics-port", str(port), "--config", str(path)])
    assert leaving.value.code == 2
    told = capsys.readouterr().err
    assert f"metrics cannot be served on 127.0.0.2:{port}: Address already in use" in told
    assert not (tmp_path / "state" / "watch").exists()


def test_no_fault_ends_the_sending_of_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One nobody foresaw, then an outbox that cannot be written: both are told, and it is tried again."""
    lookout = lookout_of(write_config(tmp_path, 1))
    faults: list[Exception] = [KeyError("dr.martin"), OutboxRefused("the disk is full")]
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            raise asyncio.CancelledError

    def deliver(*_: object) -> tuple[int, int]:
        if faults:
            raise faults.pop(0)
        if len(pauses) > 3:
            raise OutboxRefused("the disk is full again")
        return 0, 0

    monkeypatch.setattr(audit_watch, "deliver", deliver)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with capture_logs() as told, pytest.raises(asyncio.CancelledError):
        asyncio.run(audit_watch._deliver(lookout))
    assert pauses == [2, 4, 1, 1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert [line.get("fault", line.get("error")) for line in told][:2] == ["KeyError", "the disk is full"]
    assert "dr.martin" not in str(told)


def test_a_reload_before_the_first_look_is_not_missed(tmp_path: Path) -> None:
    """The gateway may reload while the watcher reads the configuration for the first time."""
    answer = tmp_path / "reload.json"
    answer.write_bytes(b"{}")
    written_ms = answer.stat().st_mtime_ns // 1_000_000
    for since_ms, news in ((written_ms - 1, True), (written_ms + 1, False), (None, False)):
        changed = audit_watch._changes(answer, since_ms)
        assert (changed(), changed()) == (news, False)

"""A reload may not weaken what is in force unseen: refused, told, accepted once for exactly one change."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.configuration import load
from gateway.configuration.in_force import of_loaded, read_in_force
from gateway.workers import acceptance
from tests.end_to_end.workers_site import NARROW_CAP, Gateway, Site, a_site, is_alive, serving

CAP, WIDE_CAP = f"patients_10min: {NARROW_CAP}", "patients_10min: 60"
CHANGE = f"soft {NARROW_CAP}, hard {NARROW_CAP}, enforce -> soft 60, hard 60, enforce"


def entries(site: Site, kind: str) -> list[dict[str, Any]]:
    """Return the entries of *kind* of every writer, operators' commands among them."""
    found = []
    for file in sorted((site.folder / "audit").glob("*/*.jsonl")):
        lines = file.read_bytes().splitlines(keepends=True)
        found += [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [entry for entry in found if entry["kind"] == kind]


async def policy_shown(gateway: Gateway) -> str:
    """Return the policy that the figures of the gateway show."""
    _, body = await gateway.probe("/metrics")
    return re.findall(r'ecluse_config_info\{policy_id="([0-9a-f]+)"\}', body)[0]


def policy_in_files(site: Site) -> str:
    return load(site.config).policy.policy_id


async def hangs_up(gateway: Gateway) -> dict[str, Any]:
    """Send a hangup and return what the gateway says of the reload."""
    lines = len(gateway.said)
    gateway.process.send_signal(signal.SIGHUP)
    return await gateway.told("configuration_reload_refused", lines)


async def test_a_reload_that_weakens_is_refused_until_somebody_accepts_exactly_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """O02 A raised cap by hangup and by command, by consent to something else, to the past, and by a restart."""
    async with a_site(tmp_path) as site:
        async with serving(site) as gateway:
            strict = policy_in_files(site)
            site.change(CAP, WIDE_CAP)
            wide = policy_in_files(site)
            # A signal never accepts it, nor does the command alone; both are told what and how.
            assert (await hangs_up(gateway))["weakens"] is True
            assert await site.types("config", "reload") == 1
            told = capsys.readouterr().err
            assert f"classes.narrow.patients-10min: {CHANGE}" in told
            assert "ecluse config reload --accept-weakening" in told
            assert await policy_shown(gateway) == strict
            assert 'ecluse_config_reload_total{result="weakens"} 2' in (await gateway.probe("/metrics"))[1]
            (refused, _) = entries(site, "config-refused")
            assert "patients-10min" in refused["detail"]["1"]
            assert await site.types("config", "diff") == 3
            # Consent to another change, to this one from elsewhere, and an old one: none of them counts, none stays.
            held, asked = read_in_force(site.folder / "state" / "in-force.json"), of_loaded(load(site.config))
            now_ms = refused["at_ms"] + 1_000
            path = site.folder / "state" / acceptance.NAME
            for before, after, at_ms in (
                (held.id, held.id, now_ms),
                (asked.id, asked.id, now_ms),
                (held.id, asked.id, now_ms - 10 * acceptance.LASTS_MS),
            ):
                acceptance.leave(path, acceptance.Acceptance(before, after, "somebody", at_ms))
                assert (await hangs_up(gateway))["weakens"] is True
                assert not path.exists()
            path.write_bytes(
                msgspec.json.encode(acceptance.Acceptance(held.id, asked.id, "somebody", now_ms))
            )
            path.chmod(0o644)
            assert (await hangs_up(gateway))["weakens"] is True
            assert await policy_shown(gateway) == strict
            assert not entries(site, "config-weakened")
            # An operator accepts it: in force, and on record with name and values, by the command and by the gateway.
            assert await site.types("config", "reload", "--accept-weakening") == 0
            assert await policy_shown(gateway) == wide
            assert not path.exists()
            accepted = entries(site, "config-weakened")
            assert len(accepted) == 2
            assert all(one["operator"] and one["detail"]["before"] == strict for one in accepted)
            assert all(CHANGE in one["detail"]["1"] for one in accepted)
            # The way back needs nobody's consent; nor does the old consent open the way again.
            site.change(WIDE_CAP, CAP)
            assert await site.types("config", "diff") == 1
            assert await site.types("config", "reload") == 0
            assert await site.types("config", "diff") == 0
            site.change(CAP, WIDE_CAP)
            assert (await hangs_up(gateway))["weakens"] is True
            assert await policy_shown(gateway) == strict
            gateway.process.terminate()
            assert await gateway.process.wait() == 0
        # Whoever may start it may start it so, and it is on record.
        async with serving(site) as gateway:
            assert await policy_shown(gateway) == wide
            (last,) = [one for one in entries(site, "config-weakened") if "operator" not in one]
            assert (last["detail"]["before"], last["detail"]["after"]) == (strict, wide)
        site.assert_sound()


async def test_no_worker_takes_weaker_rules_by_being_begun_again(tmp_path: Path) -> None:
    """O02 A raised cap, and workers that are killed or replaced while it waits in the files."""
    async with a_site(tmp_path) as site, serving(site, "--workers", "2") as gateway:
        strict = policy_in_files(site)
        site.change(CAP, WIDE_CAP)
        wide = policy_in_files(site)
        assert (await hangs_up(gateway))["weakens"] is True
        before, lines = gateway.workers(), len(gateway.said)
        os.kill(before[1], signal.SIGKILL)
        await gateway.told("weaker_configuration_not_taken", lines)
        assert (await gateway.told("worker_serves", lines, worker=1))["policy_id"] == strict
        assert await site.types("workers", "restart") == 1
        assert is_alive(before[2])
        assert await policy_shown(gateway) == strict
        assert await site.types("config", "reload", "--accept-weakening") == 0
        assert read_in_force(site.folder / "state" / "in-force.json").policy.policy_id == wide
        told = json.loads((site.folder / "state" / "workers.json").read_text("utf-8"))
        assert {each["policy_id"] for each in told["workers"]} == {wide}
        gateway.process.terminate()
        assert await gateway.process.wait() == 0

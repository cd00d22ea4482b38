"""Back up a living gateway, lose the machine, restore it: the same code opens, the same log verifies."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from tests.attacks import auditor
from tests.attacks.factor import time_stands
from tests.people import DR_MARTIN, NURSE_BEN
from tests.stand import Stand, stand

ROOT = Path(__file__).parents[2]
SAFE, DEPUTY = (pyrage.x25519.Identity.generate() for _ in range(2))
TO = ("-r", str(SAFE.to_public()), "-r", str(DEPUTY.to_public()))


async def ecluse(folder: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command beside the gateway, as an operator would."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *map(str, arguments), "--config", str(folder / "ecluse.yaml"),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def beside(folder: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command in this process, where what it does to files and exit code is the point, not its start."""
    ran = await auditor.ecluse(folder, *arguments)
    return ran.code, ran.out, ran.err


async def _a_day(gate: Stand) -> None:
    browser = await gate.log_in(DR_MARTIN)
    for number in range(1001, 1011):
        assert (await browser.get(f"/dossiers/{number}")).status == 200


async def test_a_machine_is_lost_and_comes_back(tmp_path: Path) -> None:
    site, safe = tmp_path / "site", tmp_path / "safe"
    site.mkdir()
    safe.mkdir()
    (safe / "key.txt").write_text(f"{SAFE}\n")
    async with stand(site) as gate:
        await _a_day(gate)
        code, out, err = await ecluse(
            site, "backup", "-o", safe / "b.age", *TO, "--with-keys", "--json", "--reason", "nightly"
        )
        assert code == 0, err
        assert json.loads(out)["accounts"] == 1
        # What comes after the backup is forgotten with the machine.
        await gate.enrol(NURSE_BEN)
        secret = gate.secrets[DR_MARTIN.login]
    shutil.rmtree(site)

    new = tmp_path / "new"
    new.mkdir()
    restore = ("restore", safe / "b.age", "--identity", safe / "key.txt", "--reason", "the machine is lost")
    code, out, err = await ecluse(new, *restore, "--to", new / "restored", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["parts"] == ["accounts", "audit", "config", "keys"]
    assert {log["sound"] for log in told["logs"]} == {True}
    assert told["recorded"] is True
    assert {path.stat().st_mode & 0o077 for path in (new / "restored").iterdir()} == {0}
    assert {path.stat().st_mode & 0o777 for path in (new / "restored" / "keys").iterdir()} == {0o600}

    # The operator puts everything where it was, and the accounts into an empty store.
    shutil.copytree(new / "restored" / "config", site)
    shutil.copytree(new / "restored" / "keys", site / "keys")
    shutil.copytree(new / "restored" / "audit", site / "audit")
    code, out, err = await ecluse(
        site, *restore, "--to", new / "accounts", "--only", "accounts", "--into-store", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["accounts_in_store"] == 1

    async with stand(site) as gate:
        gate.secrets[DR_MARTIN.login] = secret
        with time_stands(gate, after_s=90):
            browser = await gate.log_in(DR_MARTIN)
            assert (await browser.get("/dossiers/1001")).status == 200
            assert (await browser.get("/dossiers/1999")).status == 200
        accounts = await gate.services.accounts.list()
        assert [account.login for account in accounts] == [DR_MARTIN.login]
        events = await gate.events("access")
        assert len([event for event in events if event["account"] == DR_MARTIN.login]) >= 12
    code, out, err = await ecluse(site, "audit", "verify")
    assert code == 0, (out, err)
    assert out.count("sound") == 2
    operator = (site / "audit" / "operator" / "0000000000.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["kind"] for line in operator].count("backup-restored") == 2


async def test_an_altered_backup_puts_nothing_in_place(tmp_path: Path) -> None:
    site, safe = tmp_path / "site", tmp_path / "safe"
    site.mkdir()
    safe.mkdir()
    (safe / "key.txt").write_text(f"{DEPUTY}\n")
    async with stand(site) as gate:
        await gate.enrol(DR_MARTIN)
        code, _, err = await beside(site, "backup", "-o", safe / "b.age", *TO, "--with-keys")
        assert code == 0, err
    data = bytearray((safe / "b.age").read_bytes())
    data[-2_000] ^= 1
    (safe / "b.age").write_bytes(data)
    restore = ("restore", safe / "b.age", "--identity", safe / "key.txt", "--reason", "x")
    code, out, err = await beside(site, *restore, "--to", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "nothing was restored" in err
    assert list((tmp_path / "out").rglob("*")) == []


async def test_what_is_there_is_set_aside_and_never_overwritten(tmp_path: Path) -> None:
    site, safe, out_dir = tmp_path / "site", tmp_path / "safe", tmp_path / "out"
    site.mkdir()
    safe.mkdir()
    (safe / "key.txt").write_text(f"{SAFE}\n")
    async with stand(site) as gate:
        await gate.enrol(DR_MARTIN)
        code, _, err = await beside(site, "backup", "-o", safe / "b.age", *TO)
        assert code == 0, err
        code, _, err = await beside(site, "backup", "-o", safe / "b.age", *TO)
        assert (code, "--force" in err) == (1, True)
    (out_dir / "config").mkdir(parents=True)
    (out_dir / "config" / "ecluse.yaml").write_text("precious")
    restore = ("restore", safe / "b.age", "--identity", safe / "key.txt", "--reason", "x", "--to", out_dir)
    code, _, err = await beside(site, *restore)
    assert (code, "already holds config" in err) == (1, True)
    assert (out_dir / "config" / "ecluse.yaml").read_text() == "precious"
    code, _, err = await beside(site, *restore, "--only", "keys")
    assert (code, "holds no keys" in err) == (1, True)
    code, _, err = await beside(site, *restore, "--force", "--only", "config")
    assert code == 0, err
    assert (out_dir / "config.before-1" / "ecluse.yaml").read_text() == "precious"
    assert (out_dir / "config" / "ecluse.yaml").read_bytes() == (site / "ecluse.yaml").read_bytes()
    assert not (out_dir / "audit").exists()


@pytest.mark.age
async def test_a_backup_of_a_living_gateway_is_read_by_debians_programs(tmp_path: Path) -> None:
    site, key = tmp_path / "site", tmp_path / "key.txt"
    site.mkdir()
    key.write_text(f"{SAFE}\n")
    async with stand(site) as gate:
        await _a_day(gate)
        code, _, err = await ecluse(site, "backup", "-o", tmp_path / "b.age", *TO, "--with-keys")
        assert code == 0, err
    shell = f"age -d -i {key} {tmp_path / 'b.age'} | zstd -d | tar -t"
    listed = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], check=True, capture_output=True, text=True
    )
    names = listed.stdout.split()
    assert (names[0], names[-1]) == ("about.json", "manifest.json")
    assert {
        "accounts/000000.jsonl",
        "config/ecluse.yaml",
        "keys/sealing.json",
        "audit/gateway/checkpoint",
    } <= {*names}

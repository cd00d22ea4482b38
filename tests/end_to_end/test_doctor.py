"""``ecluse doctor`` beside a running gateway, without one, and where things are wrong."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.writer import CHECKPOINT_EVERY_S
from gateway.cli import main
from tests.end_to_end.workers_site import Site, a_site, serving
from tests.stand import Said


def ask(
    site: Site, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code of the doctor, and outcome and words of each check."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--json", *words, "--config", str(site.config)])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert sum(told["counts"].values()) == len(told["findings"])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code, {one["check"]: (one["outcome"], one["said"]) for one in told["findings"]}


def everything_below(folder: Path) -> dict[str, bytes]:
    """Return the files of a site that only an act would change."""
    kept = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("valkey.") and "appendonlydir" not in path.parts:
            with contextlib.suppress(FileNotFoundError):
                kept[str(path)] = path.read_bytes()
    return kept


async def at_rest(folder: Path) -> dict[str, bytes]:
    """Return what is below *folder* once the gateway has signed what it wrote at its start."""
    async with asyncio.timeout(30):
        before: dict[str, bytes] = {}
        while (now := everything_below(folder)) != before:
            before = now
            await asyncio.sleep(2 * CHECKPOINT_EVERY_S)
        return now


async def test_beside_a_running_gateway_and_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C10 An application that answers whoever comes around the gateway is told, one that refuses is well."""
    async with a_site(tmp_path) as site:
        site.change("apps:\n  parcours:\n", "apps:\n  parcours:\n    check_path: /dossiers/1001\n")
        async with serving(site) as gateway:
            before = await at_rest(tmp_path)
            code, told = await asyncio.to_thread(ask, site, capsys)
            assert everything_below(tmp_path) == before
            well = ("configuration", "packages", "keys", "keys of the store", "policy in force", "store")
            well += (
                "store disk",
                "store memory",
                "store clock",
                "store identity",
                "log folder",
                "app parcours",
            )
            assert {check: told[check] for check in well if told[check][0] != "ok"} == {}
            assert told["log gateway"] == ("ok", "signed and whole")
            # The sample's application leads strangers to its login: a password alone opens it there.
            assert told["around the gateway to parcours"][0] == "failed"
            assert code == 1
            # One that asks for the assertion refuses.
            site.app.handler = lambda _: Said(403, "by the gateway only")
            code, told = await asyncio.to_thread(ask, site, capsys)
            assert told["around the gateway to parcours"] == (
                "ok",
                "refused without the gateway's assertion (403)",
            )
            assert {check: words for check, words in told.items() if words[0] == "failed"} == {}
            assert code == 0
            assert (await asyncio.to_thread(ask, site, capsys, "--strict"))[0] == 1
            # Files that were changed and are not in force.
            site.change("drain_s: 20", "drain_s: 21")
            _, told = await asyncio.to_thread(ask, site, capsys)
            assert "differ from what is in force" in told["policy in force"][1]
            gateway.process.terminate()
            assert await gateway.process.wait() == 0
        # Without a gateway; the log was robbed meanwhile, and a key is readable.
        (segment,) = (tmp_path / "audit" / "gateway").glob("*.jsonl")
        lines = segment.read_bytes().splitlines(keepends=True)
        segment.write_bytes(b"".join(lines[:-2] + lines[-1:]))
        code, told = await asyncio.to_thread(ask, site, capsys)
        assert code == 1
        assert told["log gateway"][0] == "failed"
        assert "no gateway is running" in told["policy in force"][1]
        assert told["store"][0] == "warning"
        key = next((tmp_path / "keys").rglob("*.json"))
        key.chmod(0o644)
        _, told = await asyncio.to_thread(ask, site, capsys)
        assert told["keys"][0] == "failed"
        assert "can be read by others" in told["keys"][1]
        key.chmod(0o600)
        site.change("realms:", "royaumes:")
        assert await asyncio.to_thread(ask, site, capsys) == (
            2,
            {"configuration": ("failed", told_faults(site))},
        )


def told_faults(site: Site) -> str:
    """Return how many faults the configuration has, in the doctor's words."""
    from gateway.configuration import ConfigurationFaults, load

    with pytest.raises(ConfigurationFaults) as found:
        load(site.config)
    count = len(found.value.faults)
    return f"{count} fault{'s' if count > 1 else ''} in the configuration"


def test_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["doctor", "--config", str(tmp_path / "none.yaml")])
    assert leaving.value.code == 2
    told = capsys.readouterr().out
    assert (
        "failed  configuration: 1 fault in the configuration\n        mend: see `ecluse config check`" in told
    )
    assert "\x1b" not in told

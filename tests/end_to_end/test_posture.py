"""The strict posture over two nodes and a restart: a gateway that serves, another in its own process, one store."""

import asyncio
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.attacks.factor import PEOPLE, operate
from tests.end_to_end.test_watcher import serving, told
from tests.stand import PATIENCE_S, Browser, MiniApp, stand

NURSE = PEOPLE[0]


def _lavish(config: dict[str, Any]) -> None:
    config["realms"]["region"] = {
        "classes": {"standard": {"soft_share": 1, "requests_10s": 10_000, "patients_10min": 6}}
    }


def _second_node(first: Path, folder: Path, store: Path) -> Path:
    """Write the configuration of another node: the same keys and store, a log and a state of its own."""
    config = YAML(typ="safe").load(first)
    config["gateway"]["state_dir"] = str(folder / "state")
    config["store"] = {"url": f"unix://{store}"}
    config["audit"] = {"dir": str(folder / "audit"), "node": "b", "keeper": "off"}
    config["signals"] = {"watcher": "off"}
    folder.mkdir()
    with (folder / "ecluse.yaml").open("w") as file:
        YAML(typ="safe").dump(config, file)
    return folder / "ecluse.yaml"


async def test_strict_holds_on_every_node_at_the_next_request_and_after_a_restart(tmp_path: Path) -> None:
    async with stand(tmp_path, MiniApp(PEOPLE), _lavish) as gate:
        here = await gate.log_in(NURSE)
        socket = gate.loaded.settings.state_dir / "store" / "valkey.sock"
        config = _second_node(gate.folder / "ecluse.yaml", tmp_path / "b", socket)
        async with serving(config) as process:
            port = int((await told(process, "gateway_ready"))["port"])
            there = Browser(port)
            there.cookies = dict(here.cookies)
            for number, browser in ((1001, here), (1002, there)):
                assert (await browser.get(f"/dossiers/{number}")).status == 200
            assert await operate(gate, "posture", "strict", "--reason", "attack") == 0
            # No wait: the very next request of the other process is asked.
            assert [(await one.get("/dossiers/1003")).status for one in (there, here)] == [303, 303]
            await there.close()
            process.terminate()
            async with asyncio.timeout(PATIENCE_S * 2):
                await process.wait()
        async with serving(config) as process:
            there = Browser(int((await told(process, "gateway_ready"))["port"]))
            there.cookies = dict(here.cookies)
            assert (await there.get("/dossiers/1003")).status == 303
            assert await operate(gate, "posture", "normal", "--reason", "over") == 0
            assert [(await one.get("/dossiers/1003")).status for one in (there, here)] == [200, 200]
            await there.close()

"""``ecluse store``, on every store."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from gateway.configuration import init_keys
from gateway.valkey import marker
from gateway.valkey.client import Store
from tests.stores.conftest import emptied

CONFIG = """\
version: 1
gateway:
  listen: {{address: 127.0.0.1, port: 1}}
  issuer: GRADeS Exemple
  state_dir: {directory}/state
  keys_dir: {directory}/keys
store: {{url: "{url}"}}
audit: {{dir: "{directory}/audit"}}
realms: {{chu: {{}}}}
apps:
  demo:
    realm: chu
    hosts: [demo.chu.example]
    upstream: http://127.0.0.1:2
    login_page: /login
    login: [{{name: form, path: /login, account: user, success: {{status: 302}}}}]
    routes: [{{name: login, kind: login, path: /login}}]
"""


@pytest.fixture
def config(store_url: str, tmp_path: Path) -> Path:
    asyncio.run(emptied(store_url))
    path = tmp_path / "ecluse.yaml"
    path.write_text(CONFIG.format(directory=tmp_path, url=store_url), encoding="utf-8")
    init_keys(tmp_path / "keys")
    return path


def run(config: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["store", *words, "--config", str(config)], standalone_mode=False)
    if isinstance(done.exception, SystemExit):
        return int(done.exception.code or 0), done.output
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.output


def test_a_store_in_order(config: Path) -> None:
    code, output = run(config, "status", "--json")
    told = json.loads(output)
    assert (code, told["identity"], told["keys"], told["faults"]) == (0, "ours", "not set", [])
    assert told["memory_bytes"] > 0
    assert "identity      ours" in run(config, "status")[1]


def test_an_emptied_store_is_told_and_adopted_with_a_trace(
    config: Path, store_url: str, tmp_path: Path
) -> None:
    run(config, "status")
    remembered = marker.read_local_id(tmp_path / "state")
    asyncio.run(emptied(store_url))
    code, output = run(config, "status")
    assert (code, "missing" in output) == (1, True)
    code, output = run(config, "adopt", "--reason", "restored on new hardware")
    assert (code, "Adopted" in output) == (0, True)
    assert run(config, "status")[0] == 0
    assert run(config, "adopt", "--reason", "again") == (
        0,
        "The store is ours already; nothing was changed.\n",
    )
    journal = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "audit").rglob("*.jsonl"))
    assert journal.count("store-adopted") == 1
    assert "restored on new hardware" in journal
    assert str(remembered) in journal


def test_another_s_store_is_not_taken_by_mistake(config: Path, store_url: str, tmp_path: Path) -> None:
    run(config, "status")

    async def other() -> None:
        await emptied(store_url)
        theirs = await Store.open(store_url, libraries=[], state_dir=None)
        await theirs.close()

    asyncio.run(other())
    assert run(config, "adopt", "--reason", "x")[0] == 1
    assert run(config, "status")[0] == 1
    assert run(config, "adopt", "--reason", "x", "--replace")[0] == 0
    assert run(config, "status")[0] == 0


def test_a_store_that_is_down(config: Path, tmp_path: Path) -> None:
    text = config.read_text(encoding="utf-8")
    config.write_text(
        "\n".join(
            f'store: {{url: "unix://{tmp_path}/nobody.sock"}}' if line.startswith("store:") else line
            for line in text.splitlines()
        ),
        encoding="utf-8",
    )
    code, output = run(config, "status")
    assert code == 2
    assert "nobody.sock" in output


def test_settings_that_forget_are_told(config: Path, store_url: str) -> None:
    async def change(policy: str) -> None:
        tool = await Store.open(store_url, libraries=[], state_dir=None)
        await tool.execute("CONFIG", "SET", "maxmemory-policy", policy)
        await tool.close()

    run(config, "status")
    asyncio.run(change("allkeys-lru"))
    try:
        code, output = run(config, "status")
    finally:
        asyncio.run(change("noeviction"))
    assert code == 1
    assert "maxmemory-policy noeviction" in output

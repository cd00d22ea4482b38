"""``rediss://`` against a server that speaks TLS: believed by name and authority, or not spoken to."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from ruamel.yaml import YAML

from gateway.cli import main
from gateway.configuration import init_keys, load
from gateway.configuration.files import with_password
from gateway.configuration.store import with_authorities
from gateway.valkey.client import Store, StoreUnavailable
from gateway.valkey.library import product_sources
from tests.attacks.harness import Authority
from tests.stores.replicated import Node, free_port, until

pytestmark = pytest.mark.redis_server
PASSWORD = "Ecluse-du-Bassin-7"
CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True, slots=True)
class Secured:
    """A server with a password and a certificate for ``localhost``, on one port that speaks TLS alone."""

    port: int
    authority: Authority

    def url(self, host: str = "localhost", scheme: str = "rediss") -> str:
        return with_password(f"{scheme}://{host}:{self.port}/0", PASSWORD)

    def believed(self, host: str = "localhost") -> str:
        return with_authorities(self.url(host), self.authority.ca_file)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Debian's server: the embedded one is built without TLS."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    certificate, key = authority.leaf("localhost")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(binary, "--port", "0", "--bind", "127.0.0.1", "--tls-port", str(port), "--dir", str(folder)),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"),
        *("--requirepass", PASSWORD, "--save", "", "--appendonly", "no", "--loglevel", "warning"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert server.poll() is None, "redis-server ended"
                    assert time.monotonic() < until
                    time.sleep(0.02)
            yield Secured(port, authority)
        finally:
            server.terminate()
            server.wait(10)


async def test_a_store_behind_tls_serves(secured: Secured, tmp_path: Path) -> None:
    store = await Store.open(secured.believed(), libraries=product_sources(), state_dir=tmp_path)
    try:
        await store.execute("SET", "ecluse:probe", "1")
        assert await store.execute("GET", "ecluse:probe") == b"1"
        assert PASSWORD not in store.address
        assert "ssl_ca_certs" not in store.address
    finally:
        await store.close()


def test_sentinels_and_the_primary_they_name_are_believed_by_name_and_authority(
    secured: Secured, tmp_path: Path
) -> None:
    binary = shutil.which("redis-server")
    assert binary is not None
    sentinel = Node(tmp_path / "sentinel", [binary, str(tmp_path / "conf"), "--sentinel"], told_by_file=True)
    certificate, key = secured.authority.leaf("localhost")
    (tmp_path / "conf").write_text(
        f"port 0\ntls-port {sentinel.port}\ntls-replication yes\ntls-auth-clients no\n"
        f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {secured.authority.ca_file}\n"
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
        f"sentinel monitor ecluse localhost {secured.port} 1\nsentinel auth-pass ecluse {PASSWORD}\n"
    )

    async def ask(url: str) -> object:
        store = await Store.open(url, libraries=product_sources(), state_dir=None, timeout_ms=10_000)
        try:
            return await store.execute("ECHO", "believed")
        finally:
            await store.close()

    url = with_password(f"sentinels://localhost:{sentinel.port}/ecluse", PASSWORD)
    believed = with_authorities(url, secured.authority.ca_file)
    sentinel.start()
    try:

        def listens() -> bool:
            socket.create_connection(("127.0.0.1", sentinel.port), 1).close()
            return True

        until(listens, "the Sentinel does not start")
        assert asyncio.run(ask(believed)) == b"believed"
        for wrong, why in (
            (url, "no Sentinel of sentinels://.* answers"),
            (believed.replace("sentinels://", "sentinel://"), "no Sentinel of sentinel://.* answers"),
            (believed.replace("localhost", "127.0.0.1"), "no Sentinel of sentinels://.* answers"),
        ):
            with pytest.raises(StoreUnavailable, match=why):
                asyncio.run(ask(wrong))
    finally:
        sentinel.kill()


def test_nodes_of_a_cluster_are_believed_by_the_names_they_announce(secured: Secured, tmp_path: Path) -> None:
    """They are asked for the primary of the slot, and it is spoken to, in TLS alone."""
    binary = shutil.which("redis-server")
    assert binary is not None
    certificate, key = secured.authority.leaf("localhost")
    node = Node(tmp_path / "node", [binary, str(tmp_path / "conf")], told_by_file=True)
    (tmp_path / "conf").write_text(
        f"port 0\ntls-port {node.port}\ntls-cluster yes\ntls-auth-clients no\n"
        f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {secured.authority.ca_file}\n"
        f"cluster-enabled yes\ncluster-port {free_port()}\ncluster-announce-ip 192.0.2.7\n"
        "cluster-announce-hostname localhost\ncluster-preferred-endpoint-type hostname\n"
        f"requirepass {PASSWORD}\n"
    )

    def ask(url: str, *command: str) -> object:
        async def asked() -> object:
            store = await Store.open(url, libraries=product_sources(), state_dir=None, timeout_ms=10_000)
            try:
                return await store.execute(*command)
            finally:
                await store.close()

        return asyncio.run(asked())

    def settled() -> bool:
        with redis.Redis(
            "localhost",
            node.port,
            password=PASSWORD,
            ssl=True,
            ssl_ca_certs=str(secured.authority.ca_file),
            decode_responses=True,
        ) as client:
            if "cluster_slots_assigned:0" in str(client.execute_command("CLUSTER", "INFO")):
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            return client.execute_command("EXISTS", "x") == 0

    url = with_password(f"clusters://localhost:{node.port}", PASSWORD)
    believed = with_authorities(url, secured.authority.ca_file)
    node.start()
    try:
        until(settled, "the node does not start")
        assert ask(believed, "GET", "ecluse:store") is not None
        for wrong, why in (
            (url, "no node of clusters://.* answers"),
            (believed.replace("clusters://", "cluster://"), "no node of cluster://.* answers"),
            (believed.replace("localhost", "127.0.0.1"), "no node of clusters://.* answers"),
        ):
            with pytest.raises(StoreUnavailable, match=why):
                ask(wrong, "PING")
    finally:
        node.kill()


@pytest.mark.parametrize("why", ["unknown-authority", "another-name", "no-tls", "wrong-password"])
async def test_a_store_that_cannot_be_believed_is_no_store(
    secured: Secured, tmp_path: Path, why: str
) -> None:
    url = {
        "unknown-authority": secured.url(),
        "another-name": secured.believed("127.0.0.1"),
        "no-tls": secured.url(scheme="redis"),
        "wrong-password": secured.believed().replace(PASSWORD, "autre"),
    }[why]
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(url, libraries=product_sources(), state_dir=tmp_path, timeout_ms=800)
    assert time.monotonic() - began < 3
    assert PASSWORD not in str(refused.value)
    assert not (tmp_path / "store-id").exists()


def test_a_gateway_is_told_authorities_and_password_by_files(
    secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pw").write_text(PASSWORD + "\n")
    (tmp_path / "pw").chmod(0o600)
    init_keys(tmp_path / "keys")
    config = YAML(typ="safe").load(CONFIGS / "working_smallest.yml")
    config["gateway"].update(state_dir=str(tmp_path / "state"), keys_dir=str(tmp_path / "keys"))
    config["store"] = {
        "url": f"rediss://localhost:{secured.port}/0",
        "password_file": "pw",
        "ca_file": str(secured.authority.ca_file),
    }
    path = tmp_path / "ecluse.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    assert load(path).settings.store_url == secured.believed()
    with pytest.raises(SystemExit) as left:
        main(["store", "status", "--json", "--config", str(path)])
    told = json.loads(capsys.readouterr().out)
    # Without an append-only file it would lose its last writes in a crash, and is told so.
    assert (left.value.code, told["identity"], len(told["faults"])) == (1, "ours", 1)
    assert told["address"] == f"rediss://localhost:{secured.port}/0"
    assert PASSWORD not in json.dumps(told)

"""The guard as a plugin of stock mitmdump: the same door for a trial, and no start on options that open another."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from addons.plugin import unsafe_options
from tests.people import DR_MARTIN
from tests.stand import App, Browser, MiniApp, write_config

SCRIPT = Path(__file__).parents[2] / "addons" / "__init__.py"
SAFE = {
    "rawtcp": "false",
    "http2": "false",
    "http3": "false",
    "connection_strategy": "lazy",
    "keep_host_header": "true",
    "onboarding": "false",
}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(config: Path, port: int, options: dict[str, str]) -> list[str]:
    """Return mitmdump's command line."""
    mitmdump = Path(sys.executable).with_name("mitmdump")
    sets = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    return [
        *(str(mitmdump), "-q", "-s", str(SCRIPT), "--mode", "reverse:http://127.0.0.1:9"),
        *("--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"ecluse_config={config}"),
        *("--set", f"confdir={config.parent / 'mitmproxy'}", *sets),
    ]


@contextlib.contextmanager
def mitmdump(config: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run mitmdump with the plugin."""
    with subprocess.Popen(
        command(config, port, SAFE), stderr=subprocess.STDOUT, stdout=subprocess.PIPE
    ) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(20)


async def listening(port: int) -> None:
    """Wait until somebody listens on *port*."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_stock_mitmdump_runs_the_same_guard(tmp_path: Path) -> None:
    """The password alone opens nothing there either; before the guard is built, everything is refused."""
    async with App(MiniApp()) as app:
        config, port = write_config(tmp_path, app.port), free_port()
        with mitmdump(config, port):
            await listening(port)
            browser = Browser(port)
            async with asyncio.timeout(60):
                while (await browser.get("/login")).status == 503:
                    await asyncio.sleep(0.1)
            assert (await browser.get("/static/a.css")).status == 200
            got = await browser.get("/dossiers/1001")
            assert (got.status, got.header("location")) == (303, "/login")
            form = {"user": DR_MARTIN.login, "password": DR_MARTIN.password}
            got = await browser.post("/login", form)
            assert (got.status, got.header("location")) == (303, "/.ecluse/invitation")
            got = await browser.get("/dossiers/1001")
            assert got.status == 303
            assert "/dossiers/1001" not in app.paths()
            elsewhere = Browser(port, host="mitm.it")
            assert (await elsewhere.get("/")).status == 421
            for each in (browser, elsewhere):
                await each.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream_large_bodies", "1m"),
        ("rawtcp", "true"),
        ("connection_strategy", "eager"),
        ("ssl_insecure", "true"),
    ],
)
def test_unsafe_options_refuse_to_start(tmp_path: Path, name: str, value: str) -> None:
    """O10 A streaming threshold lets bodies pass before a verdict; raw TCP opens a tunnel that no hook sees."""
    config, port = write_config(tmp_path, 9), free_port()
    started = subprocess.run(
        command(config, port, {**SAFE, name: value}),
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    told = (started.stdout + started.stderr).decode()
    assert started.returncode != 0
    assert name in told
    with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
        pass


def test_safe_options_are_safe_and_each_other_is_named() -> None:
    """O10 Every option of this version is known."""
    safe = {
        "stream_large_bodies": None, "rawtcp": False, "http2": False, "http3": False,
        "connection_strategy": "lazy", "keep_host_header": True, "validate_inbound_headers": True,
        "ssl_insecure": False, "save_stream_file": None, "store_streamed_bodies": False,
        "onboarding": False, "mode": ["reverse:http://127.0.0.1:9"],
    }  # fmt: skip
    assert unsafe_options(dict(safe)) == []
    others = {"onboarding": True, "mode": ["regular"], "save_stream_file": "flows", "http2": True}
    for name, value in others.items():
        assert unsafe_options({**safe, name: value})[0].startswith(name)

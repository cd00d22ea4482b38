"""A gateway on packages that it was not made for refuses to start, and says why: it never runs half hardened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand import write_config

ROOT = Path(__file__).parents[2]


def start(tmp_path: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run *code*, then ``ecluse`` with *words*, in a process whose first packages are those in *tmp_path*."""
    path = write_config(tmp_path, 9, lambda config: config["gateway"].update(edge={"socket": "edge.sock"}))
    program = f"{code}\nfrom gateway.cli import main\nmain({[*words, '--config', str(path)]!r})"
    where = os.pathsep.join([str(tmp_path / "packages"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": where},
    )


def assert_refused(done: subprocess.CompletedProcess[str], tmp_path: Path, *told: str) -> None:
    assert done.returncode == 2, done.stderr
    for word in told:
        assert word in done.stderr, done.stderr
    # It had opened nothing and written nothing.
    assert "gateway_ready" not in done.stderr
    assert not (tmp_path / "audit").exists()
    assert not (tmp_path / "state" / "ecluse.pid").exists()


@pytest.mark.parametrize(
    ("package", "version", "words"),
    [
        ("h11", "0.14.0", ("serve",)),
        ("mitmproxy", "13.0.0", ("serve",)),
        ("h2", "4.1.0", ("edge", "serve")),
    ],
)
def test_a_version_with_known_faults_refuses_to_start(
    tmp_path: Path, package: str, version: str, words: tuple[str, ...]
) -> None:
    """O07 A package of a vulnerable version is put in place after the installation."""
    told = tmp_path / "packages" / f"{package}-{version}.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", "utf-8")
    done = start(tmp_path, "", *words)
    assert_refused(done, tmp_path, f"{package} {version} is installed", "wanted is >=", f"install {package}")


GONE = """
import dataclasses
import mitmproxy.http
import mitmproxy.proxy.layers.http as layers
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.mode_servers import ServerInstance
layers.Http1Client2 = vars(layers).pop("Http1Client")
async def handle_stream(self, reader, writer=None): ...
ServerInstance.handle_stream = handle_stream
del _http1.Http1Server.read_headers
mitmproxy.http.RequestData = dataclasses.make_dataclass("More", ["more"], bases=(mitmproxy.http.RequestData,))
"""


def test_private_parts_that_are_gone_refuse_to_start(tmp_path: Path) -> None:
    """O08 mitmproxy without the parts that the door overrides, fills or replaces: all are told."""
    assert_refused(
        start(tmp_path, GONE, "serve"),
        tmp_path,
        "HttpLayer does not look Http1Client up in its module any more",
        "ServerInstance does not look ProxyConnectionHandler up",
        "Http1Server.read_headers is no method any more",
        "RequestData has the fields",
        "requirements.lock",
    )


def test_a_part_without_which_mitmproxy_itself_fails(tmp_path: Path) -> None:
    """O08 h11 without the reader of chunks: a sentence, not a traceback."""
    done = start(tmp_path, "import h11._readers as theirs; del theirs.ChunkedReader", "serve")
    assert_refused(done, tmp_path, "h11._readers:ChunkedReader is gone")
    assert "Traceback" not in done.stderr

"""Front proxies read what is written for them, also for what the running ones do not show: apps that speak TLS."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.edge.front import WRITERS, Site
from tests.end_to_end.sites import secure_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return secure_site(tmp_path_factory.mktemp("front"))


CHECKS = {
    "caddy": ["caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile"],
    "envoy": ["envoy", "--mode", "validate", "-c", "envoy.yaml", "--disable-hot-restart"],
    "haproxy": ["haproxy", "-c", "-f", "ecluse.cfg"],
    "nginx": ["nginx", "-t", "-p", ".", "-e", "error.log", "-c", "nginx.conf"],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in CHECKS])
def test_an_app_that_speaks_tls_makes_a_sound_configuration(site: Site, tmp_path: Path, name: str) -> None:
    beside = Path(sys.executable).parent / name
    program = str(beside) if beside.exists() else shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    # Names that the proxy would look up stand for themselves here.
    for file, text in WRITERS[name](site).items():
        (tmp_path / file).write_text(text.replace("app.example:", "127.0.0.1:"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\ninclude {tmp_path}/ecluse.conf;\n}}\n"
    )
    done = subprocess.run(
        [program, *CHECKS[name][1:]], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "[WARNING]" not in done.stderr, done.stderr

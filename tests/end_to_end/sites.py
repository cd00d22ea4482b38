"""Configurations with an edge, written and never run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.configuration import load
from gateway.edge.front import Site
from tests.attacks.harness import Authority
from tests.stand import HOST, write_config

SECRET = "0123456789abcdef" * 2


def configured(folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Write a configuration with an edge whose certificate is real."""
    certificate, key = Authority(folder).leaf(HOST)
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)

    def write(config: dict[str, Any]) -> None:
        config["gateway"]["listen"]["port"] = 8443
        config["gateway"]["trusted_proxies"] = ["127.0.0.1/32"]
        config["gateway"]["edge"] = {
            "socket": str(folder / "edge.sock"),
            "port": 9465,
            "secret_file": str(folder / "secret"),
            "front": {"certificate": str(certificate), "key": str(key), "address": "127.0.0.1"},
        }
        if change is not None:
            change(config)

    return write_config(folder, 8000, write)


def secure_site(folder: Path) -> Site:
    """Return a site whose app speaks TLS; the ones that run for real speak plain HTTP."""
    authority = Authority(folder, "apps")

    def secure(config: dict[str, Any]) -> None:
        config["apps"]["parcours"]["upstream"] = {
            "url": "https://app.example:8443",
            "ca_file": str(authority.ca_file),
        }

    return Site.of(load(configured(folder, secure)))

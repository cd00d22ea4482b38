"""The files a configuration is made of, for who copies it whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.configuration import files
from gateway.configuration.yaml_tree import read_tree


@dataclass(frozen=True, slots=True)
class Sources:
    """Absolute paths, each once. *secret* files hold a private key or a password; *plain* ones do not."""

    plain: tuple[Path, ...]
    secret: tuple[Path, ...]


def source_files(config_path: Path) -> Sources:
    """Return the files of a configuration that loads: the main file, what it includes, what they name."""
    main, folder = config_path.absolute(), config_path.absolute().parent
    value = read_tree(main).value
    plain, secret = {main: None}, dict[Path, None]()
    apps = [(app, folder) for app in _under(value, "apps").values()]
    for text in _listed(value, "include"):
        for file in files.matching(folder, text):
            plain[file.absolute()] = None
            apps.append((read_tree(file).value, file.absolute().parent))
    tls = _under(value, "gateway", "listen", "tls")
    named = [(_under(value, "body").get("logo"), folder), (tls.get("certificate"), folder)]
    named += [(_under(app, "upstream").get("ca_file"), place) for app, place in apps]
    plain |= {place / text: None for text, place in named if isinstance(text, str)}
    store, edge = _under(value, "store"), _under(value, "gateway", "edge")
    passwords = store.get("password_file"), store.get("sentinel_password_file")
    for name in (tls.get("key"), *passwords, edge.get("secret_file")):
        if isinstance(name, str):
            secret[folder / name] = None
    return Sources(tuple(plain), tuple(secret))


def _under(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _listed(value: Any, name: str) -> list[str]:
    found = value.get(name) if isinstance(value, dict) else None
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []

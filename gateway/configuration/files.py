"""The files a configuration names: looked at when it is loaded, not when the first request needs them."""

import fnmatch
import os
import ssl
import stat
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from gateway.configuration.faults import Location, Problem

_LOGO_BYTES = 500_000
_LOGO_TYPES = (".svg", ".png")
_PASSWORD_BYTES = 1_000

Sentence = tuple[str, str]
"""What is wrong, and the mend."""


def matching(folder: Path, text: str) -> list[Path]:
    """Return the files that *text* names from *folder*, in order; wildcards only in its last part."""
    path = folder / text
    try:
        if not any(character in path.name for character in "*?["):
            return [path] if path.is_file() else []
        return sorted(
            item for item in path.parent.iterdir() if fnmatch.fnmatch(item.name, path.name) and item.is_file()
        )
    except (OSError, ValueError):
        return []


def check_certificate(certificate: Path, key: Path) -> tuple[str, str, str] | None:
    """Return the key, fault and mend when the pair cannot serve, None when it can."""
    for name, path in (("certificate", certificate), ("key", key)):
        if (sentence := _unreadable(path)) is not None:
            return name, *sentence
    if stat.S_IMODE(key.stat().st_mode) & 0o007:
        return "key", f"anybody may read {key}", f"chmod 0640 {key}"
    try:
        # An encrypted key would ask on the terminal: the empty password refuses it instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError, OSError):
        return (
            "certificate",
            "certificate and key are no pair",
            "name the PEM files of one certificate and its unencrypted key",
        )
    return None


def check_authorities(path: Path) -> Sentence | None:
    """Return fault and mend when *path* holds no certificate authorities, None when it does."""
    if (sentence := _unreadable(path)) is not None:
        return sentence
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, ValueError, OSError):
        return f"{path} holds no certificate", "name a PEM file of certificate authorities"
    return None


def authorities(folder: Path, text: str | None, at: Location, found: list[Problem]) -> Path | None:
    """Return the path of the authorities that *text* names from *folder*; what is wrong with it goes to *found*."""
    if text is None:
        return None
    path = (folder / text).absolute()
    if (sentence := check_authorities(path)) is not None:
        found.append(Problem(at, *sentence))
    return path


def check_logo(path: Path) -> Sentence | None:
    """Return fault and mend when *path* is no logo, None when it is."""
    if path.suffix.lower() not in _LOGO_TYPES:
        return f"{path.name} is neither SVG nor PNG", "name an .svg or .png file"
    if (sentence := _unreadable(path)) is not None:
        return sentence
    if path.stat().st_size > _LOGO_BYTES:
        return f"{path.name} is longer than {_LOGO_BYTES} bytes", "make it smaller"
    return None


def read_password(path: Path) -> str | Sentence:
    """Return the one line of *path*, or fault and mend."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                return f"{path} can be read by others", f"chmod 0600 {path}"
            raw = file.read(_PASSWORD_BYTES + 1)
        password = raw.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a text"
        return f"{path} cannot be read: {why}", "check its name, its owner and its content"
    if not password or len(raw) > _PASSWORD_BYTES or not password.isprintable():
        return f"{path} holds no password", "write the password on one line, and nothing else"
    return password


def secret(folder: Path, text: str | None, at: Location, found: list[Problem]) -> str | None:
    """Return the one line of the file that *text* names from *folder*; what is wrong with it goes to *found*."""
    if text is None:
        return None
    line = read_password(folder / text)
    if isinstance(line, str):
        return line
    found.append(Problem(at, *line))
    return None


def with_password(url: str, password: str) -> str:
    """Return *url* with *password* in it, as the store's client wants it."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}"))


def _unreadable(path: Path) -> Sentence | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no file name"
        return f"{path} cannot be read: {why}", "check its name, its owner and its mode"
    return None

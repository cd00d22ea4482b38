"""The store's address and what belongs to it: checked, and put together for the store's client."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from gateway.configuration import files
from gateway.configuration.faults import Problem
from gateway.configuration.schema_store import StoreSpec
from gateway.valkey.address import IN_TLS, OPTIONS, USUAL_OPTIONS, AddressRefused, read_address

_URL = ("store", "url")
_IN_A_CLUSTER = ("cluster", "clusters")


def check_store(store: StoreSpec) -> Iterator[Problem]:
    """Yield what does not fit together."""
    url, behind_sentinels = store.url, store.url.startswith(("sentinel://", "sentinels://"))
    if "@" in url and ":" in url.split("://", 1)[-1].rpartition("@")[0]:
        yield Problem(
            _URL,
            "a password stands in the address",
            "put it alone in a file of mode 0600, named by store.password_file",
        )
    elif url != "embedded":
        try:
            read_address(url)
        except AddressRefused as refused:
            yield Problem(_URL, refused.why, refused.mend)
    options = {name for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True)}
    scheme = url.partition("://")[0]
    if scheme in _IN_A_CLUSTER and "db" in options:
        yield Problem(_URL, "a Cluster has no numbered databases", "leave db out")
    elif unknown := options - OPTIONS.get(scheme, USUAL_OPTIONS):
        yield Problem(
            _URL,
            f"{', '.join(sorted(unknown))} in the address could put the store's safety aside",
            "leave it out: authorities go to store.ca_file, the password to store.password_file",
        )
    if store.ca_file is not None and not url.startswith(IN_TLS):
        yield Problem(
            ("store", "ca_file"), f"only a {', '.join(IN_TLS)} store has a certificate", "take it out"
        )
    if url == "embedded" and store.password_file is not None:
        yield Problem(("store", "password_file"), "the embedded store has no password", "take it out")
    if store.sentinel_password_file is not None and not behind_sentinels:
        yield Problem(("store", "sentinel_password_file"), "no Sentinels stand in the address", "take it out")
    if store.replicas and not url.startswith(("redis", "sentinel", "cluster")):
        yield Problem(("store", "replicas"), "this store has no replicas", "take it out")


def settle_store(store: StoreSpec, folder: Path, found: list[Problem]) -> tuple[str, int]:
    """Return the address with passwords and authorities in it, as the client wants it, and how many replicas confirm.

    What is wrong with the files that *store* names goes to *found*.
    """
    url = store.url
    if url == "embedded":
        return url, 0
    password = files.secret(folder, store.password_file, ("store", "password_file"), found)
    if password is not None:
        url = files.with_password(url, password)
    sentinel = files.secret(folder, store.sentinel_password_file, ("store", "sentinel_password_file"), found)
    if sentinel is not None:
        url = _with_option(url, "sentinel_password", sentinel)
    if url.startswith(IN_TLS):
        authorities = files.authorities(folder, store.ca_file, ("store", "ca_file"), found)
        url = with_authorities(url, authorities) if authorities is not None else url
    fails_over = url.startswith(("sentinel", "cluster"))
    return url, store.replicas if store.replicas is not None else int(fails_over)


def with_authorities(url: str, path: Path) -> str:
    """Return *url* naming the PEM file *path* of the authorities to believe, as the store's client wants it."""
    return _with_option(url, "ssl_ca_certs", str(path))


def _with_option(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), (name, value)])))

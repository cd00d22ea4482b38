"""Where the store is: at one server, or wherever Sentinels or the nodes of a Cluster say that the primary is."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels", "cluster", "clusters")
OPTIONS = {
    "sentinel": frozenset({"db", "sentinel_user"}),
    "sentinels": frozenset({"db", "sentinel_user"}),
    "cluster": frozenset[str](),
    "clusters": frozenset[str](),
}
"""What an operator may write after ``?``, by scheme; `USUAL_OPTIONS` after any other."""
USUAL_OPTIONS = frozenset({"db"})
IN_TLS = ("rediss://", "sentinels://", "clusters://")

_SECRET_OPTIONS = ("sentinel_user", "sentinel_password")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,9}))?\Z")
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class _Kind:
    """What stands between the commas of an address."""

    one: str
    port: int


_SENTINEL = _Kind("a Sentinel", 26_379)
_NODE = _Kind("a node", 6_379)


class AddressRefused(ValueError):
    """The address cannot be read. The text repeats no password; *mend* says what to write."""

    def __init__(self, why: str, mend: str) -> None:
        super().__init__(f"{why}: {mend}")
        self.why = why
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Address:
    """*public* has neither user nor password nor options. *sentinels* are hosts and ports.

    *seeds* are those of nodes of a Cluster; both are empty for one server. *group* is the name under which the
    Sentinels know the primary.
    """

    url: str = field(repr=False)
    public: str
    group: str = ""
    sentinels: tuple[tuple[str, int], ...] = ()
    seeds: tuple[tuple[str, int], ...] = ()

    @property
    def tls(self) -> bool:
        """Whether servers, and Sentinels, are spoken to in TLS alone."""
        return self.url.startswith(IN_TLS)

    def server_url(self, host: str, port: int) -> str:
        """Return the address of a server that was named, with the user and password of the servers."""
        user = _netloc(self.url).rpartition("@")[0]
        kept = [(name, value) for name, value in self._options() if name not in _SECRET_OPTIONS]
        return self._plain(f"{user}@" if user else "", host, port, kept)

    def sentinel_urls(self) -> tuple[str, ...]:
        """Return the address of each Sentinel, with the user and password of the Sentinels."""
        options = dict(self._options())
        user, password = (options.get(name, "") for name in _SECRET_OPTIONS)
        who = urlencode({user: password}).replace("+", "%20").replace("=", ":", 1) + "@" if password else ""
        kept = [(name, value) for name, value in options.items() if name == "ssl_ca_certs"]
        return tuple(self._plain(who, host, port, kept) for host, port in self.sentinels)

    def _options(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    def _plain(self, who: str, host: str, port: int, options: list[tuple[str, str]]) -> str:
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{who}{_written(host)}:{port}?{urlencode(options)}"


def read_address(url: str) -> Address:
    """Read ``redis://``, ``rediss://``, ``unix://``, ``sentinel://h1:26379,h2,h3/GROUP``, or ``cluster://h1:6379,h2,h3``.

    ``sentinels://`` and ``clusters://``: in TLS.

    Raises:
        AddressRefused: it is none of these.
    """
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in SCHEMES:
        raise AddressRefused(
            "this is no store's address", f"write embedded, or {', '.join(f'{name}://' for name in SCHEMES)}…"
        )
    netloc = _netloc(url)
    path = url.partition("://")[2][len(netloc) :].partition("?")[0]
    public = f"{scheme}://{netloc.rpartition('@')[2]}{path}"
    if scheme.startswith("cluster"):
        if path.strip("/"):
            raise AddressRefused(
                "a Cluster has neither names nor numbered databases", "end the address after the hosts"
            )
        return Address(url, public, seeds=_hosts(netloc, _NODE))
    if not scheme.startswith("sentinel"):
        return Address(url, public)
    group = unquote(path.removeprefix("/"))
    if not _GROUP.match(group):
        raise AddressRefused(
            "the address does not say which primary the Sentinels shall name",
            "write it after the hosts, as in 'sentinel monitor': sentinel://h1:26379,h2:26379,h3:26379/ecluse",
        )
    return Address(url, public, group, _hosts(netloc, _SENTINEL))


def _hosts(netloc: str, kind: _Kind) -> tuple[tuple[str, int], ...]:
    hosts = tuple(_host(text, kind) for text in netloc.rpartition("@")[2].split(","))
    if len(set(hosts)) != len(hosts):
        raise AddressRefused(f"{kind.one} stands twice in the address", "name each of them once")
    return hosts


def _netloc(url: str) -> str:
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def _host(text: str, kind: _Kind) -> tuple[str, int]:
    found = _HOST.match(text)
    if found is None:
        raise AddressRefused(
            f"{text or 'nothing'} is no host of {kind.one}", "write host:port, and commas between them"
        )
    port = int(found["port"] or kind.port)
    if not 0 < port <= _HIGHEST_PORT:
        raise AddressRefused(f"{text} has no port of {kind.one}", "write 1 to 65535 after the colon")
    return found["six"] or found["name"], port


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host

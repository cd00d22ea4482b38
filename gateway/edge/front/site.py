"""What every front proxy is told: where the three doors are, which names it serves, and what it takes away."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from gateway.configuration import EdgeSettings, FrontSettings, Loaded
from gateway.edge.doors import Door, Rule, plan
from gateway.policy.policy import App, Upstream

Files = dict[str, str]
"""Texts by file name. They hold the secret: nobody but the proxy may read them."""

_WORD = re.compile(r"[A-Za-z0-9_./:@+,=~%-]+")

PLAIN = r"[\x21\x22\x24-\x7e]*"
"""A pattern of what may stand in an address: no blank, no control, no fragment, nothing beyond ASCII."""
QUERY = rf"(?:[?]{PLAIN})?"
HSTS = "max-age=31536000"

# What an app may not give a browser behind the gateway's back: cookies that no session was told of, our own
# statements, and another way in.
KEPT_BACK = ("Set-Cookie", "X-Ecluse-Assertion", "Alt-Svc")

SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class CannotWrite(ValueError):
    """The configuration lacks what the front proxy must be told. The message says what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens: *socket*, or *host* and *port*."""

    socket: Path | None = None
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """How long, in whole seconds, front proxies wait for whom.

    *head_s*: for the whole head of a request. *body_pause_s*: between two pieces of its body, or until a client takes
    a piece of an answer. *body_s*: for the whole body, as long as the inspector waits. *read_s* is for proxies that
    know one bound alone for head and body together, *write_s* for those that bound a whole answer, long downloads
    and event streams among them. *answer_s*: for the app. *check_s*: for the check.
    """

    head_s: int = 10
    body_pause_s: int = 30
    body_s: int = 300
    read_s: int = 60
    write_s: int = 3_600
    answer_s: int = 120
    check_s: int = 5
    idle_s: int = 60
    connect_s: int = 5


@dataclass(frozen=True, slots=True)
class Site:
    """One configuration, seen from the front proxy."""

    loaded: Loaded
    edge: EdgeSettings
    front: FrontSettings
    times: Times = Times()

    @classmethod
    def of(cls, loaded: Loaded) -> "Site":
        """Return the site of a configuration.

        Raises:
            CannotWrite: it says nothing of an edge, or of the front proxy.
        """
        edge = loaded.settings.edge
        if edge is None:
            raise CannotWrite("gateway.edge is missing: say there where the check listens")
        if edge.front is None:
            raise CannotWrite(
                "gateway.edge.front is missing: name there the certificate and key of the front proxy"
            )
        return cls(loaded, edge, edge.front)

    @property
    def apps(self) -> Iterator[tuple[App, tuple[Rule, ...]]]:
        """Yield each app with its plan."""
        for app in self.loaded.policy.apps.values():
            yield app, plan(app, self.loaded.policy.prefix)

    @property
    def inspector(self) -> Place:
        """Return where the inspector listens, as a proxy on this machine reaches it."""
        address = self.loaded.settings.listen_address
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, and reached otherwise
        return Place(host=local.get(address, address), port=self.loaded.settings.listen_port)

    @property
    def check(self) -> Place:
        """Return where the check listens: its socket when it has one."""
        if self.edge.socket is not None:
            return Place(socket=self.edge.socket)
        return self.check_by_port("this proxy")

    def check_by_port(self, proxy: str) -> Place:
        """Return the TCP port of the check, for a *proxy* that cannot use its socket.

        Raises:
            CannotWrite: there is none.
        """
        if self.edge.port is None:
            raise CannotWrite(f"gateway.edge.port is missing: {proxy} reaches the check by TCP alone")
        return Place(host=self.edge.address, port=self.edge.port)

    @property
    def secret(self) -> str:
        """Return the secret, "" when the socket's permissions are enough."""
        return self.edge.secret or ""

    @property
    def listen(self) -> str:
        """Return the address to listen on, "" for every one."""
        return self.front.address or ""

    @property
    def max_head_bytes(self) -> int:
        """Return the longest request head."""
        return self.loaded.policy.max_header_bytes + self.loaded.policy.max_url_bytes


def word(value: object) -> str:
    """Return *value* as it may stand unquoted in any of the proxies' languages.

    Raises:
        CannotWrite: it holds a character that one of them would read as its own.
    """
    text = str(value)
    if _WORD.fullmatch(text) is None:
        raise CannotWrite(
            f"{text!r} cannot stand in a proxy's configuration: use letters, digits and ./_- alone"
        )
    return text


def yaml(value: object) -> str:
    """Return *value* as YAML, in the order it was made."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 10_000
    text = io.StringIO()
    writer.dump(value, text)
    return text.getvalue()


def authority(place: Place | Upstream) -> str:
    """Return ``host:port``, IPv6 in brackets."""
    host = place.host or ""
    bare = host.strip("[]")
    return word(f"[{bare}]:{place.port}" if ":" in bare else f"{bare}:{place.port}")


def told(site: Site, mark: str = "#") -> str:
    """Return the head of a file: what it is, and where each route goes."""
    lines = [
        "Written by `ecluse edge config` from the gateway's own configuration, policy",
        f"{site.loaded.policy.policy_id}. Write it again when routes change; edit nothing here.",
        "It may hold the secret of the check: mode 0600, for the proxy alone.",
        "",
        "GET and HEAD without a body, on plainly spelt paths, by the first that fits; all else to the inspector.",
    ]
    for app, rules in site.apps:
        lines.append(f"{app.name}: {', '.join(app.hosts)}")
        lines += [f"  {rule.door.value:<10} {rule.kind:<8} {rule.name}{_why(rule)}" for rule in rules]
        if not any(rule.door is not Door.INSPECTOR for rule in rules):
            lines.append("  inspector  everything")
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in lines)


def _why(rule: Rule) -> str:
    return f" ({rule.why})" if rule.why else ""


def host_pattern(app: App) -> str:
    """Return a pattern of the Host headers of *app*: its names, a port or none, a final dot or none."""
    names = "|".join(name.replace(".", r"\.").replace("[", r"\[").replace("]", r"\]") for name in app.hosts)
    return rf"(?:{names})\.?(?::[0-9]+)?"

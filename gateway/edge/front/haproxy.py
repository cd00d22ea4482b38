"""HAProxy, 2.6 or newer with Lua: its configuration, and the script that asks the check."""

from pathlib import Path

from gateway.edge import claims
from gateway.edge.doors import Door, Rule
from gateway.edge.front.site import (
    HSTS,
    KEPT_BACK,
    QUERY,
    SYSTEM_AUTHORITIES,
    CannotWrite,
    Files,
    Place,
    Site,
    authority,
    host_pattern,
    told,
    word,
)
from gateway.policy.policy import App

_SCRIPT = Path(__file__).with_name("ecluse.lua")
_BLOCK_BYTES = 4_096
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"


def haproxy(site: Site) -> Files:
    """Return the configuration of *site*.

    Raises:
        CannotWrite: the certificate's key is not where HAProxy looks for it.
    """
    parts = [told(site), _global(site), _secure(site), _plain(site), _inspector(site)]
    parts += [_app(app, door) for app, _ in site.apps for door in (Door.CHECK, Door.APP)]
    return {"ecluse.cfg": "\n".join(parts), "ecluse.lua": _SCRIPT.read_text("utf-8")}


def _global(site: Site) -> str:
    head = -(-(site.max_head_bytes + 2 * _BLOCK_BYTES) // _BLOCK_BYTES) * _BLOCK_BYTES
    place = site.check
    where = f"unix@{word(place.socket)}" if place.socket is not None else f"ipv4@{authority(place)}"
    return f"""\
global
    log /dev/log local0
    default-path config
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-load-extra-del-ext
    tune.http.maxhdr 201
    tune.bufsize {head}
    setenv ECLUSE_EDGE {where}
    setenv ECLUSE_EDGE_SECRET "{site.secret}"
    setenv ECLUSE_EDGE_TIMEOUT_MS {site.times.check_s * 1_000}
    lua-load ecluse.lua

defaults
    mode http
    # Addresses hold patients' ids: the log names host, status and times, and no path.
    log global
    log-format "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc"
    timeout http-request {site.times.head_s}s
    timeout http-keep-alive {site.times.idle_s}s
    timeout connect {site.times.connect_s}s
    timeout client {site.times.idle_s}s
    timeout server {site.times.answer_s}s
    timeout tunnel 1h
    retries 0
"""


def _certificate(site: Site) -> str:
    certificate, key = site.front.certificate, site.front.key
    if key not in {certificate.with_name(certificate.name + ".key"), certificate.with_suffix(".key")}:
        raise CannotWrite(
            f"HAProxy looks for the key of {certificate} beside it, as {certificate.with_suffix('.key').name}: "
            "link or rename gateway.edge.front.key so"
        )
    return word(certificate)


def _listen(site: Site, port: int) -> str:
    return f"[{site.listen}]:{port}" if ":" in site.listen else f"{site.listen or '*'}:{port}"


def _secure(site: Site) -> str:
    taken = "".join(f"    http-request del-header {name} -m beg\n" for name in claims.TAKEN_AWAY_FROM)
    taken += "".join(
        f"    http-request del-header {name}\n"
        for name in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO)
        if not name.startswith(claims.TAKEN_AWAY_FROM)
    )
    known, rules = "", ""
    for app, plan in site.apps:
        name = f"app_{_id(app)}"
        known += f"    acl {name} req.hdr(host) -m reg -i '^{host_pattern(app)}$'\n"
        rules += "".join(_rule(name, rule) for rule in plan)
    doors = "".join(
        f"    use_backend {door.value}_{_id(app)} if app_{_id(app)} {{ var(txn.door) -m str {door.value} }}\n"
        for app, _ in site.apps
        for door in (Door.CHECK, Door.APP)
    )
    largest = site.loaded.policy.largest_request_bytes
    names = " ".join(f"!app_{_id(app)}" for app, _ in site.apps)
    return f"""\
frontend https
    bind {_listen(site, site.front.https_port)} ssl crt {_certificate(site)} strict-sni alpn h2,http/1.1
{known}\
    acl simple method GET HEAD
    acl bodied req.hdr_cnt(transfer-encoding) gt 0
    acl bodied req.hdr(content-length) -m int gt 0
    acl bodied req.body_len gt 0
    acl upgrading req.hdr_cnt(upgrade) gt 0
    # An app would be sent a scheme and a name as they came, were they not the ones that HTTP/2 adds to every address.
    acl absolute var(txn.form) -m reg '^(?!1:/|2:https://)'
    http-request set-var-fmt(txn.form) %[fc_http_major]:%[url]
    http-request deny deny_status 400 if {{ req.hdr_cnt(host) gt 1 }}
    # It would hand control characters on as they came.
    http-request deny deny_status 400 if {{ req.hdrs -m reg '{_CONTROL}' }}
    http-request deny deny_status 421 if {names}
    http-request deny deny_status 413 if {{ req.hdr(content-length) -m int gt {largest} }}
    # HTTP/2 tells of a body without a length only when it comes; a request without one is not held up.
    http-request wait-for-body time {site.times.head_s}s at-least 1 if simple
    # What a browser claims about itself is dropped here, and names that some servers read as others.
{taken}\
    http-request del-header [_.] -m reg
    # What this names would be dropped by whoever reads it next, our assertion among it.
    http-request del-header connection unless upgrading
{rules}\
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-response set-header Strict-Transport-Security "{HSTS}"
{doors}\
    default_backend inspector
"""


def _rule(app: str, rule: Rule) -> str:
    """Return the line that chooses the door, unless an earlier one did; the address is looked at as it was sent."""
    path = f"{{ pathq -m reg {'-i ' if rule.fold else ''}'^{rule.pattern}{QUERY}$' }}"
    simple = "" if rule.door is Door.INSPECTOR else " simple !bodied !upgrading !absolute"
    unchosen = "!{ var(txn.door) -m found }"
    return f"    http-request set-var(txn.door) str({rule.door.value}) if {app}{simple} {unchosen} {path}\n"


def _plain(site: Site) -> str:
    known = "".join(
        f"    acl known req.hdr(host) -m reg -i '^{host_pattern(app)}$'\n" for app, _ in site.apps
    )
    port = "" if site.front.https_port == 443 else f":{site.front.https_port}"
    return f"""\
frontend http
    bind {_listen(site, site.front.http_port)}
{known}\
    http-request deny deny_status 421 unless known
    http-request redirect code 308 location https://%[req.hdr(host),field(1,:)]{port}%[pathq]
"""


def _inspector(site: Site) -> str:
    return f"""\
backend inspector
    http-reuse safe
    server inspector {authority(site.inspector)}
"""


def _id(app: App) -> str:
    return app.name.replace("-", "_")


def _app(app: App, door: Door) -> str:
    upstream, secure = app.upstream, ""
    if upstream.scheme == "https":
        trusted, name = word(upstream.ca_file or SYSTEM_AUTHORITIES), word(upstream.host)
        secure = f" ssl verify required ca-file {trusted} sni str({name}) verifyhost {name}"
    if door is Door.CHECK:
        asked = """\
    http-request lua.ecluse_check
    http-request deny deny_status 503 unless { var(txn.ecluse_passed) -m bool }
"""
    else:
        asked = "    http-request del-header cookie\n    http-request del-header authorization\n"
    hidden = "".join(f"    http-response del-header {name}\n" for name in KEPT_BACK)
    return f"""\
backend {door.value}_{_id(app)}
    http-reuse safe
{asked}\
    http-request del-header expect
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-response deny deny_status 502 if {{ res.hdrs -m reg '{_CONTROL}' }}
{hidden}\
    server app {authority(Place(host=upstream.host, port=upstream.port))}{secure}
"""

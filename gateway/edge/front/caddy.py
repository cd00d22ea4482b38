"""Caddy 2.10 or newer: ``forward_auth``, written out, so that nothing of a client's stays under a name that we decide.

The door is chosen by the address as it was sent, ``{http.request.orig_uri}``: Caddy's path matchers clean it first.
"""

from gateway.edge import claims
from gateway.edge.doors import Door, Rule
from gateway.edge.front.site import (
    HSTS,
    KEPT_BACK,
    QUERY,
    Files,
    Place,
    Site,
    authority,
    host_pattern,
    told,
    word,
)
from gateway.edge.service import CHECK
from gateway.policy.policy import App

# A body that came without a length has no header that a matcher sees: whatever came is replaced by nothing, an empty
# variable, and so is its framing.
# What Connection names would be dropped by Caddy itself, our assertion among it.
_BODILESS = """\
\t\t\trequest_header -Connection
\t\t\trequest_body {
\t\t\t\tset {http.vars.ecluse_no_body}
\t\t\t}
"""
_CREDENTIALS = ("Cookie", "Authorization", "X-Ecluse-Assertion")


def caddy(site: Site) -> Files:
    """Return the configuration of *site*."""
    return {
        "Caddyfile": told(site) + _options(site) + "".join(_app(site, app, rules) for app, rules in site.apps)
    }


def _options(site: Site) -> str:
    bind = f"\tdefault_bind {word(site.listen)}\n" if site.listen else ""
    return f"""
{{
\tadmin off
\tauto_https off
\tpersist_config off
\thttps_port {site.front.https_port}
\thttp_port {site.front.http_port}
{bind}\tservers {{
\t\tprotocols h1 h2
\t\tstrict_sni_host on
\t\tmax_header_size {site.max_head_bytes}
\t\ttimeouts {{
\t\t\tread_header {site.times.head_s}s
\t\t\tread_body {site.times.body_s}s
\t\t\twrite {site.times.write_s}s
\t\t\tidle {site.times.idle_s}s
\t\t}}
\t}}
\tlog {{
\t\tlevel ERROR
\t}}
}}
"""


def _place(place: Place) -> str:
    return f"unix/{word(place.socket)}" if place.socket is not None else authority(place)


def _app(site: Site, app: App, rules: tuple[Rule, ...]) -> str:
    hosts = [word(host) for host in app.hosts]
    secure = ", ".join(f"https://{host}:{site.front.https_port}" for host in hosts)
    plain = ", ".join(f"http://{host}:{site.front.http_port}" for host in hosts)
    port = "" if site.front.https_port == 443 else f":{site.front.https_port}"
    routes = "".join(_rule(site, app, index, rule) for index, rule in enumerate(rules))
    taken = "".join(
        f"\t\trequest_header -{name}\n"
        for name in (
            *(name.title() for name in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO, *claims.NOT_FOR_APPS)),
            *(f"{beginning.title()}*" for beginning in claims.TAKEN_AWAY_FROM),
            "*_*",
            "*.*",
        )
    )
    return f"""
{plain} {{
\tredir https://{{host}}{port}{{http.request.orig_uri}} 308
}}

{secure} {{
\ttls {word(site.front.certificate)} {word(site.front.key)} {{
\t\tprotocols tls1.2 tls1.3
\t}}
\troute {{
\t\theader >Strict-Transport-Security "{HSTS}"
\t\t@unknown not header_regexp Host (?i)^{host_pattern(app)}$
\t\trespond @unknown 421
\t\trequest_body {{
\t\t\tmax_size {site.loaded.policy.largest_request_bytes}
\t\t}}
{taken}\
{routes}\
{_inspector(site, "")}\
\t}}
}}
"""


def _rule(site: Site, app: App, index: int, rule: Rule) -> str:
    name = f"rule{index}"
    fold = "(?i)" if rule.fold else ""
    pattern = f"`{fold}^{rule.pattern}{QUERY}$`"
    match = f"\t\t\tvars_regexp {{http.request.orig_uri}} {pattern}\n"
    if rule.door is Door.INSPECTOR:
        body = _inspector(site, "\t")
    else:
        match += (
            "\t\t\tmethod GET HEAD\n\t\t\tnot header Upgrade *\n\t\t\tnot header_regexp Content-Length [^0]\n"
        )
        body = _check(site) if rule.door is Door.CHECK else _nobody()
        body = _BODILESS + body + _to_app(site, app)
    # Caddy sorts directives by their names, but not within a route.
    return (
        f"\t\t# {rule.name}\n\t\t@{name} {{\n{match}\t\t}}\n"
        f"\t\thandle @{name} {{\n\t\troute {{\n{body}\t\t}}\n\t\t}}\n"
    )


def _inspector(site: Site, indent: str) -> str:
    return f"""\
{indent}\t\treverse_proxy {authority(site.inspector)} {{
{indent}\t\t\ttransport http {{
{indent}\t\t\t\tdial_timeout {site.times.connect_s}s
{indent}\t\t\t\tcompression off
{indent}\t\t\t}}
{indent}\t\t\tflush_interval -1
{indent}\t\t}}
"""


def _check(site: Site) -> str:
    given = "".join(
        f"""\
\t\t\t\t\trequest_header -{name}
\t\t\t\t\t@has{index} not vars {{http.reverse_proxy.header.{name}}} ""
\t\t\t\t\trequest_header @has{index} {name} {{http.reverse_proxy.header.{name}}}
"""
        for index, name in enumerate(_CREDENTIALS)
    )
    return f"""\
\t\t\treverse_proxy {_place(site.check)} {{
\t\t\t\tmethod GET
\t\t\t\trewrite {CHECK}
\t\t\t\theader_up Host ecluse
\t\t\t\theader_up X-Ecluse-Front "{site.secret}"
\t\t\t\theader_up X-Forwarded-Method {{method}}
\t\t\t\theader_up X-Forwarded-Uri {{http.request.orig_uri}}
\t\t\t\theader_up X-Forwarded-Host {{hostport}}
\t\t\t\theader_up -X-Ecluse-Assertion
\t\t\t\ttransport http {{
\t\t\t\t\tdial_timeout {site.times.connect_s}s
\t\t\t\t\tresponse_header_timeout {site.times.check_s}s
\t\t\t\t\tcompression off
\t\t\t\t}}
\t\t\t\t@passes status 200
\t\t\t\thandle_response @passes {{
\t\t\t\t\troute {{
{given}\
\t\t\t\t\t}}
\t\t\t\t}}
\t\t\t}}
"""


def _nobody() -> str:
    return "".join(f"\t\t\trequest_header -{name}\n" for name in _CREDENTIALS)


def _to_app(site: Site, app: App) -> str:
    upstream = app.upstream
    secure = ""
    if upstream.scheme == "https":
        secure = f"\t\t\t\t\ttls\n\t\t\t\t\ttls_server_name {word(upstream.host)}\n"
        if upstream.ca_file is not None:
            secure += f"\t\t\t\t\ttls_trust_pool file {word(upstream.ca_file)}\n"
    hidden = "".join(f"\t\t\t\t-{name}\n" for name in KEPT_BACK)
    # Around the answer, not within reverse_proxy: so interim answers lose them too.
    return f"""\
\t\t\theader {{
{hidden}\
\t\t\t\tdefer
\t\t\t}}
\t\t\treverse_proxy {upstream.scheme}://{authority(upstream)} {{
\t\t\t\theader_up Host {{http.request.hostport}}
\t\t\t\ttransport http {{
\t\t\t\t\tdial_timeout {site.times.connect_s}s
\t\t\t\t\tresponse_header_timeout {site.times.answer_s}s
\t\t\t\t\tcompression off
{secure}\
\t\t\t\t}}
\t\t\t}}
"""

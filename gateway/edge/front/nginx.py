"""nginx, 1.20 or newer, with ``auth_request``: a file for ``conf.d``.

The door is chosen by ``$request_uri``, the address as it was sent, never by nginx's own reading of it.
"""

from gateway.edge import claims
from gateway.edge.doors import Door, Rule
from gateway.edge.front.site import (
    HSTS,
    KEPT_BACK,
    QUERY,
    SYSTEM_AUTHORITIES,
    Files,
    Place,
    Site,
    authority,
    host_pattern,
    told,
    word,
)
from gateway.edge.service import ANSWER, BRIEF
from gateway.pages.calm import calm_body
from gateway.policy.policy import App

_TO_CHECK, _TO_APP = 470, 471
"""Statuses that never leave: nginx has no other way to choose among locations by a variable."""


_FOR_FILES = (
    "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent", "Referer", "Origin",
    "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "X-Requested-With",
    "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Save-Data", "DNT",
)  # fmt: skip
"""What browsers say when they want a file."""


def nginx(site: Site) -> Files:
    """Return the configuration of *site*."""
    parts = [told(site), _http(site)]
    for app, rules in site.apps:
        parts += [_maps(app, rules), _server(site, app)]
    return {"ecluse.conf": "\n".join(parts)}


def _place(place: Place) -> str:
    return f"unix:{word(place.socket)}" if place.socket is not None else authority(place)


def _http(site: Site) -> str:
    upstreams = [
        _upstream("ecluse_inspector", _place(site.inspector)),
        _upstream("ecluse_edge", _place(site.check)),
    ]
    upstreams += [_upstream(f"ecluse_app_{_id(app)}", authority(app.upstream)) for app, _ in site.apps]
    return f"""\
map $http_upgrade $ecluse_connection {{
    default upgrade;
    "" "";
}}
# Only what has no body and asks for no other protocol may pass by the inspector.
map "$request_method:$http_content_length:$http_transfer_encoding:$http_upgrade" $ecluse_simple {{
    default 0;
    "~^(?:GET|HEAD):0?::$" 1;
}}
{"".join(upstreams)}
# A name nobody serves gets no answer at all. Until a name is known, the bounds of these two hold for everybody.
server {{
{_listens(site, site.front.https_port, "ssl http2 default_server")}\
    ssl_reject_handshake on;
{_heads(site)}\
    return 421;
}}
server {{
{_listens(site, site.front.http_port, "default_server")}\
{_heads(site)}\
    return 421;
}}
"""


def _heads(site: Site) -> str:
    policy, times = site.loaded.policy, site.times
    buffers = max(2, -(-policy.max_header_bytes // policy.max_url_bytes))
    return f"""\
    server_tokens off;
    client_header_timeout {times.head_s}s;
    client_header_buffer_size 2k;
    large_client_header_buffers {buffers} {policy.max_url_bytes};
    keepalive_timeout {times.idle_s}s;
"""


def _upstream(name: str, place: str) -> str:
    return f"upstream {name} {{\n    server {place};\n    keepalive 64;\n}}\n"


def _listens(site: Site, port: int, options: str) -> str:
    places = [f"{site.listen}:{port}" if ":" not in site.listen else f"[{site.listen}]:{port}"]
    if not site.listen:
        places = [str(port), f"[::]:{port}"]
    return "".join(f"    listen {place} {options};\n".replace(" ;", ";") for place in places)


def _id(app: App) -> str:
    return app.name.replace("-", "_")


def _maps(app: App, rules: tuple[Rule, ...]) -> str:
    name = _id(app)
    lines = [
        f'    "{"~*" if rule.fold else "~"}^{rule.pattern}{QUERY}$" {rule.door.value};  # {rule.name}\n'
        for rule in rules
    ]
    return f"""\
map $request_uri $ecluse_path_{name} {{
    default inspector;
{"".join(lines)}}}
map "$ecluse_simple:$ecluse_path_{name}" $ecluse_door_{name} {{
    default inspector;
    "1:{Door.CHECK.value}" {Door.CHECK.value};
    "1:{Door.APP.value}" {Door.APP.value};
}}
map $http_host $ecluse_known_{name} {{
    default 0;
    "~*^{host_pattern(app)}$" 1;
}}
"""


def _server(site: Site, app: App) -> str:
    name, policy = _id(app), site.loaded.policy
    names = " ".join(word(host) for host in app.hosts)
    down = calm_body(503).decode("utf-8").replace("\\", "\\\\").replace("'", "\\'").replace("$", "")
    return f"""\
server {{
{_listens(site, site.front.http_port, "")}\
    server_name {names};
{_heads(site)}\
    return 308 https://$host{"" if site.front.https_port == 443 else f":{site.front.https_port}"}$request_uri;
}}
server {{
{_listens(site, site.front.https_port, "ssl http2")}\
    server_name {names};
{_heads(site)}\

    ssl_certificate     {word(site.front.certificate)};
    ssl_certificate_key {word(site.front.key)};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets off;
    add_header Strict-Transport-Security "{HSTS}" always;

    # The address is judged as it was sent: nothing is merged or decoded before.
    merge_slashes off;
    underscores_in_headers off;
    ignore_invalid_headers on;
    # A door is reached by one error page, and what it refuses is told by another.
    recursive_error_pages on;
    if ($ecluse_known_{name} = 0) {{ return 421; }}

    client_body_timeout {site.times.body_pause_s}s;
    send_timeout {site.times.body_pause_s}s;
    client_max_body_size {policy.largest_request_bytes};

    # Pages stay nowhere on the way, and no exchange is played twice: a second try could spend or write again.
    proxy_cache off;
    # What an app could tell nginx to fetch in its place: the check's own answers, for one.
    proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_buffering off;
    proxy_max_temp_file_size 0;
    # Uploads go on as they come: the inspector refuses before it has them, and ends those that never end.
    proxy_request_buffering off;
    proxy_http_version 1.1;
    proxy_connect_timeout {site.times.connect_s}s;
    proxy_read_timeout {site.times.answer_s}s;
    proxy_next_upstream off;

    location / {{
        error_page {_TO_CHECK} = @ecluse_check;
        error_page {_TO_APP} = @ecluse_app;
        if ($ecluse_door_{name} = {Door.CHECK.value}) {{ return {_TO_CHECK}; }}
        if ($ecluse_door_{name} = {Door.APP.value}) {{ return {_TO_APP}; }}
        proxy_pass http://ecluse_inspector$request_uri;
        proxy_set_header Host $http_host;
        # Set, not appended to: what the browser claims about itself is dropped here.
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Forwarded "";
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $ecluse_connection;
    }}

    location @ecluse_check {{
        auth_request /ecluse-check;
        # Names that the check did not answer with are empty, and nginx sends no empty header.
        auth_request_set $ecluse_cookie $upstream_http_cookie;
        auth_request_set $ecluse_authorization $upstream_http_authorization;
        auth_request_set $ecluse_assertion $upstream_http_x_ecluse_assertion;
        auth_request_set $ecluse_answer $upstream_http_x_ecluse_answer;
        error_page 403 = @ecluse_answer;
        error_page 401 500 = @ecluse_down;
{_to_app(app)}\
        proxy_set_header Cookie $ecluse_cookie;
        proxy_set_header Authorization $ecluse_authorization;
        proxy_set_header X-Ecluse-Assertion $ecluse_assertion;
    }}

    location @ecluse_app {{
        # Nothing but what files need: nginx takes no headers away by the beginning of their names.
        proxy_pass_request_headers off;
{_to_app(app, _FOR_FILES)}\
    }}

    location = /ecluse-check {{
        internal;
        proxy_pass http://ecluse_edge{BRIEF};
        proxy_pass_request_body off;
        proxy_read_timeout {site.times.check_s}s;
        proxy_buffer_size 16k;
        proxy_buffers 4 16k;
{_question(site)}\
    }}

    location @ecluse_answer {{
        rewrite ^ {ANSWER} break;
        proxy_pass http://ecluse_edge;
        proxy_pass_request_body off;
        proxy_read_timeout {site.times.check_s}s;
        proxy_set_header Host ecluse;
        proxy_set_header Content-Length "";
        proxy_set_header Connection "";
        proxy_set_header X-Ecluse-Front "{site.secret}";
        proxy_set_header X-Ecluse-Answer $ecluse_answer;
    }}

    location @ecluse_down {{
        default_type "text/html; charset=utf-8";
        add_header Cache-Control no-store always;
        return 503 '{down}';
    }}
}}
"""


def _question(site: Site) -> str:
    lines = [
        ("Host", "ecluse"),
        ("X-Ecluse-Assertion", '""'),
        ("Content-Length", '""'),
        ("Connection", '""'),
        ("X-Ecluse-Front", f'"{site.secret}"'),
        ("X-Forwarded-Method", "$request_method"),
        ("X-Forwarded-Uri", "$request_uri"),
        ("X-Forwarded-Host", "$http_host"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-For", "$remote_addr"),
    ]
    return _set(lines) + _blank()


def _to_app(app: App, brought: tuple[str, ...] | None = None) -> str:
    """Return how the app is asked; *brought*: these headers of the client alone, in place of all but claims."""
    upstream, secure = app.upstream, ""
    if upstream.scheme == "https":
        secure = f"""\
        proxy_ssl_verify on;
        proxy_ssl_verify_depth 4;
        proxy_ssl_trusted_certificate {word(upstream.ca_file or SYSTEM_AUTHORITIES)};
        proxy_ssl_server_name on;
        proxy_ssl_name {word(upstream.host)};
"""
    lines = [
        ("Host", "$http_host"),
        ("Content-Length", '""'),
        ("Connection", '""'),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-Host", "$http_host"),
    ]
    hidden = "".join(f"        proxy_hide_header {name};\n" for name in KEPT_BACK)
    target = f"{upstream.scheme}://ecluse_app_{_id(app)}"
    body = f"        proxy_pass {target}$request_uri;\n        proxy_pass_request_body off;\n"
    if brought is None:
        return body + secure + hidden + _set(lines) + _blank(*claims.NOT_FOR_APPS)
    lines += [(name, f"$http_{name.lower().replace('-', '_')}") for name in brought]
    return body + secure + hidden + _set(lines)


def _set(lines: list[tuple[str, str]]) -> str:
    return "".join(f"        proxy_set_header {name} {value};\n" for name, value in lines)


def _blank(*more: str) -> str:
    names = [name for name in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO) if name != "x-ecluse-assertion"]
    return _set([(name.title(), '""') for name in (*names, *more)])

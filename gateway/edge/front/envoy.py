"""Envoy, 1.30 or newer, with ``ext_authz`` over HTTP: one bootstrap file.

What clients claim is taken away, and what the check must know put in, by ``header_mutation`` before the check is asked.
"""

from typing import Any

from gateway.edge import claims
from gateway.edge.check import CREDENTIALS
from gateway.edge.doors import Door, Rule
from gateway.edge.front.site import (
    HSTS,
    KEPT_BACK,
    PLAIN,
    SYSTEM_AUTHORITIES,
    Files,
    Place,
    Site,
    told,
    word,
    yaml,
)
from gateway.edge.service import CHECK
from gateway.policy.policy import App

_TYPES = "type.googleapis.com/envoy.extensions"
_AUTHZ = "envoy.filters.http.ext_authz"
_LUA = "envoy.filters.http.lua"
_SCRIPT = """\
local beginnings = {%s}
local function is_claim(name)
  for _, beginning in ipairs(beginnings) do
    if name:sub(1, #beginning) == beginning then
      return true
    end
  end
  return name:find("[._]") ~= nil
end
function envoy_on_request(request)
  local claims = {}
  for name in pairs(request:headers()) do
    if is_claim(name) then
      table.insert(claims, name)
    end
  end
  for _, name in ipairs(claims) do
    request:headers():remove(name)
  end
  if request:body() ~= nil then
    request:respond({[":status"] = "400"}, "")
  end
end
"""
_SET = "OVERWRITE_IF_EXISTS_OR_ADD"


# Envoy's own words about an upstream would tell how it reaches whom; the check's pages (UAEX) leave as they are.
_PLAIN_REPLY = {
    "filter": {
        "response_flag_filter": {"flags": ["UH", "UF", "UO", "NR", "UT", "LR", "UR", "UC", "UPE", "DPE"]}
    },
    "body_format_override": {"text_format_source": {"inline_string": "%RESPONSE_CODE%\n"}},
}


def envoy(site: Site) -> Files:
    """Return the configuration of *site*."""
    clusters = [_cluster(site, "inspector", site.inspector), _cluster(site, "edge", site.check)]
    clusters += [_app_cluster(site, app) for app, _ in site.apps]
    made = {"static_resources": {"listeners": [_secure(site), _plain(site)], "clusters": clusters}}
    return {"envoy.yaml": told(site) + yaml(made)}


def _typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{_TYPES}.{kind}", **fields}


def _listener(site: Site, name: str, port: int, **more: Any) -> dict[str, Any]:
    address = word(site.listen) if site.listen else "::"
    socket: dict[str, Any] = {"address": address, "port_value": port}
    if not site.listen:
        socket["ipv4_compat"] = True
    return {
        "name": name,
        "address": {"socket_address": socket},
        "per_connection_buffer_limit_bytes": 32_768,
        **more,
    }


def _secure(site: Site) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": word(site.front.certificate)},
        "private_key": {"filename": word(site.front.key)},
    }
    tls = _typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [certificate],
        },
    )
    hosts = [word(host) for app, _ in site.apps for host in app.hosts]
    # A name nobody serves finds no chain, and gets no answer at all.
    chain = {
        "filter_chain_match": {"server_names": hosts},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": [
            _manager(site, "https", [_virtual(site, app, rules) for app, rules in site.apps], _filters(site))
        ],
    }
    inspector = _typed("filters.listener.tls_inspector.v3.TlsInspector")
    return _listener(
        site,
        "https",
        site.front.https_port,
        listener_filters=[{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}],
        filter_chains=[chain],
    )


def _plain(site: Site) -> dict[str, Any]:
    redirect = {
        "match": {"prefix": "/"},
        "redirect": {
            "https_redirect": True,
            "port_redirect": site.front.https_port,
            "response_code": "PERMANENT_REDIRECT",
        },
    }
    hosts = [word(host) for app, _ in site.apps for host in app.hosts]
    virtual = {"name": "all", "domains": hosts, "routes": [redirect]}
    return _listener(
        site,
        "http",
        site.front.http_port,
        filter_chains=[{"filters": [_manager(site, "http", [virtual], [_router()])]}],
    )


def _manager(site: Site, name: str, hosts: list[Any], filters: list[Any]) -> dict[str, Any]:
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        # The address of the peer is the client's; what it says of itself is overwritten below.
        use_remote_address=True,
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        # The address is judged as it was sent, and handed on as it was sent.
        normalize_path=False,
        merge_slashes=False,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        max_request_headers_kb=min(8_192, -(-site.max_head_bytes // 1_024)),
        common_http_protocol_options={
            "idle_timeout": f"{site.times.idle_s}s",
            "max_headers_count": 200,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
        request_headers_timeout=f"{site.times.head_s}s",
        request_timeout=f"{site.times.body_s}s",
        stream_idle_timeout=f"{max(site.times.answer_s, site.times.body_pause_s)}s",
        upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}],
        local_reply_config={"mappers": [_PLAIN_REPLY]},
        route_config={"name": name, "ignore_port_in_host_matching": True, "virtual_hosts": hosts},
        http_filters=filters,
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _filters(site: Site) -> list[dict[str, Any]]:
    removed = [{"remove": name} for name in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO, *claims.NOT_FOR_APPS)]
    said = {
        "x-forwarded-method": "%REQ(:METHOD)%",
        "x-forwarded-uri": "%REQ(:PATH)%",
        "x-forwarded-host": "%REQ(:AUTHORITY)%",
        "x-forwarded-for": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "x-forwarded-proto": "https",
    }
    put = [{"append": {"header": {"key": k, "value": v}, "append_action": _SET}} for k, v in said.items()]
    mutation = _typed(
        "filters.http.header_mutation.v3.HeaderMutation", mutations={"request_mutations": [*removed, *put]}
    )
    # Envoy has taken Transfer-Encoding away before a route is chosen: a body without a length is met here alone.
    script = _SCRIPT % ", ".join(f'"{beginning}"' for beginning in claims.TAKEN_AWAY_FROM)
    lua = _typed("filters.http.lua.v3.Lua", default_source_code={"inline_string": script})
    return [
        {"name": _LUA, "typed_config": lua},
        {"name": "envoy.filters.http.header_mutation", "typed_config": mutation},
        {"name": _AUTHZ, "typed_config": _authz(site)},
        _router(),
    ]


def _router() -> dict[str, Any]:
    router = _typed("filters.http.router.v3.Router", suppress_envoy_headers=True)
    return {"name": "envoy.filters.http.router", "typed_config": router}


def _authz(site: Site) -> dict[str, Any]:
    return _typed(
        "filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        allowed_headers={"patterns": [{"safe_regex": {"regex": ".*"}}]},
        http_service={
            "server_uri": {"uri": "http://ecluse", "cluster": "edge", "timeout": f"{site.times.check_s}s"},
            "path_prefix": CHECK,
            "authorization_request": {"headers_to_add": [{"key": "x-ecluse-front", "value": site.secret}]},
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": name} for name in CREDENTIALS]}
            },
        },
    )


def _virtual(site: Site, app: App, rules: tuple[Rule, ...]) -> dict[str, Any]:
    return {
        "name": app.name,
        "domains": [word(host) for host in app.hosts],
        "response_headers_to_add": [
            {"header": {"key": "Strict-Transport-Security", "value": HSTS}, "append_action": _SET}
        ],
        "request_headers_to_remove": list(claims.NOT_FOR_APPS),
        "routes": [*(_route(site, app, rule) for rule in rules), _inspected(site, {"prefix": "/"})],
    }


def _route(site: Site, app: App, rule: Rule) -> dict[str, Any]:
    match: dict[str, Any] = {"safe_regex": {"regex": f"{'(?i)' if rule.fold else ''}{rule.pattern}"}}
    if rule.door is Door.INSPECTOR:
        return _inspected(site, match)
    match["headers"] = [
        # A route's own pattern sees no query.
        {"name": ":path", "string_match": {"safe_regex": {"regex": PLAIN}}},
        {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}},
        {
            "name": "content-length",
            "string_match": {"safe_regex": {"regex": "0?"}},
            "treat_missing_header_as_empty": True,
        },
        {"name": "upgrade", "present_match": False},
    ]
    found: dict[str, Any] = {
        "match": match,
        "route": {"cluster": f"app-{app.name}", "timeout": f"{site.times.answer_s}s"},
        "response_headers_to_remove": [name.lower() for name in KEPT_BACK],
    }
    if rule.door is Door.APP:
        found["request_headers_to_remove"] = list(CREDENTIALS)
        found["typed_per_filter_config"] = {_AUTHZ: _unasked()}
    return found


def _unasked() -> dict[str, Any]:
    return _typed("filters.http.ext_authz.v3.ExtAuthzPerRoute", disabled=True)


def _inspected(site: Site, match: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match,
        "route": {
            "cluster": "inspector",
            "timeout": f"{site.times.answer_s}s",
            "upgrade_configs": [{"upgrade_type": "websocket", "enabled": True}],
        },
        "typed_per_filter_config": {
            _AUTHZ: _unasked(),
            _LUA: _typed("filters.http.lua.v3.LuaPerRoute", disabled=True),
        },
    }


def _cluster(site: Site, name: str, place: Place, **more: Any) -> dict[str, Any]:
    address: dict[str, Any] = {
        "socket_address": {"address": place.host.strip("[]"), "port_value": place.port}
    }
    if place.socket is not None:
        address = {"pipe": {"path": word(place.socket)}}
    return {
        "name": name,
        "type": "STATIC" if place.socket is not None else "STRICT_DNS",
        "connect_timeout": f"{site.times.connect_s}s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        **more,
    }


def _app_cluster(site: Site, app: App) -> dict[str, Any]:
    upstream = app.upstream
    more: dict[str, Any] = {}
    if upstream.scheme == "https":
        name = word(upstream.host)
        names = [{"san_type": "DNS", "matcher": {"exact": name}}]
        trusted = {"filename": word(upstream.ca_file or SYSTEM_AUTHORITIES)}
        validation = {"trusted_ca": trusted, "match_typed_subject_alt_names": names}
        tls = _typed(
            "transport_sockets.tls.v3.UpstreamTlsContext",
            sni=name,
            common_tls_context={"validation_context": validation},
        )
        more["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    return _cluster(site, f"app-{app.name}", Place(host=upstream.host, port=upstream.port), **more)

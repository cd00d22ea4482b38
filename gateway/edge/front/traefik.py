"""Traefik 3, with ``forwardAuth``: a static file and, for the file provider, a dynamic one.

Traefik asks by TCP alone, and adds no header of its own to its questions: the secret is put into the request before
the check and taken out after it.
"""

from collections.abc import Mapping
from typing import Any

from gateway.edge import claims
from gateway.edge.doors import Door, Rule
from gateway.edge.front.site import (
    HSTS,
    KEPT_BACK,
    Files,
    Site,
    authority,
    told,
    word,
    yaml,
)
from gateway.edge.service import CHECK
from gateway.policy.policy import App

_METHODS = "(Method(`GET`) || Method(`HEAD`))"
_SIMPLE = f"{_METHODS} && !HeaderRegexp(`Upgrade`, `.`) && !HeaderRegexp(`Content-Length`, `[^0]`)"
_LOWEST = 10
_OVERWRITTEN = {"x-real-ip", "x-forwarded-port", "x-forwarded-server"}
"""What Traefik says itself, whatever a client says."""
# Of a socket Traefik would say wss, which is no scheme of a request.
_SECURE = {"X-Forwarded-Proto": "https"}


def traefik(site: Site) -> Files:
    """Return the configuration of *site*; ``traefik.yaml`` names its neighbour by its name alone."""
    return {
        "traefik.yaml": told(site) + yaml(_static(site)),
        "ecluse.yaml": told(site) + yaml(_dynamic(site)),
    }


def _entry(site: Site, port: int) -> dict[str, Any]:
    listen = f"[{site.listen}]" if ":" in site.listen else site.listen
    return {
        "address": f"{listen}:{port}",
        "transport": {
            "respondingTimeouts": {
                # Head and body together; a slow upload has as long as the app has.
                "readTimeout": f"{site.times.read_s}s",
                "writeTimeout": f"{site.times.write_s}s",
                "idleTimeout": f"{site.times.idle_s}s",
            }
        },
    }


def _static(site: Site) -> dict[str, Any]:
    secure = _entry(site, site.front.https_port)
    # The address is judged as it was sent, and handed on as it was sent.
    secure["http"] = {"sanitizePath": False, "maxHeaderBytes": site.max_head_bytes}
    plain = _entry(site, site.front.http_port)
    plain["http"] = {"maxHeaderBytes": site.max_head_bytes}
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"https": secure, "http": plain},
        "providers": {"file": {"filename": "ecluse.yaml", "watch": False}},
    }


def _dynamic(site: Site) -> dict[str, Any]:
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {
        "inspector": _service(f"http://{authority(site.inspector)}", "plain"),
    }
    transports: dict[str, Any] = {"plain": _transport(site)}
    for app, rules in site.apps:
        upstream = app.upstream
        transports[app.name] = _transport(site)
        if upstream.scheme == "https":
            transports[app.name] |= {"serverName": word(upstream.host)}
            if upstream.ca_file is not None:
                transports[app.name] |= {"rootCAs": [word(upstream.ca_file)]}
        services[f"app-{app.name}"] = _service(f"{upstream.scheme}://{authority(upstream)}", app.name)
        routers |= _routers(app, rules)
        routers |= {
            f"{app.name}-plain": {
                "entryPoints": ["http"],
                "rule": _hosts(app),
                "middlewares": ["to-https"],
                "service": "inspector",
            }
        }
    return {
        "http": {
            "routers": routers,
            "middlewares": _middlewares(site),
            "services": services,
            "serversTransports": transports,
        },
        "tls": {
            "certificates": [
                {"certFile": word(site.front.certificate), "keyFile": word(site.front.key)},
            ],
            "options": {
                "default": {
                    "minVersion": "VersionTLS12",
                    "sniStrict": True,
                    "alpnProtocols": ["h2", "http/1.1"],
                }
            },
        },
    }


def _service(url: str, transport: str) -> dict[str, Any]:
    return {
        "loadBalancer": {
            "passHostHeader": True,
            "serversTransport": transport,
            "servers": [{"url": url}],
        }
    }


def _transport(site: Site) -> dict[str, Any]:
    return {
        "maxIdleConnsPerHost": 64,
        "forwardingTimeouts": {
            "dialTimeout": f"{site.times.connect_s}s",
            "responseHeaderTimeout": f"{site.times.answer_s}s",
            "idleConnTimeout": f"{site.times.head_s}s",
        },
    }


def _hosts(app: App) -> str:
    return "(" + " || ".join(f"Host(`{word(host)}`)" for host in app.hosts) + ")"


def _routers(app: App, rules: tuple[Rule, ...]) -> dict[str, Any]:
    """Return a router a rule, the first with the highest priority, and one of the lowest for the inspector."""
    found: dict[str, Any] = {}
    for index, rule in enumerate(rules):
        pattern = f"PathRegexp(`{'(?i)' if rule.fold else ''}^{rule.pattern}$`)"
        narrow = "" if rule.door is Door.INSPECTOR else f" && {_SIMPLE}"
        found[f"{app.name}-{index}-{rule.door.value}"] = {
            "rule": f"{_hosts(app)} && {pattern}{narrow}",
            "priority": _LOWEST + len(rules) - index,
            **_target(app, rule.door),
        }
    found[f"{app.name}-inspector"] = {
        "rule": _hosts(app),
        "priority": _LOWEST,
        **_target(app, Door.INSPECTOR),
    }
    return found


def _target(app: App, door: Door) -> Mapping[str, Any]:
    chain = ["hsts", "claims"]
    if door is not Door.INSPECTOR:
        # About public files too: a rule sees neither a body without a length nor every name that some servers read as
        # an identity, and the check refuses both.
        chain += ["nobody"] if door is Door.APP else []
        chain += ["question", "check", "onward"]
    service = "inspector" if door is Door.INSPECTOR else f"app-{app.name}"
    return {"entryPoints": ["https"], "middlewares": chain, "service": service, "tls": {}}


def _middlewares(site: Site) -> dict[str, Any]:
    kept_back = dict.fromkeys(KEPT_BACK, "")
    not_for_apps = {name.title(): "" for name in claims.NOT_FOR_APPS}
    taken = {name.title(): "" for name in (*claims.TAKEN_AWAY, *claims.TAKEN_TOO) if name not in _OVERWRITTEN}
    return {
        "hsts": {"headers": {"customResponseHeaders": {"Strict-Transport-Security": HSTS}}},
        "to-https": {
            "redirectScheme": {"scheme": "https", "port": str(site.front.https_port), "permanent": True},
        },
        # What a browser claims about itself is dropped here; an empty value takes the header away.
        "claims": {"headers": {"customRequestHeaders": taken | not_for_apps | _SECURE}},
        "nobody": {"headers": {"customRequestHeaders": {"Cookie": "", "Authorization": ""}}},
        "question": {"headers": {"customRequestHeaders": {"X-Ecluse-Front": site.secret}}},
        "check": {
            "forwardAuth": {
                "address": f"http://{authority(site.check_by_port('Traefik'))}{CHECK}",
                "trustForwardHeader": False,
                "preserveLocationHeader": True,
                # Each of these is taken away, and set only when the check answers with it.
                "authResponseHeaders": ["Cookie", "Authorization", "X-Ecluse-Assertion"],
                # A body that came without a length would reach the app: the check is shown it, and refuses.
                "forwardBody": True,
                "maxBodySize": 1,
            }
        },
        "onward": {"headers": {"customRequestHeaders": not_for_apps, "customResponseHeaders": kept_back}},
    }

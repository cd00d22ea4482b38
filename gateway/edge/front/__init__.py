"""The front proxies' configurations, written from the gateway's own. Pure: values in, texts of files out."""

from collections.abc import Callable

from gateway.edge.front.caddy import caddy
from gateway.edge.front.envoy import envoy
from gateway.edge.front.haproxy import haproxy
from gateway.edge.front.nginx import nginx
from gateway.edge.front.site import CannotWrite, Files, Site
from gateway.edge.front.traefik import traefik

WRITERS: dict[str, Callable[[Site], Files]] = {
    "nginx": nginx,
    "caddy": caddy,
    "envoy": envoy,
    "haproxy": haproxy,
    "traefik": traefik,
}

__all__ = ["WRITERS", "CannotWrite", "Files", "Site"]

"""The front proxies' configurations, written from the gateway's own. Pure: values in, texts of files out."""

from collections.abc import Callable

from gateway.edge.front.nginx import nginx
from gateway.edge.front.site import CannotWrite, Files, Site

WRITERS: dict[str, Callable[[Site], Files]] = {"nginx": nginx}

__all__ = ["WRITERS", "CannotWrite", "Files", "Site"]

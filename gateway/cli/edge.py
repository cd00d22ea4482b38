"""``ecluse edge``: the check that a front proxy asks, and the proxy's configuration."""

import click

from gateway.cli import LazyGroup

_SERVE = (
    "gateway.cli.edge_serve:serve",
    "Answer the front proxy until SIGTERM; SIGHUP reloads, SIGUSR2 replaces the processes one by one.",
)


@click.group(
    cls=LazyGroup,
    listed={
        "serve": _SERVE,
        "status": ("gateway.cli.edge_processes:status", "Tell which processes of the check there are."),
        "restart": (
            "gateway.cli.edge_processes:restart",
            "Replace every process of the check by a fresh one; no question fails.",
        ),
        "config": (
            "gateway.cli.edge_config:config_",
            "Write the configuration of nginx, Traefik, Caddy, Envoy or HAProxy for this site.",
        ),
    },
    epilog="Example:  ecluse edge config nginx --into /etc/nginx/conf.d",
)
def edge() -> None:
    """Run the check for a front proxy; write the proxy's configuration."""

"""``ecluse edge config``: the front proxy's configuration, written from the gateway's own."""

from pathlib import Path

import click

from gateway.audit.drafts import NotWritten, text_draft
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail
from gateway.cli.loading import load_or_exit
from gateway.edge.front import WRITERS, CannotWrite, Site


@click.command(name="config", epilog="Example:  ecluse edge config haproxy --into /etc/haproxy/ecluse")
@click.argument("proxy", type=click.Choice(sorted(WRITERS)))
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the files into, mode 0600; printed when left out.",
)
@config_option
def config_(proxy: str, into: Path | None, config_path: str) -> int:
    """Write the configuration of nginx, Traefik, Caddy, Envoy or HAProxy for this site."""
    loaded = load_or_exit(config_path)
    try:
        files = WRITERS[proxy](Site.of(loaded))
    except CannotWrite as error:
        fail(str(error), EXIT_FAULT)
    for name, text in files.items():
        if into is None:
            click.echo(f"# --- {name}\n{text}" if len(files) > 1 else text, nl=False)
            continue
        try:
            with text_draft(into / name) as file:
                file.write(text)
        except NotWritten as error:
            fail(str(error), EXIT_FAULT)
        click.echo(f"{into / name} is written.")
    return EXIT_DONE

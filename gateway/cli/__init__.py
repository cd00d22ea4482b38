"""The command line: one file a noun, loaded only when it is called."""

import difflib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from gateway import __version__

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
"""The answer is no: the thing asked for is not so, or may not be done."""
EXIT_FAULT: Final = 2
"""Bad input or configuration, or something needed is not there."""

DEFAULT_CONFIG: Final = "/etc/ecluse/ecluse.yaml"

Listed = dict[str, tuple[str, str]]
"""Commands by name: ``module:attribute`` and the line of the help, which so needs no command's imports."""

_COMMANDS: Final[Listed] = {
    "serve": (
        "gateway.cli.serve_start:serve",
        "Run the gateway until SIGTERM; SIGHUP reloads the configuration, SIGUSR2 replaces the workers one by one.",
    ),
    "demo": ("gateway.cli.demo:demo", "Run a small e-health app with the gateway in front of it."),
    "doctor": (
        "gateway.cli.doctor:doctor",
        "Check an installation: configuration, keys, store, log, clock, certificates, applications, what is in force.",
    ),
    "edge": ("gateway.cli.edge:edge", "Run the check for a front proxy; write the proxy's configuration."),
    "config": ("gateway.cli.config:config", "Check, explain, compare and reload the configuration."),
    "workers": ("gateway.cli.workers:workers", "Show the workers of this node, replace them one by one."),
    "keys": (
        "gateway.cli.keys:keys",
        "Make the gateway's keys, replace and drop them, show their public parts.",
    ),
    "account": ("gateway.cli.account:account", "Invite people, lock and unlock accounts, list sessions."),
    "canary": (
        "gateway.cli.canary:canary",
        "Set, list and remove decoys: opening or exporting one locks the account and alarms.",
    ),
    "alerts": (
        "gateway.cli.alerts:alerts",
        "List alerts, try where they go, note that somebody has looked at them.",
    ),
    "audit": ("gateway.cli.audit:audit", "Query, follow and verify the audit log."),
    "limits": (
        "gateway.cli.limits:limits",
        "Show the bounds of an account and their use, review emergency accesses, propose caps.",
    ),
    "posture": (
        "gateway.cli.posture:posture",
        "Be strict with everybody for a while, or normal again; show which it is.",
    ),
    "plan-blanc": (
        "gateway.cli.plan_blanc:plan_blanc",
        "Raise the caps of the accounts of ESTABLISHMENT for a while; without it, list the plans in force.",
    ),
    "witness": (
        "gateway.cli.witness:witness",
        "Cosign the logs of neighbours, so that none of them rewrites its past unseen.",
    ),
    "breach": (
        "gateway.cli.breach:breach",
        "Tell exactly who was exposed by stolen accounts, with the papers for authority and persons.",
    ),
    "backup": (
        "gateway.cli.backup:backup",
        "Write one file that only its recipients can read, while the gateway runs.",
    ),
    "restore": ("gateway.cli.restore:restore", "Read a backup back."),
    "store": ("gateway.cli.store:store", "Look at the store, adopt an emptied one."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, and not before."""

    def __init__(self, *arguments: Any, listed: Listed, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.listed: Final = listed

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order they are listed in."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return the command *cmd_name*, None when there is none."""
        entry = self.listed.get(cmd_name)
        if entry is None:
            return None
        command = pkgutil.resolve_name(entry[0])
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry[0]} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in self.listed.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one gets a suggestion."""
        if args and args[0] not in self.listed and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.listed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Commands: {', '.join(self.listed)}."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    listed=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example:  ecluse config check --config /etc/ecluse/ecluse.yaml",
)
@click.version_option(__version__, prog_name="ecluse", message="%(prog)s %(version)s")
def cli() -> None:
    """Écluse: second factor, patient caps and audit in front of unmodified e-health apps."""


def config_option(command: Any) -> Any:
    """Add ``--config PATH``, by default ECLUSE_CONFIG or /etc/ecluse/ecluse.yaml."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=str),
        envvar="ECLUSE_CONFIG",
        default=DEFAULT_CONFIG,
        show_default=True,
        show_envvar=True,
        help="The gateway's main configuration file.",
    )(command)


def json_option(command: Any) -> Any:
    """Add ``--json``: machines get JSON on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def fail(message: str, code: int = EXIT_FAULT) -> NoReturn:
    """Write *message* to standard error and leave with *code*."""
    click.echo(f"ecluse: {message}", err=True)
    raise SystemExit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; leave with 0 done, 1 refused, 2 bad input or something missing."""
    try:
        result = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="ecluse", standalone_mode=False
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show(file=sys.stderr)
        raise SystemExit(EXIT_FAULT) from None
    except click.exceptions.Exit as leaving:
        raise SystemExit(leaving.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader has gone, as in `ecluse audit query | head`: that is no fault, and nothing more is said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_DONE) from None
    raise SystemExit(result if isinstance(result, int) else EXIT_DONE)

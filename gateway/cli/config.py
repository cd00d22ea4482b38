"""``ecluse config``: check, explain, compare and reload the configuration; print its reference."""

import dataclasses
import json
from pathlib import Path

import click

from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail, json_option
from gateway.cli.audit_consult import moment
from gateway.cli.config_diff import diff
from gateway.cli.config_reload import reload_
from gateway.cli.loading import count_faults, load_or_exit
from gateway.clock import SystemClock
from gateway.configuration import ConfigurationFaults, load
from gateway.configuration.reference import reference
from gateway.policy.explain import Asker
from gateway.policy.explain import explain as explain_request


@click.group(epilog="Example:  ecluse config check --config /etc/ecluse/ecluse.yaml")
def config() -> None:
    """Check, explain, compare and reload the configuration."""


config.add_command(diff)
config.add_command(reload_)


@config.command(epilog="Example:  ecluse config check --json")
@config_option
@json_option
def check(config_path: str, as_json: bool) -> int:
    """Read the configuration and tell every fault at once. Exit code 0: sound; 2: faults."""
    try:
        loaded = load(Path(config_path))
    except ConfigurationFaults as found:
        if as_json:
            faults = [dataclasses.asdict(fault) | {"file": str(fault.file)} for fault in found.faults]
            click.echo(json.dumps({"sound": False, "faults": faults}, ensure_ascii=False))
        else:
            for fault in found.faults:
                click.echo(str(fault), err=True)
            click.echo(f"ecluse: {count_faults(len(found.faults))}", err=True)
        return EXIT_FAULT
    policy = loaded.policy
    if as_json:
        told = {
            "sound": True,
            "policy_id": policy.policy_id,
            "apps": list(policy.apps),
            "realms": list(policy.realms),
        }
        click.echo(json.dumps(told))
    else:
        routes = sum(len(app.routes) for app in policy.apps.values())
        click.echo(
            f"{config_path} is sound: {len(policy.apps)} app(s), {routes} routes, "
            f"{len(policy.realms)} realm(s), policy {policy.policy_id}."
        )
    return EXIT_DONE


@config.command(
    epilog="Example:  ecluse config explain GET https://parcours.chu.example/dossiers/1001 --as dr.martin"
)
@click.argument("method")
@click.argument("url")
@click.option("--as", "login", help="Account the request would be made by.")
@click.option("--class", "account_class", help="Class of the account; the realm's default one when left out.")
@click.option("--establishment", help="Establishment of the account.")
@click.option("--at", "at_ms", type=moment, help="When; now when left out.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the posted form; may be repeated.",
)
@config_option
@json_option
def explain(
    method: str,
    url: str,
    login: str | None,
    account_class: str | None,
    establishment: str | None,
    at_ms: int | None,
    params: tuple[str, ...],
    config_path: str,
    *,
    as_json: bool,
) -> int:
    """Say which rule would hold for a request, why, and what it would cost; which rule gives each bound."""
    pairs = []
    for text in params:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--param")
        pairs.append((name, value))
    loaded = load_or_exit(config_path)
    try:
        asker = Asker(login, account_class, establishment, SystemClock().now_ms() if at_ms is None else at_ms)
        told = explain_request(loaded.policy, method=method, url=url, asker=asker, params=tuple(pairs))
    except ValueError as error:
        fail(str(error), EXIT_FAULT)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(told), ensure_ascii=False, default=str))
    else:
        for line in told.lines:
            click.echo(line)
    return EXIT_DONE


@config.command(name="reference", epilog="Example:  ecluse config reference")
def reference_() -> None:
    """Print every key of the configuration with its default and its meaning, as Markdown."""
    click.echo(reference(), nl=False)

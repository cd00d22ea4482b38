"""``ecluse config``: check, explain and reload the configuration; print its reference."""

import dataclasses
import json
import os
import signal
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_consult import moment
from gateway.cli.loading import count_faults, load_or_exit
from gateway.cli.reload_answer import AnswerUnread, read_answer
from gateway.clock import SystemClock
from gateway.configuration import ConfigurationFaults, Settings, load
from gateway.configuration.reference import reference
from gateway.policy.explain import Asker
from gateway.policy.explain import explain as explain_request

_POLL_S: Final = 0.05


@click.group(epilog="Example:  ecluse config check --config /etc/ecluse/ecluse.yaml")
def config() -> None:
    """Check, explain and reload the configuration."""


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


@config.command(name="reload", epilog="Example:  ecluse config reload")
@click.option("--wait-s", default=10.0, show_default=True, help="Longest wait for the gateway's answer.")
@config_option
@json_option
def reload_(wait_s: float, config_path: str, as_json: bool) -> int:
    """Have the running gateway read its configuration again. Exit code 0: in force; 1: refused."""
    settings = load_or_exit(config_path).settings
    pid = _serving(settings)
    before = _stamp(settings.reload_file)
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        fail(
            f"the gateway (process {pid}) cannot be told: {error.strerror}; run this as its user", EXIT_FAULT
        )
    deadline = time.monotonic() + wait_s
    while _stamp(settings.reload_file) == before:
        if time.monotonic() > deadline:
            fail(
                f"the gateway (process {pid}) did not answer within {wait_s:g} s; look at its log", EXIT_FAULT
            )
        time.sleep(_POLL_S)
    try:
        answer = read_answer(settings.reload_file)
    except AnswerUnread as error:
        fail(str(error), EXIT_FAULT)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(answer), ensure_ascii=False))
    elif answer.loaded:
        click.echo(f"The configuration is in force: policy {answer.policy_id}.")
    else:
        for fault in answer.faults:
            click.echo(fault, err=True)
        click.echo("ecluse: the gateway refused the configuration and keeps the old one", err=True)
    return EXIT_DONE if answer.loaded else EXIT_REFUSED


@config.command(name="reference", epilog="Example:  ecluse config reference")
def reference_() -> None:
    """Print every key of the configuration with its default and its meaning, as Markdown."""
    click.echo(reference(), nl=False)


def _serving(settings: Settings) -> int:
    try:
        pid = int(settings.pid_file.read_text("ascii").strip())
    except (OSError, ValueError):
        fail(f"no gateway is running: {settings.pid_file} holds no process id", EXIT_FAULT)
    command = Path(f"/proc/{pid}/cmdline")
    try:
        words = command.read_bytes()
    except FileNotFoundError:
        fail(f"no gateway is running: process {pid} of {settings.pid_file} has ended", EXIT_FAULT)
    # A signal to a stranger that was given the same number would end it.
    if b"ecluse" not in words and b"gateway" not in words:
        fail(f"process {pid} of {settings.pid_file} is not the gateway: take the file away", EXIT_FAULT)
    return pid


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino

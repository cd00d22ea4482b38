"""``ecluse doctor``: whether an installation works and protects, without changing anything."""

import asyncio
import dataclasses
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from gateway import dependencies
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, json_option
from gateway.cli.loading import count_faults
from gateway.cli.running import NotRunning, Running
from gateway.clock import SystemClock
from gateway.configuration import (
    ConfigurationFaults,
    KeysRefused,
    Loaded,
    Settings,
    fingerprint,
    load,
    load_keys,
)
from gateway.configuration.in_force import InForceUnread, compare, of_loaded, read_in_force
from gateway.doctor import host, journal, store, upstreams, wiring
from gateway.doctor.findings import Finding, Outcome, failed, ok
from gateway.vocabulary.keys import Keys
from gateway.vocabulary.running import Door

_COLOURS: Final = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red"}


@click.command(epilog="Example:  sudo -u ecluse ecluse doctor --config /etc/ecluse/ecluse.yaml")
@click.option("--strict", is_flag=True, help="Leave with 1 on warnings too.")
@config_option
@json_option
def doctor(config_path: str, as_json: bool, strict: bool) -> int:
    """Check an installation: configuration, keys, store, log, clock, certificates, applications, what is in force.

    Changes nothing; run it as the gateway's user. Each application is asked directly, without the gateway's assertion,
    for its check_path. Exit code 0: nothing failed; 1: something did; 2: the configuration cannot be read.
    """
    try:
        loaded = load(Path(config_path))
    except ConfigurationFaults as found:
        said = count_faults(len(found.faults)).partition(";")[0]
        _show([failed("configuration", said, "see `ecluse config check`")], as_json=as_json)
        return EXIT_FAULT
    findings = asyncio.run(examine(loaded))
    _show(findings, as_json=as_json)
    bad = {Outcome.FAILED, Outcome.WARNING} if strict else {Outcome.FAILED}
    return EXIT_REFUSED if any(finding.outcome in bad for finding in findings) else EXIT_DONE


async def examine(loaded: Loaded) -> list[Finding]:
    """Return every finding about the installation that *loaded* describes."""
    settings, policy, clock = loaded.settings, loaded.policy, SystemClock()
    findings = [ok("configuration", f"sound: policy {policy.policy_id}")]
    findings += wiring.judge_packages(_packages())
    keys, said = _keys(settings)
    findings.append(said)
    running = await asyncio.to_thread(_running, loaded)
    findings.append(wiring.judge_running(running))
    store_facts, apps, log_facts = await asyncio.gather(
        store.gather(settings, fingerprint(keys) if keys is not None else None, clock),
        upstreams.gather(list(policy.apps.values())),
        asyncio.to_thread(
            journal.gather,
            settings.audit_dir,
            files.verifier_keys(keys.checkpoint, LOG_NAME) if keys is not None else (),
        ),
    )
    findings += store.judge(store_facts)
    findings += journal.judge(log_facts)
    findings += host.judge(host.gather(running.pid))
    hosts = list(policy.by_host)
    for setting, certificate, key in _certificates(settings):
        findings.append(
            host.judge_certificate(host.read_certificate(setting, certificate, key), hosts, clock.now_ms())
        )
    findings.append(
        wiring.judge_proxies(
            policy.trusted_proxies,
            settings.listen_address,
            has_tls=settings.tls_certificate is not None,
            has_edge=settings.edge is not None,
        )
    )
    findings += wiring.judge_watch(loaded)
    for facts in apps:
        findings += upstreams.judge(facts)
    return findings


def _packages() -> list[str]:
    contract = import_module("addons.contract")
    try:
        contract.check()
    except contract.ContractBroken as error:
        return [*dependencies.faults(), *(f"{said}: install requirements.lock" for said in error.faults)]
    return dependencies.faults()


def _keys(settings: Settings) -> tuple[Keys | None, Finding]:
    try:
        return load_keys(settings.keys_dir), ok("keys", "whole, and readable by their owner alone")
    except KeysRefused as refused:
        said, _, mend = str(refused).partition(": ")
        return None, failed("keys", said, mend or "`ecluse keys init` makes them, a copy restores them")
    except OSError as error:
        said = f"{settings.keys_dir} cannot be read: {error.strerror}"
        return None, failed("keys", said, "run this as the gateway's user")


def _running(loaded: Loaded) -> wiring.RunningFacts:
    settings = loaded.settings
    try:
        pid = Running.of(settings, Door.INSPECTOR).find()
    except (NotRunning, OSError) as error:
        return wiring.RunningFacts(None, str(error))
    try:
        changes = compare(read_in_force(settings.in_force_file), of_loaded(loaded))
    except InForceUnread:
        return wiring.RunningFacts(pid)
    return wiring.RunningFacts(pid, "", changes)


def _certificates(settings: Settings) -> list[tuple[str, Path, Path]]:
    found = []
    if settings.tls_certificate is not None and settings.tls_key is not None:
        found.append(("certificate", settings.tls_certificate, settings.tls_key))
    front = settings.edge.front if settings.edge is not None else None
    # The front proxy's files are often its own: what cannot be seen is not judged.
    if front is not None and os.access(front.key, os.R_OK):
        found.append(("certificate of the front proxy", front.certificate, front.key))
    return found


def _show(findings: list[Finding], *, as_json: bool) -> None:
    counts = {outcome.value: sum(one.outcome is outcome for one in findings) for outcome in Outcome}
    if as_json:
        told = {"counts": counts, "findings": [dataclasses.asdict(one) for one in findings]}
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for one in findings:
        word = f"{one.outcome.value:<8}"
        click.echo(
            f"{click.style(word, fg=_COLOURS[one.outcome]) if coloured else word}{one.check}: {one.said}"
        )
        if one.mend:
            click.echo(f"        mend: {one.mend}")
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))

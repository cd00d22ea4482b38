"""``ecluse breach``: who was exposed, the papers for authority and persons, and their signature."""

import re
import tempfile
import threading
import zoneinfo
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import duckdb

from gateway.accounts.names import NameRefused, canonical
from gateway.audit import files
from gateway.audit.breach.dossier import Dossier, Facts, leads, make_dossier, rfc3339
from gateway.audit.breach.footing import NotYetSigned, ReadingDiffers
from gateway.audit.breach.pdf import PdfMissing
from gateway.audit.breach.report import Form, write_report
from gateway.audit.breach.seal import SUFFIX, open_seal, seal
from gateway.audit.checkpoint import LOG_NAME, Checkpoint, CheckpointRefused, VerifierKey, open_checkpoint
from gateway.audit.drafts import drafts
from gateway.audit.encoding import visible
from gateway.audit.files import LogDamaged
from gateway.audit.manifest import ManifestDamaged
from gateway.audit.query import Question, ask
from gateway.audit.scope import Asked, device_of
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail
from gateway.cli.account_logins import LoginsRefused, read_logins
from gateway.cli.audit_consult import consult_options, moment, open_consultation, why_unread
from gateway.cli.breach_verify import verify
from gateway.cli.loading import load_or_exit
from gateway.cli.progress import progress
from gateway.clock import SystemClock
from gateway.policy.policy import Policy
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.keys import Keys
from gateway.vocabulary.records import Sensitivity

_SETTLED_MS = 2_000
"""An exchange is recorded a little after the moment it bears: a period ends when that is over."""

_BEFORE_MS = 604_800_000
"""A session of the period may have been opened so long before it."""

_DEVICE = re.compile(r"[0-9a-f]{16}\Z")
_SIGN_TRIES = 6
_SIGN_EVERY_S = 1.0


@click.group(
    epilog="Example:  ecluse breach scope --accounts dr.martin --from 2025-09-01 --to 2025-09-08 --html "
    "-o dossier.html --reason 'ticket 4711'"
)
def breach() -> None:
    """Tell exactly who was exposed by stolen accounts, with the papers for authority and persons."""


@breach.command(
    epilog="Example:  ecluse breach scope --file accounts.csv --from 2025-09-01 --to 2025-09-08 --csv -o persons.csv "
    "--reason 'ticket 4711'"
)
@click.option("--accounts", multiple=True, help="Logins, separated by commas.")
@click.option(
    "--file",
    "logins_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also everybody in this file: one login a line, or CSV with a column login.",
)
@click.option(
    "--devices",
    multiple=True,
    help="Devices as the log names them, separated by commas: what was shown on them alone; without accounts, to "
    "everybody who logged in with one.",
)
@click.option("--realm", "realm_name", help="The realm; all of them when left out.")
@click.option(
    "--from", "from_ms", type=moment, required=True, help="From this moment on: 2025-09-01, RFC 3339, or 7d."
)
@click.option("--to", "to_ms", type=moment, required=True, help="Before this moment, which has passed.")
@click.option("--json", "form", flag_value=Form.JSON.value, help="Everything, for machines.")
@click.option(
    "--html", "form", flag_value=Form.HTML.value, help="The dossier, for people; accessible, printable."
)
@click.option("--pdf", "form", flag_value=Form.PDF.value, help="The dossier on paper (needs ecluse[pdf]).")
@click.option("--csv", "form", flag_value=Form.CSV.value, help="The list of persons, for the mailing.")
@click.option("-o", "--output", "output", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help=f"The report; its signature stands beside it, as FILE{SUFFIX}.")  # fmt: skip
@click.option("--notification", type=click.Choice(["initiale", "complementaire", "complete"]), default="initiale",
              show_default=True, help="Which notification to the authority.")  # fmt: skip
@click.option(
    "--aware", "aware_ms", type=moment, help="When the breach was known: the 72 hours count from there."
)
@click.option("--previous", default="", help="The authority's number of an earlier notification.")
@click.option("--zone", default="Europe/Paris", show_default=True, help="Time zone of the texts.")
@click.option(
    "--as-of",
    "as_of_paths",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"An earlier report's {SUFFIX}, or checkpoints: look no further than these states.",
)
@click.option(
    "--widen",
    type=click.Choice(["client"]),
    help="Also name other accounts seen from the same addresses: a lead, not a finding.",
)
@consult_options
@config_option
def scope(
    *,
    accounts: tuple[str, ...],
    logins_path: Path | None,
    devices: tuple[str, ...],
    realm_name: str | None,
    from_ms: int,
    to_ms: int,
    form: str | None,
    output: Path,
    as_of_paths: tuple[Path, ...],
    widen: str | None,
    audit_dir: Path | None,
    keys_dir: Path | None,
    why: str | None,
    config_path: str,
    is_copy: bool,
    **told: Any,
) -> int:
    """Tell exactly which patients some accounts saw in a period, and write the papers for it.

    The logs are read whole and proven first; the same question gives the same bytes. The report is signed with
    the checkpoint key. Leaves with 1 when no report can stand on the logs.
    """
    if form is None:
        raise click.UsageError("Say what to write: --html, --pdf, --json or --csv.")
    if not from_ms < to_ms <= SystemClock().now_ms() - _SETTLED_MS:
        raise click.UsageError("--to must lie after --from, and have passed two seconds ago or more.")
    trail = open_consultation(audit_dir, keys_dir, config_path, is_copy=is_copy)
    if trail.keys is None:
        raise click.UsageError("A report is proven and signed with the checkpoint keys: give --keys-dir.")
    policy = load_or_exit(config_path).policy if audit_dir is None else None
    labels = _labels(devices)
    if labels and not accounts and logins_path is None:
        who = Question(
            realm=realm_name, kinds=(EventKind.SESSION_OPENED,), from_ms=from_ms - _BEFORE_MS, to_ms=to_ms
        )
        trail.record("breach scope", why, who, devices=labels)
        names = _users(trail.places, who, labels)
    else:
        names = _names(accounts, logins_path, policy, realm_name)
    asked = Asked(names, from_ms, to_ms, realm_name, labels)
    facts = _facts(policy, told)
    verifiers = list(files.verifier_keys(trail.keys.checkpoint, LOG_NAME))
    as_of = _states(as_of_paths, verifiers) if as_of_paths else None
    question = Question(accounts=asked.accounts, realm=asked.realm, from_ms=from_ms, to_ms=to_ms)
    trail.record("breach scope", why, question, form=form, devices=labels)
    command = _command(asked, form, facts, widen, as_of_paths)
    try:
        with tempfile.TemporaryDirectory(prefix="ecluse-breach-") as held:
            dossier = _dossier(trail.places, question, asked, facts, verifiers, as_of, Path(held))
            if widen is not None:
                everybody = replace(question, accounts=())
                found = leads(asked, dossier.scope.clients, ask(trail.places, everybody), dossier.footings)
                dossier = replace(dossier, leads=found)
            _write(dossier, Form(form), output, command, trail.keys)
    except (LogDamaged, ManifestDamaged, NotYetSigned, ReadingDiffers) as error:
        fail(f"no report can stand on these logs: {error}", EXIT_REFUSED)
    except PdfMissing as error:
        fail(str(error), EXIT_FAULT)
    except (OSError, duckdb.Error) as error:
        fail(f"the report could not be made: {why_unread(error)}", EXIT_FAULT)
    _tell(dossier, output)
    return EXIT_DONE


def _names(
    accounts: tuple[str, ...], path: Path | None, policy: Policy | None, realm_name: str | None
) -> tuple[str, ...]:
    typed = [login.strip() for text in accounts for login in text.split(",") if login.strip()]
    if path is not None:
        try:
            typed += [one.login for one in read_logins(path)]
        except LoginsRefused as refused:
            fail(str(refused), EXIT_FAULT)
    if not typed:
        raise click.UsageError("Name the accounts: --accounts LOGIN,LOGIN or --file FILE.")
    if policy is None:
        return tuple(sorted(set(typed)))
    if realm_name is not None and realm_name not in policy.realms:
        raise click.BadParameter(f"one of {', '.join(sorted(policy.realms))}", param_hint="--realm")
    realms = [policy.realms[realm_name]] if realm_name is not None else list(policy.realms.values())
    names: set[str] = set()
    for login in typed:
        try:
            names |= {canonical(login, realm.mapping) for realm in realms}
        except NameRefused as refused:
            raise click.BadParameter(
                f"{visible(login)!r} cannot be an account name: {refused.fault.value}",
                param_hint="--accounts",
            ) from None
    return tuple(sorted(names))


def _labels(devices: tuple[str, ...]) -> tuple[str, ...]:
    labels = {label.strip() for text in devices for label in text.split(",") if label.strip()}
    for label in labels:
        if not _DEVICE.match(label):
            raise click.BadParameter(
                f"{visible(label)!r} is no device: the log names them by 16 hex digits",
                param_hint="--devices",
            )
    return tuple(sorted(labels))


def _users(places: Sequence[Path], question: Question, labels: Sequence[str]) -> tuple[str, ...]:
    try:
        found = {event.get("account") for event in ask(places, question) if device_of(event) in labels}
    except (LogDamaged, ManifestDamaged, OSError, duckdb.Error) as error:
        fail(f"no report can stand on these logs: {error}", EXIT_REFUSED)
    names = tuple(sorted(name for name in found if name))
    if not names:
        fail(f"nobody logged in with {', '.join(labels)} up to a week before, or in the period", EXIT_REFUSED)
    return names


def _facts(policy: Policy | None, told: dict[str, Any]) -> Facts:
    facts = Facts(**told)
    try:
        zoneinfo.ZoneInfo(facts.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(
            f"{facts.zone!r} is not known to this system: install its time zones (tzdata), or give --zone UTC",
            param_hint="--zone",
        ) from None
    if policy is None:
        return facts
    medical = sorted(
        (app.name, route.name)
        for app in policy.apps.values()
        for route in app.routes
        if route.extraction is not None and route.sensitivity is Sensitivity.MEDICAL
    )
    return replace(
        facts,
        body_name=policy.body.name,
        contact=policy.body.contact,
        medical=tuple(medical),
        policy_id=policy.policy_id,
    )


def _states(paths: Sequence[Path], keys: Sequence[VerifierKey]) -> dict[str, Checkpoint]:
    states: dict[str, Checkpoint] = {}
    for path in paths:
        note = path.read_bytes()
        try:
            found: tuple[Checkpoint, ...]
            try:
                found = open_seal(note, keys).states
            except CheckpointRefused:
                found = (open_checkpoint(note, keys),)
        except CheckpointRefused as error:
            fail(f"{path}: {error}", EXIT_FAULT)
        states |= {state.origin: state for state in found}
    return states


def _dossier(
    places: Sequence[Path],
    question: Question,
    asked: Asked,
    facts: Facts,
    verifiers: Sequence[VerifierKey],
    as_of: dict[str, Checkpoint] | None,
    held: Path,
) -> Dossier:
    logs: list[Path] = []
    for place in places:
        found = files.log_directories(place)
        if not found:
            # A folder that is not mounted must not make a report on the other nodes alone.
            fail(
                f"{place} holds no audit log: mount or copy it there, or give the folder of all journals",
                EXIT_FAULT,
            )
        logs += found
    waiting = threading.Event()
    for left in range(_SIGN_TRIES - 1, -1, -1):
        try:
            with progress() as begin:
                return make_dossier(
                    asked,
                    logs,
                    lambda: ask(places, question),
                    verifiers,
                    held,
                    facts,
                    as_of=as_of,
                    progress=begin,
                )
        except NotYetSigned:
            # A gateway signs at most once a second.
            if not left:
                raise
            waiting.wait(_SIGN_EVERY_S)
    raise AssertionError("unreachable")


def _command(asked: Asked, form: str, facts: Facts, widen: str | None, as_of: Sequence[Path]) -> str:
    words = ["ecluse breach scope --accounts", ",".join(asked.accounts)]
    words += ["--devices", ",".join(asked.devices)] if asked.devices else []
    words += ["--realm", asked.realm] if asked.realm is not None else []
    words += ["--from", rfc3339(asked.from_ms), "--to", rfc3339(asked.to_ms), f"--{form}"]
    words += ["--notification", facts.notification] if facts.notification != "initiale" else []
    words += ["--aware", rfc3339(facts.aware_ms)] if facts.aware_ms is not None else []
    words += ["--previous", facts.previous] if facts.previous else []
    words += ["--zone", facts.zone] if facts.zone != "Europe/Paris" else []
    words += ["--widen", widen] if widen is not None else []
    words += [f"--as-of FICHIER{SUFFIX}"] if as_of else []
    return " ".join(words) + " -o FICHIER --reason MOTIF"


def _write(dossier: Dossier, form: Form, output: Path, command: str, keys: Keys) -> None:
    # The signature goes first: an old one never stands beside a new report.
    with drafts(output.with_name(output.name + SUFFIX), output) as (signature, report):
        write_report(dossier, form, report, command)
        signature.write_bytes(seal(report, dossier.footings, LOG_NAME, keys.checkpoint.key()))


def _tell(dossier: Dossier, output: Path) -> None:
    total, medical = dossier.scope.total, dossier.scope.medical
    click.echo(
        f"{total.patients} patients ({total.patients_opened} opened) in {total.answers} answers; "
        f"medical routes served {medical.answers}"
    )
    for footing in dossier.footings:
        click.echo(
            visible(
                f"stands on {footing.origin}: first {footing.size} entries, of {footing.signed_size} that are signed"
            )
        )
    silent = sorted(set(dossier.scope.asked.accounts) - set(dossier.scope.kinds))
    if silent:
        click.echo(visible(f"no event in the period, so look at the spelling: {', '.join(silent)}"), err=True)
    click.echo(f"{output}, signed in {output}{SUFFIX}", err=True)


breach.add_command(verify)

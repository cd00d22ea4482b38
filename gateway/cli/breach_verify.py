"""``ecluse breach verify``: is a report the one that was signed, and do the logs still hold what it stands on?"""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from gateway.audit import files
from gateway.audit.breach.footing import Reading, stand
from gateway.audit.breach.seal import SUFFIX, digest_file, open_seal
from gateway.audit.checkpoint import LOG_NAME, Checkpoint, CheckpointRefused, VerifierKey, parse_verifier_key
from gateway.audit.encoding import visible
from gateway.audit.files import LogDamaged
from gateway.audit.scope import Asked
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import keys_or_exit, load_or_exit
from gateway.cli.progress import progress

_FOR_EVER_MS = 1 << 62


@click.command(epilog="Example:  ecluse breach verify dossier.html --key ecluse+1a2b3c4d+AW...")
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--sig",
    "sig_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The signature; FILE{SUFFIX} when left out.",
)
@click.option("--key", "key_texts", multiple=True, help="Verifier key, as `ecluse keys show` prints it.")
@click.option(
    "--audit-dir",
    type=click.Path(path_type=Path),
    help="Journals that must still hold what the report stands on.",
)
@config_option
@json_option
def verify(
    report: Path,
    sig_path: Path | None,
    key_texts: tuple[str, ...],
    audit_dir: Path | None,
    config_path: str,
    *,
    as_json: bool,
) -> int:
    """Check a report against its signature, and the journals against the states it stands on.

    With --key and no --audit-dir the journals are not looked at. 0 sound, 1 altered, 2 something is missing.
    """
    try:
        keys = [parse_verifier_key(text) for text in key_texts]
    except CheckpointRefused as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    places: tuple[Path, ...] = (audit_dir,) if audit_dir is not None else ()
    if not keys:
        loaded = load_or_exit(config_path)
        keys = list(files.verifier_keys(keys_or_exit(loaded.settings).checkpoint, LOG_NAME))
        places = (audit_dir,) if audit_dir is not None else loaded.settings.audit_dirs
    note = sig_path or report.with_name(report.name + SUFFIX)
    try:
        sealed = open_seal(note.read_bytes(), keys)
        if (sealed.sha256, sealed.size_bytes) != digest_file(report):
            fail(f"ALTERED  {report} is not what {note} signs", EXIT_REFUSED)
        if places:
            _hold_against(places, sealed.states, keys)
    except CheckpointRefused as error:
        fail(f"ALTERED  {note}: {error}", EXIT_REFUSED)
    except LogDamaged as error:
        fail(f"the report is what was signed, but {error}", EXIT_REFUSED)
    except OSError as error:
        fail(f"{error.filename or report}: {error.strerror}", EXIT_FAULT)
    states = [
        {"origin": state.origin, "size": state.size, "root": state.root.hex()} for state in sealed.states
    ]
    if as_json:
        told = {
            "sound": True,
            "sha256": sealed.sha256,
            "journals_checked": bool(places),
            "states": states,
        }
        click.echo(msgspec.json.encode(told).decode())
        return EXIT_DONE
    click.echo(f"sound   {report}: sha256 {sealed.sha256}")
    for state in states:
        click.echo(visible(f"        stands on {state['origin']}, {state['size']} entries"))
    if not places:
        click.echo("the journals were not looked at: give --audit-dir", err=True)
    return EXIT_DONE


def _hold_against(places: Sequence[Path], states: Sequence[Checkpoint], keys: Sequence[VerifierKey]) -> None:
    logs = {log.name: log for place in places for log in files.log_directories(place)}
    with progress() as begin:
        for state in states:
            name = state.origin.rpartition("/")[2]
            if name not in logs:
                raise LogDamaged(f"the log {state.origin} is not in {', '.join(map(str, places))}")
            stand(logs[name], keys, Reading(Asked((), 0, _FOR_EVER_MS)), as_of=state, progress=begin(name))

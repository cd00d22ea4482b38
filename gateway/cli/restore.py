"""``ecluse restore``: a backup back into a folder, held against its manifest, and its accounts into a store."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import click

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, CheckpointRefused, VerifierKey, parse_verifier_key
from gateway.audit.operator import local_user, operator_log
from gateway.audit.verify import Broken, CannotRead, Verified, verify_log
from gateway.backup import container, reading
from gateway.backup.container import About, BackupRefused, Manifest
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.audit_output import verdict, verdict_values
from gateway.cli.backup import FAULTS
from gateway.cli.loading import identities_or_exit, keys_or_exit, load_or_exit
from gateway.cli.progress import bytes_read
from gateway.cli.restore_placement import Placement
from gateway.cli.restore_store import check_accounts, load_accounts
from gateway.clock import SystemClock
from gateway.configuration import (
    ConfigurationFaults,
    KeysRefused,
    Loaded,
    load,
    load_keys,
)
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

PARTS = ("accounts", "audit", "config", "keys")
_DIRECTORY_MODE = 0o700
_NOT_RECORDED = "the restore is not recorded; once this is mended, restore again with --force"
_NOT_RECORDED_NOR_LOADED = (
    "the restore is not recorded, and no account was put into the store; once this is mended, restore again "
    "with --force"
)
_HALF_LOADED = (
    "some or all of the accounts may be in the store; once this is mended, restore again with "
    "--only accounts --into-store --force"
)


@dataclass(slots=True)
class _Unpacking:
    """Where the members go: below *staging*, those of *parts* alone."""

    staging: Path
    parts: frozenset[str]
    into_store: bool
    found: set[str] = field(default_factory=set)

    def sink(self, name: str, mode: int) -> "_Synced | None":
        """Open the file that *name* becomes; None when it is not asked for."""
        top = name.partition("/")[0]
        if top not in self.parts:
            return None
        self.found.add(top)
        path = self.staging / name
        # Each folder by itself: the mode given to a whole path holds for its last part alone.
        for folder in [self.staging / parent for parent in reversed(Path(name).parents)]:
            folder.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        kept = container.PRIVATE_MODE if mode == container.PRIVATE_MODE else container.MODE
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, kept)
        return _Synced(os.fdopen(handle, "wb"))


class _Synced:
    """A file that is on the disk once it is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, piece: bytes) -> int:
        """Write *piece*."""
        return self._file.write(piece)

    def close(self) -> None:
        """Make it durable and close it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Site:
    """The configuration and keys of this machine, if it has any."""

    loaded: Loaded | None
    keys: Keys | None


@click.command(
    epilog="Example:  ecluse restore ecluse.age --identity /media/safe/key.txt --to /srv/restored --reason 'new disk'"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--identity",
    "identity_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Identity of one of the backup's recipients.",
)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that gets accounts, audit, config and keys, a folder each.",
)
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="This part alone; may be repeated.")
@click.option("--into-store", is_flag=True, help="Put the accounts into the configured store, and adopt it.")
@click.option("--reason", "why", required=True, help="Why; it stands in the audit log.")
@click.option("--key", "key_texts", multiple=True, help="Verifier key to hold the audit log against.")
@click.option(
    "--force",
    is_flag=True,
    help="Set aside what stands in the folder, and replace accounts that the store knows.",
)
@config_option
@json_option
def restore(
    file: Path,
    identity_path: Path,
    target: Path,
    only: tuple[str, ...],
    into_store: bool,
    why: str,
    key_texts: tuple[str, ...],
    force: bool,
    config_path: str,
    as_json: bool,
) -> int:
    """Read a backup back. Nothing takes its place before every file was found to be the one that was saved.

    Leaves with 1 when the backup is refused, or its audit log is not the one that was signed. An old backup
    forgets what came after it, locks among it: do again what the audit log tells.
    """
    parts = frozenset(only or PARTS)
    if into_store and "accounts" not in parts:
        raise click.UsageError("--into-store needs the accounts: leave --only out, or add --only accounts.")
    identities = identities_or_exit(identity_path)
    try:
        verifiers = [parse_verifier_key(text) for text in key_texts]
    except CheckpointRefused as error:
        fail(str(error), EXIT_FAULT)
    site = _site(config_path, needed=into_store)
    taken = [part for part in sorted(parts) if (target / part).exists()]
    if taken and not force:
        fail(
            f"{target} already holds {', '.join(taken)}: choose another folder, or give --force", EXIT_REFUSED
        )
    placement = Placement(target)
    unpacking = _Unpacking(target / f".restoring-{os.getpid()}", parts, into_store)
    try:
        target.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        unpacking.staging.mkdir(mode=_DIRECTORY_MODE)
        try:
            with file.open("rb") as source, bytes_read("restoring", file.stat().st_size) as progress:
                about, manifest = reading.read(source, identities, unpacking.sink, progress=progress)
            _check_parts(about, only, into_store=into_store)
            results = _verify_logs(unpacking.staging, about, site, verifiers)
            if into_store and site.loaded is not None and site.keys is not None:
                check_accounts(site.loaded, site.keys, about, unpacking.staging, force=force)
            restored_keys = _restored_keys(site, target, unpacking)
            recorded = _record(site, target, about, manifest, why, unpacking)
            placement.put(unpacking.staging)
        finally:
            shutil.rmtree(unpacking.staging, ignore_errors=True)
        if not recorded and restored_keys is not None:
            placement.unfinished = _NOT_RECORDED_NOR_LOADED if into_store else _NOT_RECORDED
            _record_there(site, restored_keys, target, about, manifest, why, unpacking)
            recorded = True
        loaded_accounts = None
        if into_store and site.loaded is not None and site.keys is not None:
            placement.unfinished = _HALF_LOADED
            loaded_accounts = load_accounts(site.loaded, site.keys, target, force=force)
    except (BackupRefused, *FAULTS, CannotRead) as error:
        code = EXIT_REFUSED if isinstance(error, BackupRefused) else EXIT_FAULT
        fail(placement.told(error, unpacking.found), code)
    _tell(target, about, unpacking.found, results, loaded_accounts, recorded=recorded, as_json=as_json)
    return EXIT_REFUSED if any(isinstance(result, Broken) for result in results) else EXIT_DONE


def _site(config_path: str, *, needed: bool) -> _Site:
    """Return what stands on this machine: all of it when it is *needed*, what there is otherwise."""
    if needed:
        loaded = load_or_exit(config_path)
        return _Site(loaded, keys_or_exit(loaded.settings))
    try:
        loaded = load(Path(config_path))
        return _Site(loaded, load_keys(loaded.settings.keys_dir))
    except (ConfigurationFaults, KeysRefused):
        return _Site(None, None)


def _check_parts(about: About, only: Sequence[str], *, into_store: bool) -> None:
    needed = {*only, *(("accounts",) if into_store else ())}
    for part in sorted(needed - set(about.parts)):
        raise BackupRefused(f"the backup holds no {part}: it holds {', '.join(about.parts)}")


def _verify_logs(
    staging: Path, about: About, site: _Site, given: Sequence[VerifierKey]
) -> list[Verified | Broken]:
    """Hold each restored log against this site's key, the given ones, or at least those the backup names."""
    place = staging / "audit"
    if not place.is_dir():
        return []
    keys = list(given)
    if not keys and site.keys is not None:
        keys = list(files.verifier_keys(site.keys.checkpoint, LOG_NAME))
    if not keys:
        keys = [parse_verifier_key(text) for text in about.verifier_keys]
        click.echo(
            "the audit log is held against the key that the backup itself names: compare it with the one you kept: "
            + ", ".join(about.verifier_keys),
            err=True,
        )
    return [verify_log(log, keys) for log in files.log_directories(place) if log != place]


def _event(about: About, manifest: Manifest, why: str, unpacking: _Unpacking) -> AuditEvent:
    return AuditEvent(
        EventKind.BACKUP_RESTORED,
        SystemClock().now_ms(),
        operator=local_user(),
        detail=(
            ("reason", why),
            ("made_at", about.made_at),
            ("host", about.host),
            ("parts", ", ".join(sorted(unpacking.found))),
            ("members", str(len(manifest.members))),
            *((("into_store", "yes"),) if unpacking.into_store else ()),
        ),
    )


def _own_log(site: _Site, target: Path, unpacking: _Unpacking) -> tuple[Loaded, Keys] | None:
    """Return what this machine's log is written with; None without one, or when it is the log that comes back."""
    if site.loaded is None or site.keys is None:
        return None
    is_here = site.loaded.settings.audit_dir.absolute() == (target / "audit").absolute()
    return None if is_here and "audit" in unpacking.found else (site.loaded, site.keys)


def _record(
    site: _Site, target: Path, about: About, manifest: Manifest, why: str, unpacking: _Unpacking
) -> bool:
    """Record the act in this machine's log before anything takes its place; False when it has none."""
    own = _own_log(site, target, unpacking)
    if own is None:
        return False
    settings, keys = own[0].settings, own[1]
    with operator_log(settings.audit_dir, LOG_NAME, keys.checkpoint, node=settings.audit_node) as log:
        log.record(_event(about, manifest, why, unpacking))
    return True


def _restored_keys(site: _Site, target: Path, unpacking: _Unpacking) -> Keys | None:
    """Return the keys that came back, when the act is recorded with them; None when it is not."""
    if _own_log(site, target, unpacking) is not None or not {"audit", "keys"} <= unpacking.found:
        return None
    try:
        return load_keys(unpacking.staging / "keys")
    except KeysRefused as error:
        what = str(error).replace(f"{unpacking.staging}/", "")
        raise BackupRefused(f"the restored keys cannot be used: {what}") from error


def _record_there(
    site: _Site,
    keys: Keys,
    target: Path,
    about: About,
    manifest: Manifest,
    why: str,
    unpacking: _Unpacking,
) -> None:
    """Record the act in the log that was restored, with the *keys* that were: a new machine has no other."""
    node = site.loaded.settings.audit_node if site.loaded is not None else None
    with operator_log(target / "audit", LOG_NAME, keys.checkpoint, node=node) as log:
        log.record(_event(about, manifest, why, unpacking))


def _tell(
    target: Path,
    about: About,
    found: set[str],
    results: Sequence[Verified | Broken],
    loaded_accounts: int | None,
    *,
    recorded: bool,
    as_json: bool,
) -> None:
    if not recorded:
        click.echo(
            "this was not recorded: here is neither a log nor the keys to sign one; record it where they are",
            err=True,
        )
    if as_json:
        told = {
            "to": str(target),
            "made_at": about.made_at,
            "host": about.host,
            "parts": sorted(found),
            "logs": [verdict_values(result) for result in results],
            "accounts_in_store": loaded_accounts,
            "recorded": recorded,
        }
        click.echo(json.dumps(told))
        return
    click.echo(f"{target}: {', '.join(sorted(found))}, as of {about.made_at} on {about.host}")
    for result in results:
        click.echo(verdict(result))
    if loaded_accounts is not None:
        click.echo(f"the store has {loaded_accounts} accounts of the backup, and is ours")

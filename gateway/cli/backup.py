"""``ecluse backup``: accounts, audit log, configuration and, if asked for, keys, in one encrypted file."""

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from gateway import __version__
from gateway.age import AgeRefused, Identity, Recipient, read_recipients
from gateway.assembly.store import open_store
from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME, VerifierKey
from gateway.audit.drafts import drafts
from gateway.audit.files import LogDamaged
from gateway.audit.operator import local_user, operator_log
from gateway.audit.writer import AuditUnavailable
from gateway.backup import accounts, container, contents, reading, writing
from gateway.backup.container import About, BackupRefused, Manifest, Member
from gateway.cli import EXIT_DONE, EXIT_FAULT, EXIT_REFUSED, config_option, fail, json_option
from gateway.cli.loading import identities_or_exit, keys_or_exit, load_or_exit
from gateway.cli.progress import bytes_read
from gateway.clock import SystemClock
from gateway.configuration import Loaded
from gateway.valkey import marker
from gateway.valkey.client import Store, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.vocabulary.events import AuditEvent, EventKind
from gateway.vocabulary.keys import Keys

PARTS = ("accounts", "config", "audit")
LEAST_RECIPIENTS = 2
FAULTS = (StoreUnavailable, EmbeddedFailed, marker.MarkerFileBroken, AuditUnavailable, LogDamaged, OSError)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What goes in."""

    loaded: Loaded
    keys: Keys
    parts: tuple[str, ...]
    with_caps: bool


@click.command(
    epilog="Example:  ecluse backup -o /srv/backup/ecluse.age --recipients-file /etc/ecluse/backup.keys --with-keys"
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it is there whole or not at all.",
)
@click.option(
    "-r", "--recipient", "recipient_texts", multiple=True, help="Public key of age, age1...; at least two."
)
@click.option(
    "-R", "--recipients-file", type=click.File("r", encoding="utf-8"), help="File of public keys, one a line."
)
@click.option("--with-keys", is_flag=True, help="Put keys_dir and the secret files of the configuration in.")
@click.option(
    "--without", "left_out", multiple=True, type=click.Choice(PARTS), help="Leave this out; may be repeated."
)
@click.option("--without-caps", is_flag=True, help="Leave out what the caps remember of the last days.")
@click.option("--verify", is_flag=True, help="Read it back with --identity before it takes its place.")
@click.option(
    "--identity",
    "identity_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Identity of a recipient, for --verify.",
)
@click.option("--reason", "why", help="Why; it stands in the audit log.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@config_option
@json_option
def backup(
    output: Path,
    recipient_texts: tuple[str, ...],
    recipients_file: Iterator[str] | None,
    with_keys: bool,
    left_out: tuple[str, ...],
    without_caps: bool,
    verify: bool,
    identity_path: Path | None,
    why: str | None,
    force: bool,
    config_path: str,
    as_json: bool,
) -> int:
    """Write one file that only its recipients can read, while the gateway runs.

    Two recipients at least: one lost identity must not cost the backup. It is recorded in the audit log.
    """
    if verify != (identity_path is not None):
        raise click.UsageError("--verify and --identity belong together.")
    try:
        recipients = _recipients(recipient_texts, recipients_file)
    except AgeRefused as error:
        fail(str(error), EXIT_FAULT)
    identities = [] if identity_path is None else identities_or_exit(identity_path)
    loaded = load_or_exit(config_path)
    parts = tuple(part for part in PARTS if part not in left_out) + (("keys",) if with_keys else ())
    if not parts:
        raise click.UsageError("Everything is left out: there is nothing to back up.")
    if output.absolute().is_relative_to(loaded.settings.audit_dir.absolute()):
        fail(f"{output} lies inside the audit log: choose another place", EXIT_FAULT)
    if output.exists() and not force:
        fail(f"{output} is there already: choose another name, or give --force to replace it", EXIT_REFUSED)
    plan = _Plan(loaded, keys_or_exit(loaded.settings), parts, not without_caps)
    try:
        told = _make(plan, output, recipients, identities, why, force=force)
    except BackupRefused as error:
        fail(f"no backup was made: {error}", EXIT_REFUSED)
    except FAULTS as error:
        fail(f"no backup was made: {error}", EXIT_FAULT)
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(
            f"{output}: {told['bytes']} bytes, {told['members']} files, {told['accounts']} accounts; "
            f"{', '.join(parts)}" + ("; read back and found whole" if verify else "")
        )
    return EXIT_DONE


def _recipients(texts: Sequence[str], lines: Iterator[str] | None) -> list[Recipient]:
    listed = [line.strip() for line in lines or () if line.strip() and not line.startswith("#")]
    recipients = read_recipients([*texts, *listed])
    if len(recipients) < LEAST_RECIPIENTS:
        raise AgeRefused(
            f"{len(recipients)} recipient{'s' * (len(recipients) != 1)} given: a backup needs {LEAST_RECIPIENTS} "
            "different ones, so that one lost identity does not cost it"
        )
    return recipients


def _make(
    plan: _Plan,
    output: Path,
    recipients: Sequence[Recipient],
    identities: Sequence[Identity],
    why: str | None,
    *,
    force: bool,
) -> dict[str, object]:
    # A file that came there meanwhile is not replaced, unless that was asked for.
    with drafts(output, replace=force) as (draft,):
        with draft.open("w+b") as file:
            hashed = _Hashed(file)
            manifest, count = asyncio.run(_write(plan, hashed, recipients))
            file.flush()
            os.fsync(file.fileno())
            if identities:
                with bytes_read("reading back", file.tell()) as progress:
                    file.seek(0)
                    reading.read(file, identities, lambda _, __: None, progress=progress)
        told: dict[str, object] = {
            "file": str(output),
            "bytes": draft.stat().st_size,
            "sha256": hashed.digest.hexdigest(),
            "members": len(manifest.members),
            "accounts": count,
            "parts": list(plan.parts),
            "recipients": [str(one) for one in recipients],
        }
        _record(plan, told, why)
    return told


class _Hashed:
    """A file that is hashed as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, piece: bytes, /) -> int:
        """Write *piece*."""
        self.digest.update(piece)
        return self._file.write(piece)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


async def _write(plan: _Plan, out: _Hashed, recipients: Sequence[Recipient]) -> tuple[Manifest, int]:
    if "accounts" not in plan.parts:
        return await asyncio.to_thread(
            _write_all, plan, out, recipients, _about(plan, None, None), iter(())
        ), 0
    async with open_store(plan.loaded.settings) as store:
        if await marker.store_id_of(store) != store.store_id:
            raise BackupRefused("the store is not ours, or came back empty: see 'ecluse store status'")
        keycheck = await store.execute("GET", marker.KEYCHECK)
        ids = await accounts.account_ids(store)
        members = _account_members(store, ids, asyncio.get_running_loop(), with_caps=plan.with_caps)
        about = _about(plan, store.store_id, keycheck.decode() if keycheck else None)
        return await asyncio.to_thread(_write_all, plan, out, recipients, about, members), len(ids)


def _account_members(
    store: Store, ids: Sequence[str], loop: asyncio.AbstractEventLoop, *, with_caps: bool
) -> Iterator[Member]:
    """Yield the accounts from another thread than the store's."""
    for number, first in enumerate(range(0, len(ids), accounts.IN_ONE_FILE)):
        part = ids[first : first + accounts.IN_ONE_FILE]
        asked = asyncio.run_coroutine_threadsafe(accounts.file_of(store, part, with_caps=with_caps), loop)
        name = f"{accounts.DIRECTORY}/{number:06d}.jsonl"
        yield container.member_of_bytes(name, asked.result(), container.PRIVATE_MODE)


def _write_all(
    plan: _Plan, out: _Hashed, recipients: Sequence[Recipient], about: About, of_accounts: Iterator[Member]
) -> Manifest:
    settings = plan.loaded.settings

    def members() -> Iterator[Member]:
        # Accounts before the log: what came after them stands in the log, and can be done again.
        yield from of_accounts
        if "config" in plan.parts:
            yield from contents.config_members(settings.config_path)
        if "keys" in plan.parts:
            yield from contents.key_members(settings.keys_dir, settings.config_path)
        if "audit" in plan.parts:
            yield from contents.audit_members(settings.audit_dir, _verifiers(plan.keys))

    total = contents.size_of(settings.audit_dir) if "audit" in plan.parts else 0
    with bytes_read("backing up", total) as progress:
        return writing.write(
            out,
            about,
            members(),
            recipients,
            at_s=SystemClock().now_ms() // 1000,
            progress=progress,
        )


def _verifiers(keys: Keys) -> Sequence[VerifierKey]:
    return files.verifier_keys(keys.checkpoint, LOG_NAME)


def _about(plan: _Plan, store_id: str | None, keycheck: str | None) -> About:
    return About(
        v=container.VERSION,
        what="ecluse backup",
        made_at=datetime.fromtimestamp(SystemClock().now_ms() // 1000, UTC).isoformat(),
        host=socket.gethostname(),
        version=__version__,
        parts=list(plan.parts),
        store_id=store_id,
        keycheck=keycheck,
        verifier_keys=[key.text() for key in _verifiers(plan.keys)],
    )


def _record(plan: _Plan, told: dict[str, object], why: str | None) -> None:
    detail = [(name, str(told[name])) for name in ("sha256", "bytes", "members", "accounts")]
    recipients = told["recipients"]
    count = len(recipients) if isinstance(recipients, list) else 0
    event = AuditEvent(
        EventKind.BACKUP_MADE,
        SystemClock().now_ms(),
        operator=local_user(),
        policy_id=plan.loaded.policy.policy_id,
        detail=(
            *(() if why is None else (("reason", why),)),
            ("parts", ", ".join(plan.parts)),
            ("recipients", str(count)),
            *detail,
        ),
    )
    settings = plan.loaded.settings
    with operator_log(settings.audit_dir, LOG_NAME, plan.keys.checkpoint, node=settings.audit_node) as log:
        log.record(event)

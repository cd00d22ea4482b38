"""What commands load before they work: configuration, keys, identities; their faults end the command with 2."""

from pathlib import Path

import click

from gateway.age import AgeRefused, Identity, read_identities
from gateway.cli import EXIT_FAULT, fail
from gateway.configuration import ConfigurationFaults, KeysRefused, Loaded, Settings, load, load_keys
from gateway.vocabulary.keys import Keys


def load_or_exit(config_path: str) -> Loaded:
    """Return the configuration at *config_path*; print every fault and leave with 2 when there are any."""
    try:
        return load(Path(config_path))
    except ConfigurationFaults as found:
        for fault in found.faults:
            click.echo(str(fault), err=True)
        fail(count_faults(len(found.faults)), EXIT_FAULT)


def keys_or_exit(settings: Settings) -> Keys:
    """Return the gateway's keys; say why and leave with 2 when they cannot be used."""
    try:
        return load_keys(settings.keys_dir)
    except KeysRefused as refused:
        fail(str(refused), EXIT_FAULT)


def identities_or_exit(path: Path) -> list[Identity]:
    """Return the age identities in the file at *path*; say why and leave with 2 when they cannot be read.

    The passphrase of an encrypted one is asked for on the terminal.
    """
    try:
        return read_identities(path, _ask_passphrase)
    except AgeRefused as refused:
        fail(str(refused), EXIT_FAULT)


def _ask_passphrase() -> str:
    return str(click.prompt("Passphrase of the identity", hide_input=True, err=True))


def count_faults(count: int) -> str:
    """Return ``1 fault`` or ``n faults``, in a sentence."""
    return f"{count} fault{'s' if count > 1 else ''} in the configuration; nothing was changed"

"""Loading the configuration for a command: its faults go to standard error, the command ends with 2."""

from pathlib import Path

import click

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


def count_faults(count: int) -> str:
    """Return ``1 fault`` or ``n faults``, in a sentence."""
    return f"{count} fault{'s' if count > 1 else ''} in the configuration; nothing was changed"

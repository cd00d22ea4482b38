"""The demo's stage: a folder of its own, the app, the gateway before it, and people with a second factor."""

import asyncio
import importlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyotp

from gateway.demo.children import Child, free_port, start, wait_until_listening
from gateway.demo.configuration import write_configuration
from gateway.demo.people import PROFESSIONALS, Professional

_STOP_S = 6.0


@dataclass
class Stage:
    """Everything that runs, and what the people know. *secrets* and *invitations* are by login."""

    directory: Path
    config: Path
    port: int
    app_port: int
    temporary: bool
    children: list[Child] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    invitations: dict[str, str] = field(default_factory=dict, repr=False)

    def code(self, login: str) -> str | None:
        """Return the present code of *login*, None when nothing is enrolled."""
        secret = self.secrets.get(login)
        return pyotp.TOTP(secret).now() if secret is not None else None

    def fallen(self) -> Child | None:
        """Return a process that ended although nobody asked it to."""
        return next((child for child in self.children if not child.running()), None)

    def strike(self) -> None:
        """Stop every process, the gateway first; a temporary folder goes too."""
        for child in reversed(self.children):
            child.stop(_STOP_S)
        self.children.clear()
        if self.temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def open_folder(directory: Path | None) -> tuple[Path, bool]:
    """Return a folder only we may read, and whether it is a temporary one.

    The path is short: a socket stands in it, and sockets have short names.
    """
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="ecluse-demo-")), True
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory.resolve(), False


def start_gateway(
    directory: Path, config: Path, *, optimised: bool = False, workers: int | None = None
) -> Child:
    """Start the gateway, with *workers* under a supervisor or alone; it listens a little later."""
    arguments = ["-m", "gateway", "serve", "--config", str(config)]
    if workers is not None:
        arguments += ["--workers", str(workers)]
    return start("the gateway", arguments, directory / "gateway.log", optimised=optimised)


def raise_stage(
    port: int,
    directory: Path | None = None,
    *,
    people: tuple[Professional, ...] = PROFESSIONALS,
    unbounded: bool = False,
) -> Stage:
    """Start the app and the gateway, and enrol *people*. *unbounded* raises every cap out of reach.

    Raises:
        ChildError: one of them did not start; nothing is left running.
    """
    folder, temporary = open_folder(directory)
    stage = Stage(folder, folder / "ecluse.yaml", port, free_port(), temporary)
    try:
        # The processes start while this one still loads what it needs to speak to them.
        app = start("the demo app", ["-m", "gateway.demo", str(stage.app_port)], folder / "app.log")
        stage.children.append(app)
        stage.config = write_configuration(folder, port, stage.app_port, unbounded=unbounded)
        if not (folder / "keys").exists():
            importlib.import_module("gateway.configuration.keys").init_keys(folder / "keys")
        gateway = start_gateway(folder, stage.config)
        stage.children.append(gateway)
        seeding = importlib.import_module("gateway.demo.seeding")
        wait_until_listening(gateway, port)
        stage.secrets, stage.invitations = asyncio.run(seeding.enrol_people(stage.config, people))
        wait_until_listening(app, stage.app_port)
    except BaseException:
        stage.strike()
        raise
    return stage

"""A configured gateway in a folder, for commands that need no more than that; its store answers nobody."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from gateway.audit import files
from gateway.audit.checkpoint import LOG_NAME
from gateway.audit.encoding import decode, encode
from gateway.audit.segments import Journal
from gateway.cli import main
from gateway.configuration import init_keys, load_keys
from gateway.vocabulary.events import AuditEvent, EventKind
from tests.unit.audit.logs import SALT

_CONFIG = """\
version: 1
gateway:
  listen: {{address: 127.0.0.1, port: 1}}
  state_dir: {folder}/state
  keys_dir: {folder}/keys
store: {{url: "unix://{folder}/nobody.sock"}}
audit: {{dir: "{folder}/audit", engine: "{engine}"}}
realms: {{chu: {{}}}}
apps:
  demo:
    realm: chu
    hosts: [demo.chu.example]
    upstream: http://127.0.0.1:2
    login_page: /login
    login: [{{name: form, path: /login, account: user, success: {{status: 302}}}}]
    routes: [{{name: login, kind: login, path: /login}}]
"""


@dataclass(frozen=True)
class Ran:
    """What a command said, and how it left."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Site:
    """The folder of a configuration, its keys and its log."""

    folder: Path

    def run(self, *words: str) -> Ran:
        """Run one command of ours."""
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main([*words, "--config", str(self.folder / "ecluse.yaml")])
            except SystemExit as leaving:
                code = leaving.code
        return Ran(int(str(code or 0)), out.getvalue(), err.getvalue())

    def log(self, *events: AuditEvent) -> None:
        """Put *events* into the gateway's journal."""
        ring = load_keys(self.folder / "keys").checkpoint
        journal = Journal(self.folder / "audit" / "gateway", LOG_NAME, ring, segment_bytes=64_000_000)
        journal.open()
        for event in events:
            journal.commit([encode(event, seq=journal.size, salt=SALT)])
        journal.close()

    def recorded(self, kind: EventKind) -> list[dict[str, object]]:
        """Return the events of *kind* that commands recorded."""
        path = files.segment_path(self.folder / "audit" / "operator", 0)
        found = [decode(line) for line in files.read_lines(path)] if path.exists() else []
        return [event for event in found if event["kind"] == kind]


def site_in(folder: Path, engine: str = "duckdb") -> Site:
    """Return a site whose files stand in *folder*."""
    init_keys(folder / "keys")
    (folder / "ecluse.yaml").write_text(_CONFIG.format(folder=folder, engine=engine), encoding="utf-8")
    return Site(folder)

"""``audit.engine`` answers every command that consults the trail."""

import io
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.columns import EVENT_COLUMNS
from gateway.audit.sql import Statement
from gateway.cli import audit_consult, main
from gateway.clock import SystemClock
from gateway.configuration import init_keys
from gateway.vocabulary.events import EventKind
from tests.people import NURSE_BEN

ENGINE = "clickhouse://ecluse@cluster.example:8443/trail"
CONFIG = """\
version: 1
gateway:
  listen: {{address: 127.0.0.1, port: 1}}
  state_dir: {folder}/state
  keys_dir: {folder}/keys
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


class Holding:
    """A cluster that holds one event, and none of the folder's journals."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._row = tuple(event.get(name) for name in EVENT_COLUMNS)

    def loaded(self) -> dict[str, int]:
        return {"gateway": 1}

    def run(self, statement: Statement, loaded: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
        assert statement.text
        assert loaded == self.loaded()
        yield self._row


def event(kind: EventKind) -> dict[str, Any]:
    return {
        "writer": "gateway", "seq": 0, "at_ms": SystemClock().now_ms() - 60_000, "kind": kind.value, "realm": "chu",
        "account": NURSE_BEN.login, "account_class": "standard", "reference": "7f3k92qd", "opened": True,
        "patients": [f"k1:{1:032x}"], "at": "2026-09-21T14:13:20.000Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("audit", "query", "--json"), EventKind.ACCESS),
        (("audit", "export", "--format", "ecs"), EventKind.ACCESS),
        (("limits", "suggest", "--json"), EventKind.ACCESS),
        (("limits", "reviews", "--json"), EventKind.BREAK_GLASS),
    ],
)
def test_the_engine_of_the_configuration_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], kind: EventKind
) -> None:
    def connect(url: str) -> Holding:
        assert url == ENGINE
        return Holding(event(kind))

    monkeypatch.setattr(audit_consult, "connect", connect)
    init_keys(tmp_path / "keys")
    (tmp_path / "ecluse.yaml").write_text(CONFIG.format(folder=tmp_path, engine=ENGINE), encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main([*words, "--reason", "weekly", "--config", str(tmp_path / "ecluse.yaml")])
    assert left.value.code == 0, err.getvalue()
    assert NURSE_BEN.login in out.getvalue() or '"accounts":1' in out.getvalue()

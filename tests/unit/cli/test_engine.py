"""``audit.engine`` answers every command that consults the trail."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.columns import EVENT_COLUMNS
from gateway.audit.sql import Statement
from gateway.cli import audit_consult
from gateway.clock import SystemClock
from gateway.vocabulary.events import EventKind
from tests.people import NURSE_BEN
from tests.unit.cli.site import site_in

ENGINE = "clickhouse://ecluse@cluster.example:8443/trail"


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
    ran = site_in(tmp_path, ENGINE).run(*words, "--reason", "weekly")
    assert ran.exit_code == 0, ran.stderr
    assert NURSE_BEN.login in ran.stdout or '"accounts":1' in ran.stdout

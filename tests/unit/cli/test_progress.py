"""The bars of long readings: past their time, on a terminal, on standard error, and otherwise not a byte."""

from collections.abc import Callable

import pytest

from gateway.cli import progress as bars
from gateway.cli.progress import bytes_read, progress


def entries() -> None:
    with progress() as begin:
        begin("gw-1")(2_000)


def events() -> None:
    with progress("events") as begin:
        begin("exporting")(2_000)


def some_bytes() -> None:
    with bytes_read("backing up", 4_000) as advance:
        advance(2_000)


@pytest.mark.parametrize("read", [entries, events, some_bytes])
@pytest.mark.parametrize(
    ("terminal", "after_s", "shown"), [(True, -1.0, True), (True, 60.0, False), (False, -1.0, False)]
)
def test_a_bar_shows_only_when_it_should(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    read: Callable[[], None],
    terminal: bool,
    after_s: float,
    shown: bool,
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setattr(bars, "_AFTER_S", after_s)
    read()
    out, err = capsys.readouterr()
    assert out == ""
    assert bool(err) is shown


@pytest.mark.parametrize(
    ("read", "told"), [(entries, "2,000 entries"), (events, "2,000 events"), (some_bytes, "2.0/4.0 kB")]
)
def test_a_bar_tells_how_far_reading_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    read: Callable[[], None],
    told: str,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(bars, "_AFTER_S", -1.0)
    read()
    assert told in capsys.readouterr().err

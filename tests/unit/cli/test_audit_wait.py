"""The bar that tells of a wait: past its time, on a terminal, on standard error."""

import threading
from collections.abc import Iterator

import pytest

from gateway.cli import audit_consult
from gateway.cli.audit_consult import flowing, patiently


def slowly() -> str:
    threading.Event().wait(0.3)
    return "done"


@pytest.mark.parametrize(
    ("terminal", "after_s", "shown"), [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)]
)
def test_a_bar_shows_only_when_it_should(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
    after_s: float,
    shown: bool,
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setattr(audit_consult, "_BAR_AFTER_S", after_s)
    assert patiently(slowly) == "done"
    out, err = capsys.readouterr()
    assert out == ""
    assert ("Reading the trail" in err) is shown


def test_what_goes_wrong_while_waiting_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0)


def test_rows_flow_unchanged() -> None:
    def rows() -> Iterator[int]:
        yield from (1, 2, 3)

    assert list(flowing(rows())) == [1, 2, 3]
    assert list(flowing(iter(()))) == []

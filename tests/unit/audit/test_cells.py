"""Cells that spreadsheets would run are text."""

import pytest

from gateway.audit.cells import cell_text, is_formula

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "＝1", "＋1", "－1", "＠SUM(A1)"]
OTHERS = ["", "4711", "a=1", "'=1", "é", " =1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert is_formula(text)
    assert cell_text(text) == f"'{text}"
    assert not is_formula(cell_text(text))


@pytest.mark.parametrize("text", OTHERS)
def test_other_text_stays(text: str) -> None:
    assert not is_formula(text)
    assert cell_text(text) == text

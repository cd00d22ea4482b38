"""Rows of the ``ecluse account`` commands, as a table, CSV or JSON."""

import csv
import io
import json

import pytest

from gateway.cli.common import Row, show_rows

ROWS: list[Row] = [{"login": "=cmd|'/c calc'!a1", "code": "7f3k-92qd", "sessions": 2, "display": None}]


def test_a_login_that_looks_like_a_formula_is_text_in_the_spreadsheet_of_a_mailing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show_rows(ROWS, 1, as_csv=True, as_json=False) == 1
    heading, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert heading == ["login", "code", "sessions", "display"]
    assert row == ["'=cmd|'/c calc'!a1", "7f3k-92qd", "2", "-"]


def test_a_login_stays_as_it_is_where_no_spreadsheet_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, as_csv=False, as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS
    show_rows(ROWS, as_csv=False, as_json=False)
    assert capsys.readouterr().out.splitlines()[1].startswith("=cmd|'/c calc'!a1  7f3k-92qd")

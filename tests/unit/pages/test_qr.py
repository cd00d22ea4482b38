"""The QR code says the address, and carries nothing but drawing."""

import re

import pytest
import segno

from gateway.pages.qr import grouped, svg
from tests.unit.pages.samples import URI


def modules(drawing: str) -> set[tuple[int, int]]:
    """Return the dark modules of *drawing*, read back from its path (m: move, h: line of modules)."""
    (path,) = (
        re.findall(r'stroke="#000" d="([^"]*)"', drawing)
        or re.findall(r'd="(M[^"]*[mh][^"]*)"', drawing)[-1:]
    )
    dark: set[tuple[int, int]] = set()
    x, y = 0.0, 0.0
    for command, first, second in re.findall(r"([Mmh])(-?[0-9.]+)(?:[ ,]?(-?[0-9.]+))?", path):
        if command == "M":
            x, y = float(first), float(second)
        elif command == "m":
            x, y = x + float(first), y + float(second)
        else:
            dark |= {(int(y), int(x) + step) for step in range(int(first))}
            x += float(first)
    return dark


def test_drawing_holds_the_modules_of_the_address() -> None:
    border = 4
    matrix = segno.make(URI, error="m", micro=False, boost_error=False).matrix
    expected = {
        (row + border, column + border)
        for row, line in enumerate(matrix)
        for column, module in enumerate(line)
        if module
    }
    assert modules(svg(URI)) == expected


def test_drawing_is_only_a_drawing() -> None:
    drawing = svg(URI)
    assert drawing.startswith('<svg aria-hidden="true"')
    assert set(re.findall(r"<(\w+)", drawing)) == {"svg", "path"}
    assert "style=" not in drawing
    assert URI not in drawing


@pytest.mark.parametrize("uri", ["", "https://x.example", "javascript:alert(1)", "OTPAUTH://totp/x"])
def test_only_enrolment_addresses(uri: str) -> None:
    with pytest.raises(ValueError, match="otpauth://"):
        svg(uri)


def test_too_long_for_a_code_is_an_error() -> None:
    with pytest.raises(ValueError, match="too large"):
        svg("otpauth://" + "x" * 5_000)


@pytest.mark.parametrize(
    ("secret", "expected"),
    [("JBSWY3DP", "JBSW Y3DP"), ("JBSWY3DPEH", "JBSW Y3DP EH"), ("JBSW Y3DP====", "JBSW Y3DP"), ("", "")],
)
def test_grouped(secret: str, expected: str) -> None:
    assert grouped(secret) == expected

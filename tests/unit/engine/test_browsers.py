"""Labels of browsers: short, recognisable, and never the whole header."""

import pytest

from gateway.engine.browsers import browser_label

KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("header", "label"),
    [
        # Each make names those it descends from.
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/131.0 Safari/537.36 Edg/131.0",
            "Edge, Windows",
        ),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/131.0 Safari/537.36", "Chrome, Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Version/17.5 Safari/605.1.15", "Safari, macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) CriOS/126.0 Safari/604.1", "Chrome, iPhone"),
        (f"Mozilla/5.0 (Linux; Android 14) {KIT} Chrome/126.0 Mobile Safari/537.36", "Chrome, Android"),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer, Windows"),
        # No browser.
        ("curl/8.5.0", "curl/8.5.0"),
        ("a" * 500 + " b", "a" * 40),
        ("", ""),
        ("   ", ""),
        (None, ""),
    ],
)
def test_label(header: str | None, label: str) -> None:
    assert browser_label(header) == label

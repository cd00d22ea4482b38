"""What a person recognises of a browser: its make and the system it runs on. Pure."""

_MAKES = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("Trident/", "Internet Explorer"),
)
"""The first that fits: each make names those below it as well."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_MOST = 40


def browser_label(user_agent: str | None) -> str:
    """Return a short label such as ``Firefox, Windows`` for a User-Agent header; "" when there was none.

    What is no browser keeps its first word, at most 40 characters: ``curl/8.5.0``.
    """
    if user_agent is None or not user_agent.strip():
        return ""
    found = [next((name for mark, name in names if mark in user_agent), "") for names in (_MAKES, _SYSTEMS)]
    return ", ".join(part for part in found if part) or user_agent.split(maxsplit=1)[0][:_MOST]

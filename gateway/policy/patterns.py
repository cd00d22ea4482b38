"""RE2 patterns: linear in the text whatever the pattern, so that hostile text cannot stall a worker."""

from functools import lru_cache
from typing import Any

import re2

_UNICODE_ERROR = "surrogatepass"


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """Return the compiled RE2 of *pattern*, made once; it reads UTF-8 bytes.

    Raises:
        ValueError: saying what is wrong with the pattern.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode("utf-8"), options=options)
    except re2.error as error:
        fault = error.args[0] if error.args else "unreadable"
        text = fault.decode("utf-8", "replace") if isinstance(fault, bytes) else str(fault)
        raise ValueError(f"pattern {pattern!r} is no RE2 pattern: {text}") from None


def found(pattern: str, text: str) -> str | None:
    """Search *pattern* in *text*: group 1, or the whole match when the pattern has no group; None without a match."""
    regexp = compiled(pattern)
    match = regexp.search(text.encode("utf-8", _UNICODE_ERROR))
    if match is None:
        return None
    piece: bytes | None = match.group(1 if regexp.groups else 0)
    return None if piece is None else piece.decode("utf-8", "replace")


def every(pattern: str, text: str) -> list[str]:
    """Return what :func:`found` would, for each non-overlapping match in *text*."""
    regexp = compiled(pattern)
    group = 1 if regexp.groups else 0
    pieces = (match.group(group) for match in regexp.finditer(text.encode("utf-8", _UNICODE_ERROR)))
    return [piece.decode("utf-8", "replace") for piece in pieces if piece is not None]

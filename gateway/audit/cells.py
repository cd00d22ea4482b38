"""Cells of CSV that a spreadsheet shows and does not run."""

# What OWASP names (ASVS 1.2.10, and its page on CSV injection), wide forms included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet would take *text* for a formula, and run it."""
    return text.startswith(_FORMULA_STARTS)


def cell_text(text: str) -> str:
    """Return *text*, with an apostrophe before it when a spreadsheet would run it as a formula."""
    return f"'{text}" if is_formula(text) else text

"""docs/attack-cases.md and the tests say the same: every case has its tests, every test that names a case is listed."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/attack-cases.md").read_text("utf-8")
COMPLETE = {"A": 15, "D": 12, "E": 11, "F": 12, "G": 14, "H": 17, "J": 17, "M": 12, "N": 6}
"""The parts that are to be tried whole, and how many cases each has."""
LEAST_CASES = 150

_NUMBERS = re.compile(r"(?:[A-P]\d\d\b[,:]? ?)+")
_ROW = re.compile(r"^\| ([A-P]\d\d) \| ([^|]+) \|(?: ([^|]*) \|)?$", re.MULTILINE)


def split(page: str) -> tuple[str, str, str]:
    """Return the parts of the page: what is tried, what is not, what is partly answered."""
    tried, _, rest = page.partition("\n## Not in this version\n")
    left_out, _, partly = rest.partition("\n## Tried, and only partly answered\n")
    assert left_out
    assert partly
    return tried, left_out, partly


def named_by_tests() -> dict[str, set[str]]:
    """Return the tests of each case, from the heads of their docstrings."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in ("tests/attacks", "tests/end_to_end", "tests/stores", "tests/unit/detection", "tests/unit"):
        for path in sorted((ROOT / folder).glob("test_*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    head = _NUMBERS.match(ast.get_docstring(node) or "")
                    for case in re.findall(r"[A-P]\d\d", head.group()) if head else ():
                        found[case].add(f"{folder}/{path.name}::{node.name}")
    return dict(found)


def test_every_case_lists_the_tests_that_name_it_and_no_other() -> None:
    tried, _, _ = split(PAGE)
    listed = {case: set(re.findall(r"`([^`]+)`", tests)) for case, _, tests in _ROW.findall(tried)}
    assert listed == named_by_tests()


def test_every_case_is_told_once_and_the_parts_are_whole() -> None:
    tried, left_out, _ = split(PAGE)
    told = Counter(case for case, _, _ in _ROW.findall(tried + left_out))
    assert {case for case, times in told.items() if times > 1} == set()
    for part, size in COMPLETE.items():
        wanted = {f"{part}{number:02}" for number in range(1, size + 1)}
        assert {case for case in told if case.startswith(part)} == wanted


def test_what_is_left_out_is_tried_nowhere_and_what_is_partly_answered_is_tried() -> None:
    tried, left_out, partly = split(PAGE)
    cases = {case for case, _, _ in _ROW.findall(tried)}
    assert len(cases) >= LEAST_CASES
    assert not cases & {case for case, _, _ in _ROW.findall(left_out)}
    assert {case for case, _, _ in _ROW.findall(partly)} <= cases

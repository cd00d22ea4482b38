"""The simulator's Lua is the product's, but for the one function that reads the clock."""

import difflib

from gateway.valkey.library import compose, product_sources
from loadtest.region.store import virtual_library


def test_only_the_clock_is_another() -> None:
    product = compose(product_sources()).source.splitlines()
    virtual = virtual_library().source.splitlines()
    lines = list(difflib.ndiff(product, virtual))
    assert [line[2:].strip() for line in lines if line.startswith("- ")] == [
        "local t = redis.call('TIME')",
        "return t[1] * 1000000 + t[2]",
    ]
    assert [line[2:].strip() for line in lines if line.startswith("+ ")] == [
        "return tonumber(redis.call('GET', 'ecluse:clock'))",
    ]


def test_the_changed_lines_are_the_whole_of_one_function() -> None:
    source = virtual_library().source
    assert "local function now_us()\n  return tonumber(redis.call('GET', 'ecluse:clock'))\nend\n" in source
    assert "TIME'" not in source

"""Ids in any text answer, by an RE2 pattern."""

from gateway.policy import patterns
from gateway.vocabulary.records import Source


def values(source: Source, text: str) -> list[object]:
    """Return group 1, or the whole match, of every match of the pattern of *source*."""
    return list[object](patterns.every(source.select, text))

"""Ids in an HTML answer."""

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from gateway.policy.bodies import nested_deep
from gateway.vocabulary.records import Source, Unreadable


def values(source: Source, text: str) -> list[object] | Unreadable:
    """Return the text, or the attribute, of every element that the CSS selector of *source* fits.

    An element without the attribute gives "": no id with a pattern, a malformed one without.
    """
    if nested_deep(text):
        return Unreadable.MALFORMED
    try:
        nodes = LexborHTMLParser(text).css(source.select)
        if source.attribute is None:
            return [node.text() for node in nodes]
        return [node.attributes.get(source.attribute) or "" for node in nodes]
    except (SelectolaxError, ValueError):
        return Unreadable.MALFORMED

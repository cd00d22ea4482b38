"""What a report is made of, whatever paper it is put on: parts, texts, tables, charts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.audit.breach.charts import Picture
from gateway.audit.breach.words import typographic


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a part."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; *weight* ``plain``, ``strong`` (a finding) or ``careful`` (what limits one)."""

    text: str
    weight: str = "plain"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its *caption*. Columns at *numeric* (from 0) hold numbers. *narrow* columns hold ids."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()
    narrow: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and the same figures as a table: nobody has to see it to know what it says."""

    picture: Picture
    table: Table


Block = Heading | Text | Items | Table | Chart


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a document, on pages of its own when *apart*. *anchor* names it in links."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    parts: tuple[Part, ...]


def plain(document: Document) -> str:
    """Return *document* as text: what a form of the authority is filled from by copying."""
    lines = [document.title, document.subtitle]
    for part in document.parts:
        lines += ["", part.title.upper()]
        for block in part.blocks:
            lines += _lines(block)
    return typographic("\n".join(lines).strip() + "\n")


def _lines(block: Block) -> list[str]:
    match block:
        case Heading(text):
            return ["", text]
        case Text(text):
            return [text]
        case Items(items):
            return [f"- {item}" for item in items]
        case Chart(_, table):
            return _lines(table)
        case Table(caption, heads, rows):
            return ["", caption, *(" | ".join(row) for row in (heads, *rows))]

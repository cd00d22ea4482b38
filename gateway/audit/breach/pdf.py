"""A document as PDF, with ReportLab: plain Python, no program beside it, and the same bytes each time.

ReportLab is an extra (``pip install 'ecluse[pdf]'``): the gateway itself has no need of it. The HTML page is
the accessible form; this one is for paper and for files that want a PDF.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from gateway.audit.breach.charts import Picture
from gateway.audit.breach.document import Block, Chart, Document, Heading, Items, Table, Text
from gateway.audit.breach.words import typographic

_MARGIN = 42
_LONG_CELL = 400
_ROWS_AT_ONCE = 500


class PdfMissing(Exception):
    """The library that makes PDF is not installed. The message says how to install it."""


def write_pdf(document: Document, path: Path) -> None:
    """Write *document* to *path*.

    Raises:
        PdfMissing: ReportLab is not installed.
        OSError: the disk refused.
    """
    try:
        from reportlab.lib.pagesizes import A4  # noqa: PLC0415 - an extra: only who asks for PDF needs it
        from reportlab.platypus import SimpleDocTemplate  # noqa: PLC0415
    except ImportError:
        raise PdfMissing("PDF needs one more library: pip install 'ecluse[pdf]', or ask for --html") from None
    paper = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=_plain(document.title),
        author="Écluse",
        lang="fr-FR",
        # No clock and no chance: the same document gives the same bytes.
        invariant=1,
        pageCompression=1,
    )
    paper.build(list(_Setting(A4[0] - 2 * _MARGIN).flow(document)), onFirstPage=_foot, onLaterPages=_foot)


def _foot(canvas: Any, paper: Any) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.drawRightString(
        paper.pagesize[0] - _MARGIN, _MARGIN / 2, f"{paper.title} \u2013 page {paper.page}"
    )
    canvas.restoreState()


def _plain(text: str) -> str:
    # The fonts that every reader has know the letters of western Europe (cp1252), and no narrow space.
    spaced = typographic(text).replace("\u202f", "\u00a0")
    return spaced.encode("cp1252", "backslashreplace").decode("cp1252")


def _marked(text: str) -> str:
    return escape(_plain(text))


class _Setting:
    """Sets blocks in the width of the page, in points."""

    def __init__(self, width: float) -> None:
        from reportlab.lib import colors, styles  # noqa: PLC0415

        self.width = width
        self.accent, self.ground = colors.HexColor("#0b5468"), colors.HexColor("#eef2f4")
        self.line, self.grid = colors.HexColor("#6b7c85"), colors.HexColor("#c9d3d8")
        self.alert = colors.HexColor("#fdf0f0")
        make: Callable[..., Any] = styles.ParagraphStyle
        body = make("body", fontName="Helvetica", fontSize=9.5, leading=13, spaceAfter=5)
        self.styles = {
            "title": make("title", body, fontName="Helvetica-Bold", fontSize=17, leading=21, spaceAfter=8),
            "part": make(
                "part",
                body,
                keepWithNext=1,
                fontName="Helvetica-Bold",
                fontSize=13,
                leading=17,
                spaceBefore=10,
            ),
            "heading": make(
                "heading", body, keepWithNext=1, fontName="Helvetica-Bold", fontSize=10.5, spaceBefore=8
            ),
            "plain": body,
            "strong": make("strong", body, fontName="Helvetica-Bold", backColor=self.ground, borderPadding=4),
            "careful": make("careful", body, backColor=self.alert, borderPadding=4),
            "cell": make("cell", body, fontSize=7.5, leading=9.5, spaceAfter=0),
            "id": make(
                "id", body, fontName="Courier", fontSize=6.5, leading=8, spaceAfter=0, splitLongWords=1
            ),
            "number": make("number", body, fontSize=7.5, leading=9.5, spaceAfter=0, alignment=2),
            "head": make("head", body, fontName="Helvetica-Bold", fontSize=7.5, leading=9.5, spaceAfter=0),
        }

    def flow(self, document: Document) -> Iterator[Any]:
        from reportlab.platypus import PageBreak  # noqa: PLC0415

        yield self._paragraph(document.title, "title")
        yield self._paragraph(document.subtitle, "plain")
        for part in document.parts:
            if part.apart:
                yield PageBreak()
            yield self._paragraph(part.title, "part")
            for block in part.blocks:
                yield from self._block(block)

    def _paragraph(self, text: str, style: str) -> Any:
        from reportlab.platypus import Paragraph  # noqa: PLC0415

        return Paragraph(_marked(text), self.styles[style])

    def _block(self, block: Block) -> Iterator[Any]:
        match block:
            case Heading(text):
                yield self._paragraph(text, "heading")
            case Text(text, weight):
                yield self._paragraph(text, weight)
            case Items(items):
                for item in items:
                    yield self._paragraph(f"\u2022 {item}", "plain")
            case Chart(picture, table):
                yield self._drawing(picture)
                yield from self._table(table)
            case Table():
                yield from self._table(block)

    def _table(self, table: Table) -> Iterator[Any]:
        from reportlab.platypus import LongTable, Spacer  # noqa: PLC0415

        yield self._paragraph(table.caption, "heading")
        widths = self._widths(table)
        heads = [self._paragraph(head, "head") for head in table.heads]
        rows = table.rows or [("Néant", *("" for _ in table.heads[1:]))]
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            # A table of thousands of rows is laid out in time that grows with its square: in pieces it does not.
            cells = [
                [self._cell(cell, column, table) for column, cell in enumerate(row)]
                for row in rows[at : at + _ROWS_AT_ONCE]
            ]
            yield LongTable(
                [heads, *cells],
                colWidths=widths,
                repeatRows=1,
                style=[
                    ("GRID", (0, 0), (-1, -1), 0.4, self.line),
                    ("BACKGROUND", (0, 0), (-1, 0), self.ground),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LEFTPADDING", (0, 0), (-1, -1), 3),
                    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
                    ("TOPPADDING", (0, 0), (-1, -1), 2),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
                ],
            )
        yield Spacer(1, 8)

    def _cell(self, text: str, column: int, table: Table) -> Any:
        style = "number" if column in table.numeric else "id" if column in table.narrow else "cell"
        # A cell cannot break over pages: what is longer than one stands shortened, whole in the other forms.
        shown = text if len(text) <= _LONG_CELL or column in table.numeric else text[:_LONG_CELL] + " […]"
        return self._paragraph(shown, style)

    def _widths(self, table: Table) -> list[float]:
        if len(table.heads) == 2 and not table.numeric:
            return [self.width * 0.36, self.width * 0.64]
        weights = [
            0.7 if column in table.numeric else 1.6 if column in table.narrow else 1.2
            for column in range(len(table.heads))
        ]
        return [self.width * weight / sum(weights) for weight in weights]

    def _drawing(self, picture: Picture) -> Any:
        from reportlab.graphics import shapes  # noqa: PLC0415

        scale = min(1.0, self.width / picture.width)
        drawn = shapes.Drawing(picture.width * scale, picture.height * scale)
        group = shapes.Group(transform=(scale, 0, 0, scale, 0, 0))
        high = picture.height
        for line in picture.lines:
            group.add(
                shapes.Line(
                    line.x1, high - line.y1, line.x2, high - line.y2, strokeColor=self.grid, strokeWidth=0.7
                )
            )
        for rect in picture.rects:
            group.add(
                shapes.Rect(
                    rect.x,
                    high - rect.y - rect.height,
                    rect.width,
                    rect.height,
                    fillColor=self.accent,
                    strokeColor=None,
                )
            )
        for label in picture.labels:
            group.add(
                shapes.String(
                    label.x, high - label.y, _plain(label.text), fontName="Helvetica", fontSize=11,
                    textAnchor=label.anchor,
                )
            )  # fmt: skip
        drawn.add(group)
        return drawn

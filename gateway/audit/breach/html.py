"""A document as one HTML page: nothing is loaded, nothing runs, every chart has its table (RGAA 4.1)."""

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway.audit.breach.charts import Picture
from gateway.audit.breach.document import Document
from gateway.audit.breach.words import typographic

_HERE = Path(__file__).parent / "templates"


def svg(picture: Picture) -> str:
    """Return *picture* as inline SVG, named and described for whoever cannot see it."""
    name = picture.name
    parts = [
        (
            f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {picture.width:g} {picture.height:g}" '
            'xmlns="http://www.w3.org/2000/svg">'
        ),
        f'<title id="{name}-t">{escape(typographic(picture.title))}</title>',
        f'<desc id="{name}-d">{escape(typographic(picture.description))}</desc>',
    ]
    parts += [f'<line x1="{o.x1:g}" y1="{o.y1:g}" x2="{o.x2:g}" y2="{o.y2:g}"/>' for o in picture.lines]
    parts += [
        f'<rect x="{o.x:g}" y="{o.y:g}" width="{o.width:g}" height="{o.height:g}"/>' for o in picture.rects
    ]
    parts += [
        f'<text x="{o.x:g}" y="{o.y:g}" text-anchor="{o.anchor}">{escape(o.text)}</text>'
        for o in picture.labels
    ]
    return "".join(parts) + "</svg>"


def html_pieces(document: Document) -> Iterator[bytes]:
    """Yield the pieces of the page."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["french"] = typographic
    # Every text in a picture was escaped when it was drawn.
    environment.globals["drawn"] = lambda picture: Markup(svg(picture))  # noqa: S704
    environment.globals["kind"] = lambda block: type(block).__name__.lower()
    stream = environment.get_template("report.html").stream(document=document)
    stream.enable_buffering(200)
    for piece in stream:
        yield piece.encode()

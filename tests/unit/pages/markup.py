"""A strict reader of our own pages: HTML that no browser has to repair."""

from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "img", "input", "path"})
# What may stand inside a paragraph, a heading, a label or a button.
PHRASING = frozenset(
    {"a", "strong", "code", "bdi", "span", "svg", "path", "input", "button", "label", "img", "time"}
)
PHRASING_ONLY = frozenset({"p", "h1", "h2", "label", "button", "span", "code", "a", "strong"})


class Markup(HTMLParser):
    """Elements in order, with attributes and text. Raises AssertionError where the page is not strict."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == [], f"left open: {self._open}"
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), f"an id stands twice: {ids}"
        self.ids = frozenset(ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute: {names}"
        for outer in self._open:
            assert outer not in PHRASING_ONLY or tag in PHRASING, f"<{tag}> inside <{outer}>"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.setdefault(self._open[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every element *tag*."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """Return all text of the page."""
        return " ".join(part for parts in self.texts.values() for part in parts)

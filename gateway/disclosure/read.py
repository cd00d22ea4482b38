"""Reading an answer: every patient it names, or why that cannot be told."""

from collections.abc import Iterable, Mapping

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from gateway.disclosure import from_csv, from_html, from_json, from_path, from_text
from gateway.disclosure.fold import fold_of
from gateway.policy import bodies, jsonpaths, patterns
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import (
    REQUEST_PLACES,
    Extraction,
    Place,
    RecordsSeen,
    Source,
    Uninspectable,
    Unreadable,
)

_BODY_PLACES = frozenset({Place.JSON, Place.HTML, Place.CSV, Place.TEXT})
_BODILESS = frozenset({204, 304})
_CSV_TYPES = frozenset(
    {"text/csv", "text/plain", "application/csv", "application/vnd.ms-excel", "text/tab-separated-values"}
)


class _Stop(Exception):
    """Reading ends here. It never leaves this module."""

    def __init__(self, why: Unreadable) -> None:
        super().__init__(why.value)
        self.why = why


def read(
    extraction: Extraction, request: RequestFacts, captures: Mapping[str, str], response: ResponseFacts
) -> RecordsSeen | Uninspectable:
    """Return the patients that *response* names, or why it cannot be inspected.

    *captures* are the path parameters as on the wire. ``rows`` is the number of occurrences in the
    richest source, at least the number of distinct ids. HEAD, 204 and 304 have no body to read; an
    empty body on a route whose ids stand in it is MALFORMED unless it may be empty. A source applies
    when the content type is its own; WRONG_TYPE when no source of the body applies. Never raises.
    """
    try:
        return _Reading(extraction, request, captures, response).run()
    except _Stop as stop:
        return Uninspectable(stop.why)


class _Reading:
    """One answer being read: the body is decoded once, however many sources look into it."""

    __slots__ = ("_answer", "_bodiless", "_captures", "_data", "_media", "_request", "_rule", "_text")

    def __init__(
        self, rule: Extraction, request: RequestFacts, captures: Mapping[str, str], answer: ResponseFacts
    ) -> None:
        self._rule = rule
        self._request = request
        self._captures = captures
        self._answer = answer
        self._media = bodies.answered_type(answer)
        self._bodiless = request.method == "HEAD" or answer.status in _BODILESS
        self._data: bytes | None = None
        self._text: str | None = None

    def run(self) -> RecordsSeen | Uninspectable:
        """Go through the sources in order."""
        distinct: dict[str, None] = {}
        most = misfits = fits = 0
        for source in self._rule.sources:
            if source.place in _BODY_PLACES:
                if self._bodiless:
                    continue
                if not self._applies(source):
                    misfits += 1
                    continue
                fits += 1
            ids = self._ids(source)
            most = max(most, len(ids))
            distinct.update(dict.fromkeys(ids))
            if len(distinct) > self._rule.max_ids:
                raise _Stop(Unreadable.TOO_MANY_IDS)
            if ids and self._rule.first_only:
                break
        else:
            if misfits and not fits and not (self._empty() and self._rule.may_be_empty):
                raise _Stop(Unreadable.WRONG_TYPE)
        if not distinct and not self._rule.may_be_empty and not self._bodiless:
            raise _Stop(Unreadable.NO_ID)
        size = len(self._data) if self._data is not None else len(self._answer.body or b"")
        return RecordsSeen(self._rule.system, tuple(distinct), max(most, len(distinct)), size)

    def _ids(self, source: Source) -> list[str]:
        values = self._values(source)
        if isinstance(values, Unreadable):
            raise _Stop(values)
        fold, pattern = fold_of(self._rule), source.pattern
        ids: list[str] = []
        for value in values:
            text = value if type(value) is str else jsonpaths.scalar(value)
            if pattern is not None and text is not None:
                text = patterns.found(pattern, text)
                if text is None:
                    continue
            folded = fold(text) if text is not None else None
            if not folded:
                raise _Stop(Unreadable.MALFORMED)
            ids.append(folded)
        return ids

    def _values(self, source: Source) -> Iterable[object] | Unreadable:
        if source.place in REQUEST_PLACES:
            return from_path.values(source, self._request, self._captures)
        if source.place is Place.HEADER:
            return self._answer.header_values(source.select.lower())
        if self._empty():
            return () if self._rule.may_be_empty else Unreadable.MALFORMED
        match source.place:
            case Place.JSON:
                if self._media is not None and self._media.charset not in (None, "utf-8", "utf8"):
                    return Unreadable.BAD_ENCODING
                return from_json.values(source, self._body())
            case Place.HTML:
                return from_html.values(source, self._read_text())
            case Place.CSV:
                return from_csv.values(source, self._read_text())
            case _:
                return from_text.values(source, self._read_text())

    def _empty(self) -> bool:
        return self._answer.body is not None and not self._body()

    def _body(self) -> bytes:
        if self._data is None:
            data = bodies.decoded(self._answer, self._rule.max_bytes)
            if isinstance(data, Unreadable):
                raise _Stop(data)
            self._data = data
        return self._data

    def _read_text(self) -> str:
        if self._text is None:
            text = bodies.text_of(self._body(), self._media)
            if isinstance(text, Unreadable):
                raise _Stop(text)
            self._text = text
        return self._text

    def _applies(self, source: Source) -> bool:
        media = self._media
        if media is None:
            return False
        match source.place:
            case Place.JSON:
                return media.is_json
            case Place.HTML:
                return media.is_html
            case Place.CSV:
                return media.name in _CSV_TYPES or (
                    media.name == "application/octet-stream" and self._named_csv()
                )
            case _:
                return media.is_text

    def _named_csv(self) -> bool:
        disposition = (self._answer.header("content-disposition") or "").lower()
        return (
            patterns.found(r"filename\*?\s*=\s*(?:utf-8'[^']*')?\"?[^\";]*\.csv\b", disposition) is not None
        )


def check(source: Source) -> str | None:
    """Return what is wrong with the select, pattern or delimiter of *source*, None when all is well."""
    try:
        _compile(source)
    except SelectolaxError:
        return f"{source.select!r} is no CSS selector: write for example \"a[href^='/patients/']\""
    except ValueError as error:
        return str(error)
    if not source.select:
        return f"a source at {source.place.value!r} needs 'select': the name of what holds the id"
    if source.attribute is not None and source.place is not Place.HTML:
        return f"'attribute' is for HTML sources, not for {source.place.value!r}"
    if source.delimiter is not None and (
        source.place is not Place.CSV or len(source.delimiter) != 1 or source.delimiter in '"\r\n '
    ):
        return f"delimiter {source.delimiter!r}: write one character, for CSV sources only"
    if source.place is Place.CSV and source.select.isdecimal() and int(source.select) < 1:
        return "a CSV column number starts at 1"
    return None


def _compile(source: Source) -> None:
    if source.pattern is not None:
        patterns.compiled(source.pattern)
    if source.place in (Place.JSON, Place.REQUEST_JSON):
        jsonpaths.compile_path(source.select)
    elif source.place in (Place.TEXT, Place.REQUEST_TEXT):
        patterns.compiled(source.select)
    elif source.place is Place.HTML:
        LexborHTMLParser("<p>").css(source.select)

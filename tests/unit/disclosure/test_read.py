"""What an answer reveals, and every way of not being readable."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.read import check, read
from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import Extraction, Place, RecordsSeen, Source, Uninspectable, Unreadable
from tests.unit.disclosure.exchange import HTML_LINKS, JSON_LIST, PATH, answered, asked, rule


def seen(
    extraction: Extraction, response: ResponseFacts, request: RequestFacts | None = None, **captures: str
) -> tuple[str, ...] | Unreadable:
    result = read(extraction, request or asked(), captures, response)
    return result.why if isinstance(result, Uninspectable) else result.ids


OK = answered(b"{}")
CSV = Source(Place.CSV, "id")
TEXT = Source(Place.TEXT, r"dossier (\d+)")
HEADER = Source(Place.HEADER, "X-Patient")
QUERY = Source(Place.QUERY, "id")


@pytest.mark.parametrize(
    ("extraction", "response", "request_", "captures", "ids"),
    [
        # Path captures are decoded.
        (rule(PATH), OK, asked(), {"id": "12"}, ("12",)),
        (rule(PATH), OK, asked(), {"id": "%C3%A9t%20e"}, ("ét e",)),
        (rule(PATH), OK, asked(), {}, Unreadable.NO_ID),
        (rule(PATH), OK, asked(), {"id": "%FF"}, Unreadable.MALFORMED),
        (rule(PATH), OK, asked(), {"id": "1%E2%80%8B"}, Unreadable.MALFORMED),
        (rule(PATH), OK, asked(), {"id": "x" * 129}, Unreadable.MALFORMED),
        (rule(PATH), OK, asked(), {"id": "x" * 128}, ("x" * 128,)),
        # Every query value counts, whoever reads it.
        (rule(QUERY), OK, asked(query="id=1&id=2&ID[]=3"), {}, ("1", "2", "3")),
        (rule(QUERY), OK, asked(query="id="), {}, Unreadable.NO_ID),
        (rule(QUERY), OK, asked(query="id=1%00"), {}, Unreadable.MALFORMED),
        (rule(QUERY), OK, asked(query="id=%E9"), {}, Unreadable.MALFORMED),
        # Ids in the request's body.
        (rule(Source(Place.REQUEST_FORM, "id")), OK, asked("POST", body=b"id=1&id=2"), {}, ("1", "2")),
        (rule(Source(Place.REQUEST_FORM, "id")), OK, asked("POST", body=None), {}, Unreadable.MALFORMED),
        (
            rule(Source(Place.REQUEST_JSON, "$.ids[*]")),
            OK,
            asked("POST", body=b'{"ids":[1,"2"]}'),
            {},
            ("1", "2"),
        ),
        (
            rule(Source(Place.REQUEST_JSON, "$.ids[*]")),
            OK,
            asked("POST", body=b'{"ids":[1],"ids":[2]}', kind="application/json"),
            {},
            Unreadable.MALFORMED,
        ),
        (
            rule(Source(Place.REQUEST_TEXT, r"<id>(\d+)</id>")),
            OK,
            asked(body=b"<id>7</id><id>8</id>"),
            {},
            ("7", "8"),
        ),
        (rule(Source(Place.REQUEST_TEXT, r"\d+")), OK, asked(body=b"\xff"), {}, Unreadable.MALFORMED),
        # A header of the answer.
        (rule(HEADER), answered(b"", x_patient="9"), asked(), {}, ("9",)),
        (rule(HEADER), answered(b""), asked(), {}, Unreadable.NO_ID),
        (
            rule(HEADER),
            ResponseFacts(200, (("x-patient", "9"), ("x-patient", "10")), b""),
            asked(),
            {},
            ("9", "10"),
        ),
        # Union, and the first source that yields.
        (rule(PATH, JSON_LIST), answered(b'{"items":[{"id":2}]}'), asked(), {"id": "1"}, ("1", "2")),
        (rule(PATH, JSON_LIST, first_only=True), answered(b"x"), asked(), {"id": "1"}, ("1",)),
        (rule(QUERY, JSON_LIST, first_only=True), answered(b'{"items":[{"id":2}]}'), asked(), {}, ("2",)),
    ],
)
def test_places_of_ids(
    extraction: Extraction,
    response: ResponseFacts,
    request_: RequestFacts,
    captures: dict[str, str],
    ids: tuple[str, ...] | Unreadable,
) -> None:
    assert seen(extraction, response, request_, **captures) == ids


@pytest.mark.parametrize(
    ("body", "kind", "ids"),
    [
        (b'{"items":[{"id":1},{"id":"2"},{"id":1}]}', "application/json", ("1", "2")),
        (b'{"items":[{"id":1.0}]}', "application/fhir+json; charset=UTF-8", ("1",)),
        (b'{"items":[{"id":12345678901234567890123},{"id":12345678901234567890124}]}', "application/json",
         ("12345678901234567890123", "12345678901234567890124")),
        # Not an id.
        (b'{"items":[{"id":null}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":true}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":{}}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":[1]}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":1.5}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":" "}]}', "application/json", Unreadable.MALFORMED),
        # Not JSON, or two JSONs in one.
        (b'{"items":[{"id":1,"id":2}]}', "application/json", Unreadable.MALFORMED),
        (b'{"items":[{"id":1}', "application/json", Unreadable.MALFORMED),
        (b"", "application/json", Unreadable.MALFORMED),
        (b'{"items":[]}', "application/json", Unreadable.NO_ID),
        # Something else than what the route declares.
        (b"<p>", "text/html", Unreadable.WRONG_TYPE),
        (b'{"items":[{"id":1}]}', None, Unreadable.WRONG_TYPE),
        (b'{"items":[{"id":1}]}', "application/octet-stream", Unreadable.WRONG_TYPE),
        (b'{"items":[{"id":1}]}', "application/json; charset=utf-16", Unreadable.BAD_ENCODING),
        (None, "application/json", Unreadable.TOO_LARGE),
    ],
)  # fmt: skip
def test_json_answers(body: bytes | None, kind: str | None, ids: tuple[str, ...] | Unreadable) -> None:
    assert seen(rule(JSON_LIST), answered(body, kind)) == ids


@pytest.mark.parametrize(
    ("source", "page", "kind", "ids"),
    [
        (
            HTML_LINKS,
            b"<a href=/patients/1>x<a href='/patients/1'>y</a><a href=/help><a>",
            "text/html",
            ("1",),
        ),
        (Source(Place.HTML, "td.id"), b"<table><tr><td class=id> 7&#8239;", "text/html", ("7",)),
        (Source(Place.HTML, "td.id"), b"<table><tr><td class=id>", "text/html", Unreadable.MALFORMED),
        (Source(Place.HTML, "tr", "data-id"), b"<table><tr><td>x", "text/html", Unreadable.MALFORMED),
        (HTML_LINKS, b"<a href=/help>", "text/html", Unreadable.NO_ID),
        (Source(Place.HTML, "b"), "<b>é".encode("latin-1"), "text/html; charset=iso-8859-1", ("é",)),
        (Source(Place.HTML, "b"), "<meta charset=windows-1252><b>€".encode("cp1252"), "text/html", ("€",)),
        (Source(Place.HTML, "b"), "<b>é".encode("latin-1"), "text/html", Unreadable.BAD_ENCODING),
        (Source(Place.HTML, "b"), b"<b>1", "text/html; charset=utf-7", Unreadable.BAD_ENCODING),
        (HTML_LINKS, b"<div>" * 300_000, "text/html", Unreadable.MALFORMED),
    ],
)
def test_html_answers(source: Source, page: bytes, kind: str, ids: tuple[str, ...] | Unreadable) -> None:
    assert seen(rule(source), answered(page, kind)) == ids


@pytest.mark.parametrize(
    ("source", "text", "ids"),
    [
        (CSV, "id,nom\r\n1,A\r\n2,B\r\n", ("1", "2")),
        (CSV, "\ufeffnom;id\nA;1\n\nB;2\n", ("1", "2")),
        (CSV, 'nom\tid\n"A\tB"\t1\n', ("1",)),
        (CSV, "sep=|\nid|nom\n1|A\n", ("1",)),
        (CSV, 'id,nom\n1,"A\nB"\n2,C\n', ("1", "2")),
        (Source(Place.CSV, "id", delimiter="|"), "id|nom\n1|A\n", ("1",)),
        (Source(Place.CSV, "2"), "A;1\nB;2\n", ("1", "2")),
        (Source(Place.CSV, "2", pattern=r"^\d+$"), "nom;id\nB;2\n", ("2",)),
        # The id could stand anywhere.
        (CSV, "nom,dossier\nA,1\n", Unreadable.MALFORMED),
        (CSV, "id,id\n1,2\n", Unreadable.MALFORMED),
        (CSV, "nom,id\nA\n", Unreadable.MALFORMED),
        (CSV, "nom,id\nA,B,1\n", Unreadable.MALFORMED),
        (CSV, "nom,id\nA,\n", Unreadable.MALFORMED),
        (CSV, 'id,nom\n1,"A"x\n', Unreadable.MALFORMED),
        (CSV, "id,nom\n" + "1," + "x" * 200_000 + "\n", Unreadable.MALFORMED),
        (CSV, "id,nom\n", Unreadable.NO_ID),
    ],
)
def test_csv_answers(source: Source, text: str, ids: tuple[str, ...] | Unreadable) -> None:
    assert seen(rule(source), answered(text.encode(), "text/csv; charset=utf-8")) == ids


@pytest.mark.parametrize(
    ("kind", "disposition", "ids"),
    [
        ("text/plain", "", ("1",)),
        ("application/vnd.ms-excel", "", ("1",)),
        ("application/octet-stream", 'attachment; filename="liste.csv"', ("1",)),
        ("application/octet-stream", "attachment; filename=liste.zip", Unreadable.WRONG_TYPE),
        ("text/html", "", Unreadable.WRONG_TYPE),
    ],
)
def test_types_of_csv(kind: str, disposition: str, ids: tuple[str, ...] | Unreadable) -> None:
    assert seen(rule(CSV), answered(b"id;nom\n1;A\n", kind, content_disposition=disposition)) == ids


def test_text_answers() -> None:
    body = b"dossier 1, dossier 2, dossier 1"
    result = read(rule(TEXT), asked(), {}, answered(body, "text/plain"))
    assert result == RecordsSeen("urn:demo", ("1", "2"), 3, len(body))
    assert seen(rule(TEXT), answered(body, "application/pdf")) is Unreadable.WRONG_TYPE


BODY = b'{"items":[{"id":1}]}'


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("body", "encoding", "ids"),
    [
        (gzip.compress(BODY, mtime=0), "gzip", ("1",)),
        (gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0), "x-gzip", ("1",)),
        (zlib.compress(BODY), "deflate", ("1",)),
        (raw_deflate(BODY), "deflate", ("1",)),
        (BODY, "identity", ("1",)),
        (BODY, "gzip", Unreadable.BAD_ENCODING),
        (gzip.compress(BODY, mtime=0)[:-6], "gzip", Unreadable.BAD_ENCODING),
        (gzip.compress(BODY, mtime=0) + b"trailing", "gzip", Unreadable.BAD_ENCODING),
        (gzip.compress(gzip.compress(BODY, mtime=0), mtime=0), "gzip, gzip", Unreadable.BAD_ENCODING),
        (gzip.compress(b"", mtime=0) * 1_000, "gzip", Unreadable.BAD_ENCODING),
        (b"\x0b\x02\x80", "br", Unreadable.BAD_ENCODING),
        (BODY, "zstd", Unreadable.BAD_ENCODING),
        (zlib.compress(BODY) + b"x", "deflate", Unreadable.BAD_ENCODING),
    ],
)
def test_content_encodings(body: bytes, encoding: str, ids: tuple[str, ...] | Unreadable) -> None:
    assert seen(rule(JSON_LIST), answered(body, content_encoding=encoding)) == ids


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_stops_at_the_bound_with_flat_memory(encoding: str) -> None:
    blank = b" " * 50_000_000
    bomb = gzip.compress(blank, mtime=0) if encoding == "gzip" else zlib.compress(blank)
    del blank
    tracemalloc.start()
    try:
        answer = answered(bomb, content_encoding=encoding)
        assert seen(rule(JSON_LIST, max_bytes=1_000_000), answer) is Unreadable.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_bounds_are_exact() -> None:
    assert seen(rule(JSON_LIST, max_bytes=len(BODY)), answered(BODY)) == ("1",)
    assert seen(rule(JSON_LIST, max_bytes=len(BODY) - 1), answered(BODY)) is Unreadable.TOO_LARGE
    three = answered(b'{"items":[{"id":1},{"id":2},{"id":3}]}')
    assert seen(rule(JSON_LIST, max_ids=3), three) == ("1", "2", "3")
    assert seen(rule(JSON_LIST, max_ids=2), three) is Unreadable.TOO_MANY_IDS


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (asked("HEAD"), answered(b"")),
        (asked("HEAD"), answered(b"", "text/html")),
        (asked(), answered(b"", None, status=204)),
        (asked(), answered(b"", None, status=304)),
    ],
)
def test_answers_without_body_name_nobody_but_the_path_s_patient(
    request_: RequestFacts, response: ResponseFacts
) -> None:
    assert seen(rule(JSON_LIST), response, request_) == ()
    assert seen(rule(PATH, JSON_LIST), response, request_, id="5") == ("5",)


def test_an_empty_answer_is_normal_only_where_said() -> None:
    assert seen(rule(JSON_LIST, may_be_empty=True), answered(b"")) == ()
    assert seen(rule(JSON_LIST, may_be_empty=True), answered(b'{"items":[]}')) == ()
    assert seen(rule(JSON_LIST, may_be_empty=True), answered(b"<p>", "text/html")) is Unreadable.WRONG_TYPE


def test_an_address_that_answers_in_two_formats_has_a_source_for_each() -> None:
    both = rule(JSON_LIST, HTML_LINKS)
    assert seen(both, answered(b'{"items":[{"id":1}]}')) == ("1",)
    assert seen(both, answered(b"<a href=/patients/2>", "text/html")) == ("2",)
    assert seen(both, answered(b"x", "application/pdf")) is Unreadable.WRONG_TYPE


def test_rows_are_occurrences_in_the_richest_source() -> None:
    page = answered(
        b"<a href=/patients/1>a</a><a href=/patients/1>b</a><a href=/patients/2>c</a>", "text/html"
    )
    result = read(rule(PATH, HTML_LINKS), asked(), {"id": "1"}, page)
    assert isinstance(result, RecordsSeen)
    assert result.rows == 3
    record = read(rule(PATH, Source(Place.JSON, "$.id")), asked(), {"id": "1"}, answered(b'{"id":1}'))
    assert isinstance(record, RecordsSeen)
    assert (record.ids, record.rows) == (("1",), 1)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (JSON_LIST, None),
        (HTML_LINKS, None),
        (Source(Place.CSV, "id", delimiter=";"), None),
        (Source(Place.JSON, "items.id"), "JSONPath"),
        (Source(Place.REQUEST_JSON, "$["), "JSONPath"),
        (Source(Place.HTML, "div["), "CSS"),
        (Source(Place.TEXT, "(a"), "RE2"),
        (Source(Place.PATH, "id", pattern="(?=a)"), "RE2"),
        (Source(Place.PATH, ""), "select"),
        (Source(Place.CSV, "id", delimiter="ab"), "delimiter"),
        (Source(Place.JSON, "$.a", delimiter=","), "delimiter"),
        (Source(Place.CSV, "0"), "starts at 1"),
        (Source(Place.JSON, "$.a", attribute="href"), "attribute"),
    ],
)
def test_check_says_what_is_wrong(source: Source, word: str | None) -> None:
    fault = check(source)
    assert (fault is None) if word is None else (fault is not None and word in fault)


SOURCES = [JSON_LIST, Source(Place.JSON, "$..id"), HTML_LINKS, CSV, Source(Place.CSV, "2"), TEXT, PATH, QUERY]
KINDS = [
    None,
    "application/json",
    "text/html",
    "text/csv",
    "text/plain; charset=latin1",
    'a/b; x="',
    "text/html; charset=x",
]


@given(
    st.sampled_from(SOURCES),
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from(KINDS),
    st.sampled_from(["", "gzip", "deflate", "br", "gzip,gzip"]),
    st.text("%0aF;=&id", max_size=20),
    st.booleans(),
)
def test_nothing_raises(
    source: Source, body: bytes, kind: str | None, encoding: str, query: str, first_only: bool
) -> None:
    result = read(
        rule(source, first_only=first_only),
        asked(query=query, body=body),
        {"id": query},
        answered(body, kind, content_encoding=encoding),
    )
    assert isinstance(result, RecordsSeen | Uninspectable)
    assert "\x00" not in "".join(result.ids) if isinstance(result, RecordsSeen) else True


@given(
    st.lists(
        st.integers(0, 10**30) | st.text("abcé 0123", min_size=1, max_size=9).filter(str.strip), max_size=30
    )
)
def test_no_row_is_missed_in_any_format(ids: list[int | str]) -> None:
    wanted = tuple(dict.fromkeys(str(one).strip() for one in ids))
    as_json = json.dumps({"items": [{"id": one, "nom": "Durand : é"} for one in ids]})
    as_csv = "nom;id\n" + "".join(f'"x;y";{one}\n' for one in ids)
    empty_ok = {"may_be_empty": True}
    assert seen(rule(JSON_LIST, **empty_ok), answered(as_json.encode())) == wanted  # type: ignore[arg-type]
    assert seen(rule(CSV, **empty_ok), answered(as_csv.encode(), "text/csv")) == wanted  # type: ignore[arg-type]

"""Requests and answers for the tests of this room."""

from gateway.vocabulary.messages import RequestFacts, ResponseFacts
from gateway.vocabulary.records import Extraction, Normalisation, Place, Source

DEFAULT_STEPS = (Normalisation.NFKC, Normalisation.DIGITS, Normalisation.TRIM)


def asked(
    method: str = "GET",
    query: str = "",
    body: bytes | None = b"",
    kind: str | None = None,
    path: str = "/patients",
) -> RequestFacts:
    headers = () if kind is None else (("content-type", kind),)
    return RequestFacts(
        "r1",
        1_790_000_000_000,
        "https",
        method,
        "app.example",
        443,
        path,
        query,
        headers,
        "192.0.2.1",
        4,
        body,
    )


def answered(
    body: bytes | None, kind: str | None = "application/json", status: int = 200, **headers: str
) -> ResponseFacts:
    lines = () if kind is None else (("content-type", kind),)
    return ResponseFacts(
        status, lines + tuple((name.replace("_", "-"), value) for name, value in headers.items()), body
    )


def rule(
    *sources: Source,
    normalise: tuple[Normalisation, ...] = DEFAULT_STEPS,
    strip_prefix: str | None = None,
    first_only: bool = False,
    may_be_empty: bool = False,
    max_bytes: int = 4_000_000,
    max_ids: int = 2_000,
) -> Extraction:
    return Extraction(
        sources, "urn:demo", normalise, strip_prefix, first_only, may_be_empty, max_bytes, max_ids
    )


JSON_LIST = Source(Place.JSON, "$.items[*].id")
PATH = Source(Place.PATH, "id")
HTML_LINKS = Source(Place.HTML, "a", "href", r"^/patients/(\d+)$")

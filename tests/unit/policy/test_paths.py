"""One path, one meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.paths import PathRefused, canonical_path, compile_template


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("/", "/"),
        ("/dossiers/1001", "/dossiers/1001"),
        ("/dossiers/", "/dossiers/"),
        # Escapes of unreserved characters are decoded, the others get upper-case digits.
        ("/%64ossiers/%31", "/dossiers/1"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%7eb", "/a~b"),
        ("/a%20b", "/a%20b"),
        # What browsers send raw.
        ("/x[1]|2", "/x[1]|2"),
        ("/x:y@z,!$&'()*+=", "/x:y@z,!$&'()*+="),
        # A percent sign that escapes nothing when decoded twice.
        ("/100%25", "/100%25"),
        ("/100%25zz", "/100%25zz"),
    ],
)
def test_canonical(raw: str, canonical: str) -> None:
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", "not-origin-form"),
        ("dossiers", "not-origin-form"),
        ("http://evil/", "not-origin-form"),
        ("/é", "raw-non-ascii"),
        # Dot segments, plain and hidden.
        ("/public/../patient/1", "dot-segment"),
        ("/public/./x", "dot-segment"),
        ("/public/%2e%2e/patient/1", "dot-segment"),
        ("/public/..", "dot-segment"),
        ("/a//b", "empty-segment"),
        ("//patient/1", "empty-segment"),
        # Separators that only some servers decode.
        ("/public%2f..%2fpatient", "encoded-slash"),
        ("/public%5c..%5cpatient", "backslash"),
        ("/public\\patient", "bad-character"),
        ("/%252e%252e/patient", "encoded-percent"),
        ("/patient/1;jsessionid=x", "bad-character"),
        ("/patient/1%3bx", "semicolon"),
        # Bytes no path has.
        ("/patient/1%00", "control-character"),
        ("/patient/1%0d%0aX:1", "control-character"),
        ("/%c0%ae%c0%ae/x", "not-utf-8"),
        ("/%ff", "not-utf-8"),
        ("/%", "bad-escape"),
        ("/%zz", "bad-escape"),
        ("/a b", "bad-character"),
        ("/a#b", "bad-character"),
        ("/a<b>", "bad-character"),
    ],
)
def test_refused(raw: str, fault: str) -> None:
    with pytest.raises(PathRefused) as refused:
        canonical_path(raw)
    assert refused.value.fault == fault


@pytest.mark.parametrize(
    ("raw", "allowance", "canonical"),
    [
        ("/wiki/A%2FB", "encoded-slash", "/wiki/A%2FB"),
        ("/a//b", "empty-segment", "/a//b"),
        ("/a;v=1", "semicolon", "/a;v=1"),
        ("/a%5Cb", "backslash", "/a%5Cb"),
        ("/a%2541", "encoded-percent", "/a%2541"),
    ],
)
def test_an_app_may_need_a_spelling(raw: str, allowance: str, canonical: str) -> None:
    assert canonical_path(raw, frozenset({allowance})) == canonical


def test_allowances_never_bring_dot_segments_back() -> None:
    everything = frozenset({"encoded-slash", "empty-segment", "semicolon", "backslash", "encoded-percent"})
    for raw in ("/a/../b", "/a/%2e%2e/b", "/a/..;x/b"):
        with pytest.raises(PathRefused):
            canonical_path(raw, everything)


@given(st.text(min_size=0, max_size=40))
def test_refused_or_stable(text: str) -> None:
    try:
        once = canonical_path("/" + text)
    except PathRefused:
        return
    assert canonical_path(once) == once


@pytest.mark.parametrize(
    ("template", "path", "exact", "loose"),
    [
        ("/dossiers/{id}", "/dossiers/1001", {"id": "1001"}, {"id": "1001"}),
        ("/dossiers/{id}", "/DOSSIERS/1001/", None, {"id": "1001"}),
        ("/dossiers/{id:int}", "/dossiers/new", None, None),
        ("/static/*", "/static/a/b.css", {}, {}),
        ("/w/{page:path}", "/w/a/b", {"page": "a/b"}, {"page": "a/b"}),
        ("/r/{y:[0-9]{4}}-{n:int}", "/r/2026-7", {"y": "2026", "n": "7"}, {"y": "2026", "n": "7"}),
        ("/a.b", "/aXb", None, None),
    ],
)
def test_templates(
    template: str, path: str, exact: dict[str, str] | None, loose: dict[str, str] | None
) -> None:
    compiled = compile_template(template)
    found = compiled.exact.match(path)
    assert (found.groupdict() if found else None) == exact
    found = compiled.loose.match(path)
    assert (found.groupdict() if found else None) == loose


@pytest.mark.parametrize(
    "template", ["dossiers", "/a?b", "/a#b", "/{id}/{id}", "/{Bad}", "/a*b", "/{x:(a)}", "/{x:[}", "/é"]
)
def test_bad_templates_are_named(template: str) -> None:
    with pytest.raises(ValueError, match="path"):
        compile_template(template)

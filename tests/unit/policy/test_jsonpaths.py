"""JSON read in one way only, and the fast path against the library."""

import json

import jsonpath_rfc9535
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.jsonpaths import JsonRefused, parse_json, scalar, select, steps

KEYS = st.sampled_from(["a", "id", "items", ":", " :", '"', "\\", "é", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
PATHS = st.lists(
    st.sampled_from([".id", ".items", "[*]", ".*", "[0]", "[1]", "['a']", "['é']"]), max_size=4
).map(lambda parts: "$" + "".join(parts))


@given(PATHS, DOCUMENTS)
def test_the_fast_path_selects_what_the_library_does(path: str, document: object) -> None:
    assert steps(path) is not None
    wanted = list(jsonpath_rfc9535.compile(path).find(document).values())
    assert select(path, document) == wanted


@given(
    DOCUMENTS,
    st.sampled_from([None, 2]),
    st.booleans(),
    st.sampled_from([None, (" , ", " : "), (",", "\n:")]),
)
def test_every_spelling_of_a_document_is_read(
    document: object, indent: int | None, ascii_only: bool, separators: tuple[str, str] | None
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    try:
        assert parse_json(data) == json.loads(text)
    except JsonRefused:
        # The library refuses numbers beyond a double, as browsers turn them into infinity.
        assert "\\ud" in text


@given(
    DOCUMENTS,
    st.sampled_from(['"a"', '"\\u0061"']),
    st.sampled_from([":", " :", "\n\t:", ": "]),
    st.text(' :",\\é', max_size=8),
)
def test_a_doubled_member_is_never_taken(document: object, name: str, colon: str, noise: str) -> None:
    inside = json.dumps(document)
    text = f'{{"n":{json.dumps(noise)},"a":{inside},"x":[{{{name}{colon}1,"a":2}}]}}'
    with pytest.raises(JsonRefused):
        parse_json(text.encode())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"), (0, "0"), (12345678901234567890123, "12345678901234567890123"), (2.0, "2"),
        (2.5, None), (1e300, None), (True, None), (None, None), ([], None), ({}, None),
    ],
)  # fmt: skip
def test_scalars(value: object, text: str | None) -> None:
    assert scalar(value) == text


def test_wide_integers_stay_apart() -> None:
    assert parse_json(b"[12345678901234567890123,12345678901234567890124]") == [
        12345678901234567890123,
        12345678901234567890124,
    ]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]

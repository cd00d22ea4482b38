"""What a front proxy may say of a request, and whom the check believes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.claims import TAKEN_AWAY, TOLD, Fault, is_front, read
from gateway.ingress import Fields, RawHead

SECRET = b"s" * 40
LINES: Fields = (
    (b"host", b"ecluse"),
    (b"x-ecluse-front", SECRET),
    (b"x-forwarded-method", b"GET"),
    (b"x-forwarded-uri", b"/annuaire?x=1"),
    (b"x-forwarded-host", b"app.example"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-for", b"192.0.2.9"),
    (b"cookie", b"sid=1"),
    (b"accept", b"text/html"),
)


def with_line(name: bytes, value: bytes) -> Fields:
    return (*((key, old) for key, old in LINES if key != name), (name, value))


def test_a_question_is_the_request_it_describes() -> None:
    assert read(LINES) == RawHead(
        method=b"GET",
        target=b"/annuaire?x=1",
        authority=b"",
        http_version=b"HTTP/1.1",
        fields=((b"host", b"app.example"), (b"cookie", b"sid=1"), (b"accept", b"text/html")),
        scheme="https",
        peer_address="192.0.2.9",
        peer_port=0,
    )


@pytest.mark.parametrize("name", sorted(TOLD))
def test_each_thing_is_told_exactly_once(name: bytes) -> None:
    value = dict(LINES)[name]
    assert read(tuple(line for line in LINES if line[0] != name)) == Fault("untold")
    assert read((*LINES, (name, value))) == Fault("told-twice")
    assert read(((name, b"other"), *LINES)) == Fault("told-twice")


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (b"x-forwarded-for", b"", "told-address"),
        (b"x-forwarded-for", b"unknown", "told-address"),
        (b"x-forwarded-for", b"192.0.2.9, 192.0.2.1", "told-address"),
        (b"x-forwarded-for", b"192.0.2.9:1234", "told-address"),
        (b"x-forwarded-for", b"fe80::1%eth0", "told-address"),
        (b"x-forwarded-for", b"192.0.2.09", "told-address"),
        (b"x-forwarded-proto", b"wss", "told-scheme"),
        (b"x-forwarded-proto", b"https,http", "told-scheme"),
        (b"x-forwarded-proto", b"HTTPS", "told-scheme"),
        (b"upgrade", b"websocket", "upgrade"),
        (b"x-original-url", b"/dossiers/1", "claim"),
        (b"x-rewrite-url", b"/dossiers/1", "claim"),
        (b"x-original-uri", b"/dossiers/1", "claim"),
        (b"x-forwarded-prefix", b"/x", "claim"),
        (b"x-forwarded-anything", b"x", "claim"),
        (b"x-http-method-override", b"POST", "claim"),
        (b"forwarded", b"for=192.0.2.66", "claim"),
        (b"x-ecluse-assertion", b"e30.e30.", "claim"),
        (b"x-ecluse-answer", b"x", "claim"),
        (b"x_forwarded_uri", b"/static/x", "claim"),
        (b"x_ecluse.assertion", b"x", "claim"),
        (b"x_forwarded-for", b"192.0.2.66", "claim"),
        (b"remote_user", b"admin", "claim"),
        (b"content_length", b"5", "disguise"),
        (b"transfer.encoding", b"chunked", "disguise"),
    ],
)
def test_what_is_malformed_or_not_taken_away_is_no_description(name: bytes, value: bytes, fault: str) -> None:
    assert read(with_line(name, value)) == Fault(fault)


@pytest.mark.parametrize("name", TAKEN_AWAY)
def test_every_name_that_is_to_be_taken_away_is_missed_when_it_is_not(name: str) -> None:
    left = read(with_line(name.encode(), b"x"))
    assert left == Fault("claim") or name in {"x-real-ip", "via"}


@pytest.mark.parametrize(
    "name", [b"x-forwarded-port", b"x-real-ip", b"via", b"x-envoy-internal", b"x-forwarded-server"]
)
def test_what_proxies_add_of_their_own_is_not_the_clients(name: bytes) -> None:
    head = read((*LINES, (name, b"x")))
    assert isinstance(head, RawHead)
    assert name not in dict(head.fields)


def test_an_address_is_one_spelling() -> None:
    head = read(with_line(b"x-forwarded-for", b"2001:DB8:0::1"))
    assert isinstance(head, RawHead)
    assert head.peer_address == "2001:db8::1"


@pytest.mark.parametrize(
    ("lines", "believed"),
    [
        (LINES, True),
        ((), False),
        (((b"x-ecluse-front", b""),), False),
        (((b"x-ecluse-front", SECRET[:-1]),), False),
        (((b"x-ecluse-front", SECRET + b"s"),), False),
        ((*LINES, (b"x-ecluse-front", SECRET)), False),
        ((*LINES, (b"x-ecluse-front", b"other")), False),
        (((b"x_ecluse_front", SECRET),), False),
        (((b"x-ecluse-front", "é".encode() * 20),), False),
    ],
)
def test_only_who_knows_the_secret_is_the_front_proxy(lines: Fields, believed: bool) -> None:
    assert is_front(lines, SECRET) is believed
    assert is_front(lines, None)


names = st.one_of(
    st.sampled_from([*sorted(TOLD), b"x-ecluse-front", b"cookie", b"host", b"x-real-ip", b"upgrade"]),
    st.binary(max_size=20),
)


@given(st.lists(st.tuples(names, st.binary(max_size=30)), max_size=12).map(tuple))
def test_reading_never_fails_and_never_guesses(lines: Fields) -> None:
    found = read(lines)
    if isinstance(found, RawHead):
        for name in TOLD:
            assert len([value for key, value in lines if key == name]) == 1
        assert not any(key in TOLD or key == b"x-ecluse-front" for key, _ in found.fields)
        assert [value for key, value in found.fields if key == b"host"] == [dict(lines)[b"x-forwarded-host"]]
    assert is_front(lines, SECRET) == (
        [value for key, value in lines if key == b"x-ecluse-front"] == [SECRET]
    )

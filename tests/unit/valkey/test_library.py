"""One library out of the rooms' Lua files."""

import pytest

from gateway.valkey.address import read_address
from gateway.valkey.library import compose, product_sources

ONE = "redis.register_function('one', function(keys, args) return 1 end)"


def test_the_name_follows_the_text() -> None:
    first, second = compose([ONE]), compose([ONE + "\n"])
    assert first.digest != second.digest
    assert first.source.startswith(f"#!lua name=ecluse_{first.digest}\n")
    assert f"redis.register_function('{first.wire_name('one')}'" in first.source
    assert compose([ONE]) == first


@pytest.mark.parametrize(
    "source",
    [
        "redis.register_function{function_name='one', callback=f}",
        "local r = redis.register_function r('one', f)",
    ],
)
def test_a_registration_that_cannot_be_named_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="register_function"):
        compose([source])


def test_the_product_has_a_library() -> None:
    source = compose(product_sources()).source
    assert "ecluse_enter_" in source
    assert "ecluse_reveal_" in source


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@store.example:6379/0", "redis://store.example:6379/0"),
        ("rediss://:se@cret@store.example", "rediss://store.example"),
        ("redis://store.example?password=secret", "redis://store.example"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        (
            "sentinel://gate:secret@h1:26379,[fd00::1]:26379,h3/ecluse?sentinel_password=secret&db=1",
            "sentinel://h1:26379,[fd00::1]:26379,h3/ecluse",
        ),
        ("clusters://gate:secret@h1:7000,h2?ssl_ca_certs=secret", "clusters://h1:7000,h2"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert read_address(url).public == shown

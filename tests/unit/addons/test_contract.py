"""The contract with mitmproxy: each kind of what may be gone is named."""

from dataclasses import dataclass

import pytest

from addons.contract import RELIES_ON, Relied, broken, check

HERE = __name__


def helper() -> None:
    pass


@dataclass
class Theirs:
    """Stands for a class of theirs."""

    kept: int

    def __post_init__(self) -> None:
        self.made = 1

    def work(self) -> None:
        helper()


@pytest.mark.parametrize(
    ("relied", "said"),
    [
        (Relied(f"{HERE}:Theirs", has=("kept", "made", "work"), overrides=("work",), looks_up=("helper",)), None),
        (Relied(f"{HERE}:Theirs", fields=("kept",), takes=("self", "kept")), None),
        (Relied(HERE), None),
        (Relied(f"{HERE}:Gone"), "is gone"),
        (Relied("mitmproxy.no.such.module:It"), "is gone"),
        (Relied(f"{HERE}:Theirs", has=("other",)), "has no other any more"),
        (Relied(f"{HERE}:Theirs", overrides=("rest",)), "has no rest any more"),
        (Relied(f"{HERE}:Theirs", overrides=("made",)), "is no method any more"),
        (Relied(f"{HERE}:Theirs", looks_up=("pytest",)), "does not look pytest up"),
        (Relied(f"{HERE}:Theirs", fields=("kept", "more")), "has the fields kept"),
        (Relied(f"{HERE}:helper", fields=("kept",)), "of no dataclass"),
        (Relied(f"{HERE}:Theirs", takes=("self", "other")), "takes self, kept"),
    ],
)  # fmt: skip
def test_what_is_gone_is_named(relied: Relied, said: str | None) -> None:
    found = list(broken(relied))
    assert any(said in line for line in found) if said is not None else found == []


def test_what_is_installed_keeps_it() -> None:
    check()


def test_what_our_code_hangs_on_is_listed() -> None:
    listed = {relied.what.partition(":")[2] for relied in RELIES_ON}
    assert {"ProxyConnectionHandler", "HttpStream", "HttpLayer", "Http1Server", "Http1Client"} <= listed

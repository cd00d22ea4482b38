from gateway.engine.shown import Shown


def test_a_piece_is_fresh_until_it_was_released() -> None:
    shown = Shown()
    assert shown.fresh("s", [b"a", b"b"]) == 2
    assert shown.fresh("s", [b"a", b"b"]) == 2
    shown.keep("s", [b"a"])
    assert shown.fresh("s", [b"a", b"b"]) == 1
    assert shown.fresh("other", [b"a", b"b"]) == 2


def test_memory_is_bounded_and_what_returns_stays() -> None:
    shown = Shown()
    for number in range(1_000):
        shown.keep("s", [b"the foot of every page", str(number).encode()])
    assert shown.fresh("s", [b"the foot of every page"]) == 0
    assert shown.fresh("s", [b"999"]) == 0
    assert shown.fresh("s", [b"3"]) == 1
    for number in range(10_000):
        shown.keep(str(number), [b"a"])
    assert shown.fresh("s", [b"the foot of every page"]) == 1
    assert shown.fresh("9999", [b"a"]) == 0

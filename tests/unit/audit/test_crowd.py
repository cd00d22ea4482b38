"""A batch waits for others only where there were others, and never for long."""

import pytest

from gateway.audit.crowd import ENOUGH, GATHER_S, LASTS_S, Crowd

BATCHES = [
    ("nobody was there yet", [], 1, 0.0),
    ("one alone after another", [(1, 0), (1, 0)], 1, 0.0),
    ("two came together", [(2, 0)], 1, GATHER_S),
    ("one came while another was written", [(1, 1)], 1, GATHER_S),
    ("a crowd, then one alone, just now", [(5, 2), (1, 0)], 1, GATHER_S),
    ("enough have come", [(5, 2)], ENOUGH, 0.0),
    ("nothing waits", [(5, 2)], 0, 0.0),
]


@pytest.mark.parametrize(
    ("batches", "waiting", "pause_s"), [one[1:] for one in BATCHES], ids=[one[0] for one in BATCHES]
)
def test_who_waits_for_others(batches: list[tuple[int, int]], waiting: int, pause_s: float) -> None:
    crowd = Crowd()
    for taken, left in batches:
        crowd.took(100.0, taken, left)
    assert crowd.pause_s(100.0 + LASTS_S / 2, waiting) == pause_s


def test_a_crowd_is_forgotten() -> None:
    crowd = Crowd()
    crowd.took(100.0, 9, 9)
    assert crowd.pause_s(100.0 + LASTS_S, 1) == 0.0

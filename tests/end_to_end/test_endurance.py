"""Short runs of what `loadtest.endurance` does for minutes: the same people, the same checks, the same bounds."""

from typing import Any

from loadtest.endurance import idle, mixed


def _ignore(_share: float, _figures: str) -> None:
    pass


def _figures(told: dict[str, Any]) -> tuple[int, int, list[str]]:
    return told["wrong"], told["failed"], told["faults"]


def test_mixed_traffic_gets_no_wrong_answer() -> None:
    """O05 Logins, records, files, sockets, hang-ups, locks, reloads: what came whole is what the log holds."""
    plan = mixed.Plan(
        0.05, ("alone",), people=3, think_s=0.03, session_s=(60, 60), least_acts=6, most_sample_s=0.3, reload_s=1,
        judge_growth=False,
    )  # fmt: skip
    told: dict[str, Any] = mixed.run(plan, _ignore)
    assert _figures(told) == (0, 0, [])
    assert told["served"] == told["audited"] > 0
    assert sum(told["acts"].values()) >= 3 * 2 * 6
    assert {"login", "logout", "lock"} <= set(told["acts"])


def test_idle_and_slow_clients_and_large_bodies_cost_little_memory() -> None:
    """O04 Others are served meanwhile, and neither a large upload nor a large download is held."""
    # Naive: a body that is held adds its 64 MB, and the upload is refused at the bound of what is held.
    plan = idle.Plan(
        None, connections=300, slow=20, upload_bytes=64 << 20, download_bytes=64 << 20, seconds=2
    )
    told: dict[str, Any] = idle.run(plan, _ignore)
    assert _figures(told) == (0, 0, [])
    assert told["idle_opened"] == 300
    assert told["served"] == told["audited"] > 0
    assert told["mb_most"] - told["mb_first"] < 50, told

"""Logs hold no secret and no person; metrics hold no account; probes get plain answers."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

from gateway import telemetry


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Send logs into a text, and put everything back afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    out = io.StringIO()
    telemetry.configure(out, level=logging.DEBUG)
    yield out
    logging.root.handlers, logging.root.level = handlers, level
    telemetry._send_to(None, logging.INFO, {})


def told(lines: io.StringIO) -> dict[str, Any]:
    """Return the one line that was written."""
    (line,) = lines.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize(
    "field",
    [
        # Secrets by their names, alone or inside longer names, in any case.
        *(
            "password",
            "secret",
            "totp_secret",
            "token",
            "form_token",
            "Cookie",
            "set_cookie",
            "Authorization",
        ),
        *("code", "recovery_code", "otp", "session_jwt", "key", "bearer"),
        # People and what leads to them.
        *(
            "patient",
            "patients",
            "patient_id",
            "nir",
            "nom",
            "phone",
            "email",
            "path",
            "url",
            "query",
            "body",
            "headers",
        ),
    ],
)
def test_field_named_like_a_secret_is_dropped_and_flagged(lines: io.StringIO, field: str) -> None:
    telemetry.log().info("something_happened", **{field: "Martin-1850699123456"}, app="demo")
    found = told(lines)
    assert "Martin" not in lines.getvalue()
    assert found["withheld"] == field
    assert (found["event"], found["app"], found["level"]) == ("something_happened", "demo", "info")


@pytest.mark.parametrize("field", ["status_code", "key_id", "app", "policy_id", "account_class", "count"])
def test_harmless_field_stays(lines: io.StringIO, field: str) -> None:
    telemetry.log().info("something_happened", **{field: 7})
    assert told(lines)[field] == 7
    assert "withheld" not in told(lines)


def test_value_that_could_hold_anything_is_dropped(lines: io.StringIO) -> None:
    telemetry.log().info(
        "something_happened", facts={"nir": "1850699123456"}, raw=b"1850699123456", text="x" * 5_000
    )
    assert told(lines)["withheld"] == "facts raw"
    assert len(told(lines)["text"]) == 1_001


def test_fault_is_told_by_type_and_place_without_its_message(lines: io.StringIO) -> None:
    try:
        int("patient Martin, code 123456")
    except ValueError:
        telemetry.log().error("hook_failed", exc_info=True)
    assert told(lines)["fault"] == "ValueError"
    assert "unit/test_telemetry.py:" in told(lines)["at"]
    assert "Martin" not in lines.getvalue()


def test_other_libraries_are_told_by_place_without_their_text(lines: io.StringIO) -> None:
    logging.getLogger("redis.connection").info("GET /dossiers/1001")
    assert not lines.getvalue()
    logging.getLogger("redis.connection").warning("failed for %s", "GET /dossiers/1001")
    assert (told(lines)["event"], told(lines)["logger"]) == ("library_message", "redis.connection")
    assert "1001" not in lines.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_terminal_gets_colours_unless_they_are_unwanted(
    lines: io.StringIO, environment: dict[str, str], coloured: bool
) -> None:
    terminal = _Terminal()
    telemetry.configure(terminal, environment=environment)
    telemetry.log().info("gateway_ready")
    assert ("\x1b[" in terminal.getvalue()) is coloured
    assert "gateway_ready" in terminal.getvalue()


FORBIDDEN_LABELS = {"account", "login", "patient", "session", "client", "address", "user"}


def test_metrics_have_our_prefix_and_no_label_of_a_person() -> None:
    for family in telemetry.REGISTRY.collect():
        assert family.name.startswith(("ecluse_", "process_"))
        for sample in family.samples:
            assert not FORBIDDEN_LABELS & sample.labels.keys()


@given(st.lists(st.tuples(st.sampled_from(["enter", "reveal"]), st.floats(0.0, 3.0)), min_size=1))
def test_durations_tell_what_a_histogram_of_the_library_tells(took: list[tuple[str, float]]) -> None:
    registry, bounds_s = CollectorRegistry(), (0.001, 0.5, 1.0)
    theirs = Histogram("x_seconds", "How long.", ("call",), buckets=bounds_s, registry=registry)
    ours = telemetry.Durations("x_seconds", "How long.", bounds_s, "call", CollectorRegistry())
    for call, took_s in took:
        theirs.labels(call).observe(took_s)
        ours.by(call).observe(took_s)

    assert shown(ours) == shown(theirs)


@given(st.lists(st.tuples(st.sampled_from(["a", 'b"\n']), st.sampled_from(["forward", ""]))))
def test_tallies_tell_what_a_counter_of_the_library_tells(counted: list[tuple[str, str]]) -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    labels = ("app", "decision")
    theirs = Counter("x_requests_total", "How many.", labels, registry=registries[0])
    ours = telemetry.Tallies("x_requests", "How many.", labels, registries[1])
    for values in counted:
        theirs.labels(*values).inc()
        ours.by(*values).inc()
    assert shown(ours) == shown(theirs)
    lines = [
        [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
        for registry in registries
    ]
    assert lines[0] == lines[1]


def shown(one: Collector) -> list[tuple[str, dict[str, str], float]]:
    """Return what *one* shows, but for the times at which it was made."""
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in one.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


@pytest.mark.parametrize(
    ("head", "ready", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", True, 200, b"ecluse_hook_faults_total"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", False, 200, b"alive"),
        (b"GET /readyz HTTP/1.0\r\n\r\n", True, 200, b"ready"),
        (b"GET /readyz HTTP/1.1\r\n\r\n", False, 503, b"not ready"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", True, 404, b""),
        (b"POST /metrics HTTP/1.1\r\n\r\n", True, 405, b""),
        (b"\x16\x03\x01\x00\r\n\r\n", True, 400, b""),
    ],
)
async def test_probe_gets_its_answer(head: bytes, ready: bool, status: int, body: bytes) -> None:
    found = await telemetry._answer(head, lambda: ready, telemetry._own_metrics)
    assert found[0] == status
    assert body in found[2]


def test_only_the_policy_in_force_is_shown() -> None:
    """O03 One policy, the one in force."""
    telemetry.show_policy("0123456789abcdef")
    telemetry.show_policy("fedcba9876543210")
    shown = [sample.labels for family in telemetry.CONFIG_INFO.collect() for sample in family.samples]
    assert shown == [{"policy_id": "fedcba9876543210"}]

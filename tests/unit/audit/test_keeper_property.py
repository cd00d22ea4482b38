"""Whatever is written, archived, merged, purged and interrupted, in whatever order: one log, each event once."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.audit import files, retention
from gateway.audit.keeper import archive_lock, keep
from gateway.audit.manifest import read_manifest
from gateway.audit.operator import operator_log
from gateway.audit.purges import purge_event
from gateway.audit.verify import Verified, verify_log
from tests.unit.audit.archives import Id, assert_one_log, day_ms, entries, write_days
from tests.unit.audit.logs import KEY, RING, SITE

WRITERS = ("gateway.a", "gateway.b")
STEPS = st.none() | st.integers(0, 40)


class Killed(BaseException):
    """The process ends here, as far as the files are concerned."""


class Archive(RuleBasedStateMachine):
    """A journal of two gateways and the commands, a keeper and a purger that may end at any step."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.audit_dir = Path(self.folder.name)
        self.recorded: dict[Id, dict[str, Any]] = {}
        self.today = 0
        for writer in WRITERS:
            write_days(self.audit_dir / writer, [0], per_day=2)

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(later=st.sampled_from([0, 1, 1, 2, 40]), count=st.integers(1, 3))
    def writes(self, later: int, count: int) -> None:
        self.today += later
        for writer in WRITERS:
            write_days(self.audit_dir / writer, [self.today], per_day=count)

    @rule(later=st.sampled_from([0, 40]), steps=STEPS)
    def keeps(self, later: int, steps: int | None) -> None:
        self.today += later
        with ending_after(steps):
            assert keep(self.audit_dir, [KEY], day_ms(self.today)).faults == ()

    @rule(days=st.sampled_from([1, 1, 30]), steps=STEPS)
    def purges(self, days: int, steps: int | None) -> None:
        before_ms, below = day_ms(self.today - days), read_manifest(self.audit_dir).purged
        with archive_lock(self.audit_dir):
            due = retention.find_due(self.audit_dir, [KEY], before_ms)
            if due:
                with operator_log(self.audit_dir, SITE, RING, node="a") as log:
                    for item in due:
                        log.record(
                            purge_event(
                                item.purge, day_ms(self.today), "sysop", "test", older_than="", retention=""
                            )
                        )
            self.note()
            with ending_after(steps):
                retention.drop(self.audit_dir, due)
        after = read_manifest(self.audit_dir).purged
        for (writer, seq), entry in self.recorded.items():
            if below.get(writer, 0) <= seq < after.get(writer, 0):
                assert entry["at_ms"] < before_ms

    def note(self) -> None:
        self.recorded |= entries(self.audit_dir)

    @invariant()
    def every_event_is_read_once_and_every_log_verifies(self) -> None:
        self.note()
        below = read_manifest(self.audit_dir).purged
        assert_one_log(
            self.audit_dir,
            {name: entry for name, entry in self.recorded.items() if name[1] >= below.get(name[0], 0)},
        )
        for directory in files.log_directories(self.audit_dir):
            result = verify_log(directory, [KEY])
            assert isinstance(result, Verified), result
            assert result.purged <= below.get(directory.name, 0)


@contextmanager
def ending_after(steps: int | None) -> Iterator[None]:
    """End the block as if killed before its file operation number *steps*, counted from 0."""
    left = steps if steps is not None else 1_000_000

    def stepping(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return real(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for owner, name in (
            (files, "replace_durably"),
            (files, "sync_directory"),
            (Path, "replace"),
            (Path, "unlink"),
        ):
            patch.setattr(owner, name, stepping(getattr(owner, name)))
        yield


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=8, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)

"""The loop: read on, judge, act, record, remember."""

from collections.abc import Callable, Collection, Sequence
from zoneinfo import ZoneInfo

from gateway import telemetry
from gateway.audit.files import LogDamaged
from gateway.audit.tail import MOST, Tail
from gateway.audit.writer import AuditUnavailable
from gateway.clock import Clock
from gateway.detection import breakers, observe
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.alerts import Alert
from gateway.vocabulary.events import AuditEvent
from gateway.vocabulary.signals import Finding, Rules, Verdict
from gateway.watching.deeds import Deeds, Done, alert_of
from gateway.watching.snapshot import Memory, Snapshot

SAVE_EVERY_MS = 60_000
SAVE_AFTER_ACT_MS = 5_000
_MOST_UNRECORDED = 1_000

Record = Callable[[Sequence[AuditEvent]], int]
"""Makes events durable, in order, and returns how many it could. Raises AuditUnavailable when it could none."""
Alarm = Callable[[Alert], bool]
"""Keeps an alert durably, to be told at once; False when it could not, and is to be asked again."""


class Watcher:
    """Follows *tail* and keeps *memory* in *snapshot*. One task, one owner.

    What was decided while the store did not answer is tried again at each step, and survives a restart; what could
    not be recorded is recorded once the log takes it, for as long as the process lives.
    """

    def __init__(
        self,
        tail: Tail,
        memory: Memory,
        snapshot: Snapshot,
        deeds: Deeds,
        record: Record,
        alarm: Alarm,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._tail = tail
        self._memory = memory
        self._snapshot = snapshot
        self._deeds = deeds
        self._record = record
        self._alarm = alarm
        self._clock = clock
        self._unrecorded: list[AuditEvent] = []
        self._untold: list[Alert] = []
        self._saved_ms = clock.now_ms()
        self._changed = self._acted = False
        self._canaries: frozenset[str] = frozenset()
        self.apply(rules)

    def apply(self, rules: Rules) -> None:
        """Judge by *rules* from now on."""
        self._rules, self._zone = rules, ZoneInfo(rules.timezone)

    def know(self, canaries: Collection[str]) -> None:
        """Take the pseudonyms *canaries* for decoys from now on."""
        self._canaries = frozenset(canaries)

    async def step(self) -> bool:
        """Read what was added, act on it, record it; return whether there may be more to read at once."""
        try:
            events = self._tail.read()
        except (OSError, LogDamaged) as error:
            telemetry.WATCH_FAILURES.inc()
            telemetry.log().error("watch_cannot_read", error=str(error))
            events = []
        findings: list[Finding] = []
        broken: dict[tuple[str, str], Alert] = {}
        now_ms = self._clock.now_ms()
        for event in events:
            breaker = breakers.judge(event, now_ms=now_ms, act_within_s=self._rules.act_within_s)
            if breaker is not None:
                broken.setdefault((breaker.rule, breaker.establishment), breaker)
            told = observe(
                self._memory.state,
                event,
                self._rules,
                now_ms=now_ms,
                zone=self._zone,
                canaries=self._canaries,
            )
            findings += told.findings
            if told.verdict is not None:
                self._memory.owed.append(told.verdict)
        if events:
            self._changed = True
            at_ms = events[-1].get("at_ms")
            telemetry.WATCH_LAG_S.set(max(0, now_ms - at_ms) / 1_000 if isinstance(at_ms, int) else 0)
        # Contained first, recorded then: a thief is not left in because a disk is full.
        done = await self._act()
        self._untold += [*broken.values(), *(alert_of(each, findings, now_ms) for each in done)]
        self._untold = [alert for alert in self._untold[-_MOST_UNRECORDED:] if not self._alarm(alert)]
        self._tell(findings, done)
        self._remember()
        return len(events) >= MOST

    async def _act(self) -> list[Done]:
        done: list[Done] = []
        while self._memory.owed:
            verdict: Verdict = self._memory.owed[0]
            try:
                done.append(await self._deeds.carry_out(verdict, self._rules.ask_for_s))
            except (StoreUnavailable, StoreEmptied) as error:
                telemetry.WATCH_FAILURES.inc()
                telemetry.log().error("watch_cannot_act", act=verdict.act.value, error=str(error))
                break
            del self._memory.owed[0]
            self._acted = self._changed = True
            telemetry.log().warning(
                "watch_acted",
                act=verdict.act.value,
                outcome=done[-1].outcome.value,
                signals=list(verdict.signals),
                score=verdict.score,
            )
        return done

    def _tell(self, findings: Sequence[Finding], done: Sequence[Done]) -> None:
        now_ms = self._clock.now_ms()
        for finding in findings:
            telemetry.SIGNALS.labels(finding.signal.value, finding.mode.value).inc()
        self._unrecorded += [self._deeds.note(finding, now_ms) for finding in findings]
        self._unrecorded += [self._deeds.tell(each, now_ms) for each in done]
        if not self._unrecorded:
            return
        why = "the log took a part of them"
        try:
            del self._unrecorded[: self._record(self._unrecorded)]
        except AuditUnavailable as error:
            why = str(error)
        if self._unrecorded:
            telemetry.WATCH_FAILURES.inc()
            telemetry.log().error("watch_not_recorded", events=len(self._unrecorded), error=why)
            del self._unrecorded[:-_MOST_UNRECORDED]

    def _remember(self) -> None:
        since_ms = self._clock.now_ms() - self._saved_ms
        if self._changed and (since_ms >= SAVE_EVERY_MS or (self._acted and since_ms >= SAVE_AFTER_ACT_MS)):
            self.save()

    def save(self) -> None:
        """Keep what was learned and how far was read; said loudly when the disk refuses."""
        self._memory.places = self._tail.places
        try:
            self._snapshot.save(self._memory)
        except OSError as error:
            telemetry.WATCH_FAILURES.inc()
            telemetry.log().error("watch_not_kept", error=str(error))
        else:
            self._changed = self._acted = False
        self._saved_ms = self._clock.now_ms()

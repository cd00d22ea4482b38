"""The alerts of this node in one file: what was raised, who has been told, what was looked at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.audit import files, locks
from gateway.vocabulary.alerts import Alert

FILE = "alerts.json"
MOST = 1_000
HOUR_MS = 3_600_000
GIVE_UP_MS = 24 * HOUR_MS
HELD = "held"
"""The rule of the one alert that stands for those held back in an hour."""
_FIRST_DELAY_MS = 5_000
_LONGEST_DELAY_MS = 900_000
_CHANNEL_DELAY_MS = 60_000
"""The longest that one alert's failure puts off the others: it may be the only one that is never taken."""
_ID_BYTES = 4


class OutboxRefused(Exception):
    """The alerts cannot be read or kept. The message names the file and the mend."""


class Try(msgspec.Struct):
    """One channel's part of an alert: *sent_ms* once it has arrived; else tried *times* times, again at *next_ms*.

    *failures*: how often in a row the channel had taken nothing when this was last put off.
    """

    sent_ms: int = 0
    times: int = 0
    next_ms: int = 0
    failures: int = 0
    error: str = ""


class Kept(msgspec.Struct):
    """One alert, raised *times* times, last at *last_ms*; *tries* by channel, empty when it was held back."""

    id: str
    alert: Alert
    times: int = 1
    last_ms: int = 0
    tries: dict[str, Try] = {}
    acknowledged_ms: int = 0
    acknowledged_by: str = ""
    why: str = ""

    @property
    def pending(self) -> bool:
        """Tell whether some channel has it not yet."""
        return any(not one.sent_ms for one in self.tries.values())


class Outbox:
    """The file in *directory*. *entropy* makes random hex digits of so many bytes.

    The same again within *again_after_s* is counted, not told again; more than *at_most_per_hour* are kept, and
    one alert says so.
    """

    def __init__(
        self,
        directory: Path,
        entropy: Callable[[int], str],
        *,
        again_after_s: int = 3_600,
        at_most_per_hour: int = 20,
    ) -> None:
        self.path = directory / FILE
        self._entropy = entropy
        self._again_after_ms = 1_000 * again_after_s
        self._at_most = at_most_per_hour

    def entries(self) -> tuple[Kept, ...]:
        """Return every alert kept, the oldest first.

        Raises:
            OutboxRefused: the file is no list of alerts, or cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=tuple[Kept, ...])
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise OutboxRefused(f"{self.path} cannot be read: {error.strerror}; check its owner") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OutboxRefused(f"{self.path} is no list of alerts: move it away") from error

    def raise_(self, alert: Alert, channels: Sequence[str]) -> Kept:
        """Keep *alert* for *channels*, durably, and return it as it is kept.

        Raises:
            OutboxRefused: it could not be kept.
        """
        with self._changing() as kept:
            same = _same(kept, alert, self._again_after_ms)
            if same is not None:
                same.times, same.last_ms = same.times + 1, alert.at_ms
                return same
            told = sum(each.alert.at_ms > alert.at_ms - HOUR_MS for each in kept if each.tries)
            made = Kept(self._entropy(_ID_BYTES), alert, last_ms=alert.at_ms)
            if told < self._at_most:
                made.tries = {name: Try() for name in channels}
            kept.append(made)
            if told >= self._at_most:
                self._say_held(kept, alert.at_ms, channels)
        return made

    def settle(self, id_: str, channel: str, now_ms: int, error: str | None) -> None:
        """Note that *channel* took the alert, or why it did not: then all that is due there is put off with it.

        The channel is left alone longer and longer, up to a minute; the alert that failed, by its own count, up to
        a quarter of an hour. What is raised afterwards is due at once.

        Raises:
            OutboxRefused: it could not be kept.
        """
        with self._changing() as kept:
            there = {one.id: one.tries[channel] for one in kept if channel in one.tries}
            tried = there.get(id_)
            if tried is None:
                return
            waiting = [each for each in there.values() if not each.sent_ms]
            failures = 0 if error is None else 1 + max((each.failures for each in waiting), default=0)
            again_ms = now_ms + min(_CHANNEL_DELAY_MS, _delay_ms(failures))
            for each in waiting:
                each.failures = failures
                if error is not None and each.next_ms < again_ms:
                    each.next_ms = again_ms
            tried.times += 1
            if error is None:
                tried.sent_ms, tried.error = now_ms, ""
            else:
                tried.next_ms = max(again_ms, now_ms + _delay_ms(tried.times))
                tried.error = error[:200]

    def acknowledge(self, ids: Sequence[str], now_ms: int, *, by: str, why: str) -> list[str]:
        """Note that somebody has looked at the alerts *ids*; return those that exist.

        Raises:
            OutboxRefused: it could not be kept.
        """
        with self._changing() as kept:
            found = [one for one in kept if one.id in ids]
            for one in found:
                one.acknowledged_ms, one.acknowledged_by, one.why = now_ms, by, why
        return [one.id for one in found]

    def due(self, now_ms: int) -> list[tuple[Kept, str]]:
        """Return which alert is to be sent to which channel now, those tried least first.

        After a day it is given up; it stays in the list.

        Raises:
            OutboxRefused: the file cannot be read.
        """
        found = [
            (one, name)
            for one in self.entries()
            if one.alert.at_ms > now_ms - GIVE_UP_MS
            for name, tried in one.tries.items()
            if not tried.sent_ms and tried.next_ms <= now_ms
        ]
        # One that a channel never takes must not stand before the others each time.
        return sorted(found, key=lambda pair: pair[0].tries[pair[1]].times)

    def _say_held(self, kept: list[Kept], at_ms: int, channels: Sequence[str]) -> None:
        said = next(
            (one for one in kept if one.alert.rule == HELD and one.alert.at_ms > at_ms - HOUR_MS), None
        )
        if said is not None:
            said.times, said.last_ms = said.times + 1, at_ms
            return
        alert = Alert(
            HELD,
            "",
            "",
            "",
            at_ms,
            f"Plus de {self._at_most} alertes en une heure : les suivantes ne sont plus envoyées.",
            f"More than {self._at_most} alerts within an hour: further ones are not sent.",
        )
        tries = {name: Try() for name in channels}
        kept.append(Kept(self._entropy(_ID_BYTES), alert, last_ms=at_ms, tries=tries))

    @contextmanager
    def _changing(self) -> Iterator[list[Kept]]:
        folder = self.path.parent
        try:
            with locks.held_in_private(folder):
                kept = list(self.entries())
                yield kept
                files.replace_durably(self.path, msgspec.json.encode(kept[-MOST:]))
        except OSError as error:
            raise OutboxRefused(
                f"{folder} cannot be written: {error.strerror}; free or repair the disk"
            ) from error


def _delay_ms(failures: int) -> int:
    return min(_LONGEST_DELAY_MS, _FIRST_DELAY_MS << min(max(failures - 1, 0), 10))


def _same(kept: Sequence[Kept], alert: Alert, within_ms: int) -> Kept | None:
    key = _about(alert)
    return next(
        (
            one
            for one in reversed(kept)
            if _about(one.alert) == key
            and one.alert.at_ms > alert.at_ms - within_ms
            # Somebody looked at that one: what comes after it is news to them.
            and not one.acknowledged_ms
        ),
        None,
    )


def _about(alert: Alert) -> tuple[str, ...]:
    return alert.rule, alert.done, alert.realm, alert.account, alert.establishment

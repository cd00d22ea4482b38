"""``ecluse audit watch``: judge the log as it grows, and ask accounts for a code, or lock them."""

import asyncio
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

import click

from gateway import telemetry
from gateway.alerts import OutboxRefused, deliver
from gateway.assembly.lookout import Lookout, open_for_watcher
from gateway.audit.tail import Tail
from gateway.audit.writer import AuditUnavailable
from gateway.cli import EXIT_DONE, EXIT_FAULT, config_option, fail
from gateway.cli.alerts import channels_of, outbox_of
from gateway.cli.loading import load_or_exit
from gateway.cli.metrics import metrics_port_option, metrics_served
from gateway.cli.reload_answer import AnswerUnread, read_answer
from gateway.clock import SystemClock, spawn
from gateway.configuration import ConfigurationFaults, KeysRefused, Settings, load
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.valkey.embedded import EmbeddedFailed
from gateway.valkey.marker import KeysDisagree, MarkerFileBroken
from gateway.vocabulary.alerts import Alert
from gateway.watching import Canaries, CanariesRefused, Deeds, Snapshot, SnapshotInUse, Watcher

POLL_S = 0.3
_COARSE_MS = 1_000
"""A file system may note times that lie a little behind the clock."""
DELIVER_S = 1.0
DELIVER_AFTER_FAULTS_S = 300.0
"""The longest pause: what was sent, but could not be noted on a full disk, is sent again after it."""
_REFUSED = (
    *(KeysRefused, KeysDisagree, MarkerFileBroken, EmbeddedFailed, StoreUnavailable, StoreEmptied),
    *(SnapshotInUse, AuditUnavailable, OSError),
)


@click.command("watch", epilog="Example:  ecluse audit watch --config /etc/ecluse/ecluse.yaml")
@click.option("--once", is_flag=True, help="Judge what was added since the last time, and leave.")
@metrics_port_option
@config_option
def watch(once: bool, metrics_port: int | None, config_path: str) -> int:
    """Watch the log for what looks wrong; ask the account for a fresh code, and lock it when that did not help.

    Reads the journals of every writer as they grow, never in the path of a request. What it has learned stands
    in gateway.state_dir, and survives a restart; what happened meanwhile is learned from, not acted on.
    `ecluse serve` runs it unless `signals.watcher` is off. It follows the gateway's reloads.
    """
    settings = load_or_exit(config_path).settings
    telemetry.configure()
    try:
        asyncio.run(_begin(settings, metrics_port, once=once))
    except _REFUSED as error:
        fail(f"nobody watches the log: {error}", EXIT_FAULT)
    return EXIT_DONE


async def _begin(settings: Settings, metrics_port: int | None, *, once: bool) -> None:
    watching = asyncio.Event()
    async with metrics_served(settings, metrics_port, watching.is_set):
        await _run(settings.config_path, watching, once=once)


async def _run(config_path: Path, watching: asyncio.Event, *, once: bool) -> None:
    """Watch, and set *watching* once the log and the store are open."""
    began_ms = SystemClock().now_ms()
    async with open_for_watcher(config_path) as lookout:
        settings = lookout.settings
        snapshot = Snapshot(settings.watch_dir)
        snapshot.open()
        try:
            memory = snapshot.load()
            watcher = Watcher(
                Tail(settings.audit_dirs, memory.places),
                memory,
                snapshot,
                Deeds(lookout.accounts, lookout.ref, operator=lookout.operator),
                lookout.record,
                _alarm(lookout),
                settings.rules,
                lookout.clock,
            )
            decoys = _Decoys(watcher, lookout)
            decoys.follow()
            watching.set()
            if once:
                while await watcher.step():
                    pass
            else:
                # Who reads that it began may ask it to stop at once.
                stop = _stop_asked()
                telemetry.log().info("watch_began", accounts=len(memory.state.accounts))
                delivering = spawn(_deliver(lookout), "alerts")
                try:
                    await _watch(watcher, lookout, decoys, stop, began_ms=began_ms)
                finally:
                    delivering.cancel()
            watcher.save()
        finally:
            snapshot.close()


def _alarm(lookout: Lookout) -> Callable[[Alert], bool]:
    def keep(alert: Alert) -> bool:
        settings = lookout.settings
        try:
            outbox_of(settings).raise_(alert, [channel.name for channel in channels_of(settings)])
        except OutboxRefused as error:
            telemetry.WATCH_FAILURES.inc()
            telemetry.log().error("alert_not_kept", error=str(error))
            return False
        return True

    return keep


async def _deliver(lookout: Lookout) -> None:
    """Send what is due, for ever; after a fault, less and less often until it is gone."""
    pause_s = DELIVER_S
    while True:
        try:
            settings = lookout.settings
            await asyncio.to_thread(deliver, outbox_of(settings), channels_of(settings), lookout.clock)
            pause_s = DELIVER_S
        except Exception as error:  # noqa: BLE001 - whatever it is, the alerts that come later must go out
            telemetry.WATCH_FAILURES.inc()
            if isinstance(error, OutboxRefused):
                telemetry.log().error("alerts_wait", error=str(error))
            else:
                telemetry.log().error("alerts_wait", **telemetry.describe_fault(error))
            pause_s = min(2 * pause_s, DELIVER_AFTER_FAULTS_S)
        await asyncio.sleep(pause_s)


async def _watch(
    watcher: Watcher,
    lookout: Lookout,
    decoys: "_Decoys",
    stop: asyncio.Event,
    *,
    began_ms: int,
) -> None:
    # What was reloaded while the configuration was being read for the first time counts as well.
    reloaded = _changes(lookout.settings.reload_file, began_ms - _COARSE_MS)
    while not stop.is_set():
        if reloaded():
            _follow_reload(watcher, lookout)
        decoys.follow()
        if not await watcher.step():
            try:
                async with asyncio.timeout(POLL_S):
                    await stop.wait()
            except TimeoutError:
                pass


def _stop_asked() -> asyncio.Event:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _changes(path: Path, since_ms: int | None = None) -> Callable[[], bool]:
    """Return a function that tells whether the file was replaced since it was last asked, or since *since_ms*."""

    def changed_ns() -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    last_ns = changed_ns()
    if since_ms is not None and last_ns >= since_ms * 1_000_000:
        last_ns = 0

    def has_changed() -> bool:
        nonlocal last_ns
        before_ns, last_ns = last_ns, changed_ns()
        return last_ns != before_ns

    return has_changed


class _Decoys:
    """The watcher knows decoys as they are set and removed."""

    def __init__(self, watcher: Watcher, lookout: Lookout) -> None:
        self._watcher = watcher
        self._canaries = Canaries(lookout.settings.canaries_dir, lookout.keys, secrets.token_hex)
        self._changed = _changes(self._canaries.path)
        self._first = True

    def follow(self) -> None:
        """Read them again if they have changed; those known stay when they cannot be read."""
        if not self._changed() and not self._first:
            return
        self._first = False
        try:
            self._watcher.know(self._canaries.pseudonyms())
        except CanariesRefused as error:
            telemetry.WATCH_FAILURES.inc()
            telemetry.log().error("watch_knows_no_decoys", error=str(error))


def _follow_reload(watcher: Watcher, lookout: Lookout) -> None:
    """Take over what the gateway has put in force; what it has not, or nobody can tell, changes nothing."""
    try:
        answer = read_answer(lookout.settings.reload_file)
        if not answer.loaded:
            telemetry.log().info("watch_reload_not_followed", policy_id=lookout.policy.policy_id)
            return
        fresh = load(lookout.settings.config_path)
    except AnswerUnread as error:
        telemetry.log().error("watch_reload_unread", error=str(error))
        return
    except ConfigurationFaults as error:
        telemetry.log().error("watch_reload_refused", faults=len(error.faults))
        return
    # The files may have been edited again since the gateway read them.
    if answer.policy_id and answer.policy_id != fresh.policy.policy_id:
        telemetry.log().error(
            "watch_reload_differs", policy_id=answer.policy_id, in_files=fresh.policy.policy_id
        )
        return
    lookout.policy, lookout.settings = fresh.policy, fresh.settings
    watcher.apply(fresh.settings.rules)
    telemetry.log().info("watch_reloaded", policy_id=fresh.policy.policy_id)

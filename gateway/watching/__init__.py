"""Watching the log as it grows, and acting on what looks wrong: beside the gateway, never in a request's path."""

from gateway.watching.deeds import Deeds, Refs
from gateway.watching.snapshot import Memory, Snapshot, SnapshotInUse
from gateway.watching.watcher import Watcher

__all__ = ["Deeds", "Memory", "Refs", "Snapshot", "SnapshotInUse", "Watcher"]

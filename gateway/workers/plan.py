"""What the supervisor is told of the configuration: nothing that is secret."""

import math
import os
from pathlib import Path
from typing import Literal

import msgspec

from gateway.vocabulary.running import Door, RunFiles
from gateway.workers import acceptance

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen and what to run. *memory_bytes*: resident memory past which a worker is replaced, None for none.

    It listens on *address* and *port* unless *port* is None, and on *socket*, for the members of *group*, unless that
    is. *store_dir* is the folder of the embedded store, None where the store is somebody else's.
    """

    config_path: str
    workers: int
    address: str
    port: int | None
    state_dir: str
    policy_id: str
    door: Door = Door.INSPECTOR
    socket: str | None = None
    group: str | None = None
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    drain_s: int = 30
    memory_bytes: int | None = None
    store_dir: str | None = None
    keeper: bool = True
    watcher: bool = True
    edge_beside: bool = False

    @property
    def files(self) -> RunFiles:
        """Return where the supervisor tells commands how it is."""
        return RunFiles(Path(self.state_dir), self.door)

    @property
    def acceptance_file(self) -> Path:
        """Return where a command leaves word that a weaker configuration is accepted, for the inspector."""
        return Path(self.state_dir, acceptance.NAME)


def count(asked: int | Literal["auto"], cpu_max: Path = _CPU_MAX) -> int:
    """Return how many workers *asked* stands for: ``auto`` is the cores that this process may use.

    A share of the processors (``CPUQuota=``, *cpu_max* of cgroup v2) counts as the cores it is worth, rounded up.
    """
    if asked != "auto":
        return asked
    cores = len(os.sched_getaffinity(0))
    try:
        quota, _, period = cpu_max.read_text("ascii").strip().partition(" ")
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return max(1, cores)

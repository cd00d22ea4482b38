"""Which doors a node opens, and where each tells the commands beside it how it is."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Door(StrEnum):
    """What requests come to."""

    INSPECTOR = "inspector"
    EDGE = "edge"

    @property
    def words(self) -> str:
        """Return what people call it."""
        return "the gateway" if self is Door.INSPECTOR else "the check"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a running *door* in the folder *state_dir*."""

    state_dir: Path
    door: Door = Door.INSPECTOR

    @property
    def pid(self) -> Path:
        """Return where the serving process, or its supervisor, writes its process id."""
        return self.state_dir / ("ecluse.pid" if self.door is Door.INSPECTOR else "edge.pid")

    @property
    def reload(self) -> Path:
        """Return where the outcome of the last reload is written, as JSON."""
        return self._of("reload.json")

    @property
    def restart(self) -> Path:
        """Return where a supervisor writes the outcome of the last rolling restart, as JSON."""
        return self._of("restart.json")

    @property
    def workers(self) -> Path:
        """Return where a supervisor writes which workers there are, as JSON."""
        return self._of("workers.json")

    def _of(self, name: str) -> Path:
        return self.state_dir / (name if self.door is Door.INSPECTOR else f"{self.door}-{name}")

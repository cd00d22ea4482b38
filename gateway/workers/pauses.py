"""How long to wait before a process is begun again: longer each time, until one of them lasts. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Pauses:
    """*first_s* after the first end, doubled by each further one up to *longest_s*; a process that lived
    *sound_after_s* begins the row anew."""

    first_s: float
    longest_s: float
    sound_after_s: float
    _next_s: float | None = None

    def after(self, lived_s: float) -> float:
        """Return the pause in seconds after a process that lived *lived_s*."""
        if self._next_s is None or lived_s >= self.sound_after_s:
            self._next_s = self.first_s
        pause_s = self._next_s
        self._next_s = min(self.longest_s, 2 * pause_s)
        return pause_s

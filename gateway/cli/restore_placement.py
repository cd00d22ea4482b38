"""The parts of a restored backup take their place in a folder; what stands there is set aside, and all is told."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit import files


@dataclass(slots=True)
class Placement:
    """What a restore has done to the folder *target* so far: the *parts* in place, and the names *set_aside*."""

    target: Path
    parts: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    unfinished: str = ""
    """What was begun after all parts were in place and did not end, with the way to go on."""

    def put(self, staging: Path) -> None:
        """Move each folder of *staging* into the target. One that stands there becomes ``NAME.before-N``.

        Raises:
            OSError: the disk refused; *parts* and *set_aside* say how far it came.
        """
        for source in sorted(staging.iterdir()):
            place = self.target / source.name
            for directory in [path for path in source.rglob("*") if path.is_dir()] + [source]:
                files.sync_directory(directory)
            if place.exists():
                names = (f"{source.name}.before-{number}" for number in range(1, 10_000))
                name = next(name for name in names if not (self.target / name).exists())
                place.rename(self.target / name)
                self.set_aside.append(name)
            source.rename(place)
            self.parts.append(source.name)
        files.sync_directory(self.target)

    def told(self, error: Exception, found: Iterable[str]) -> str:
        """Return why the restore of the parts *found* ended with *error*, what is in place, and how to go on."""
        if not self.parts and not self.set_aside:
            return f"nothing was restored: {error}"
        missing = sorted({*found} - {*self.parts})
        state = f"{self.target} holds {', '.join(self.parts) or 'no part'} of the backup"
        state += f", and not its {', '.join(missing)}" if missing else ""
        state += f" (set aside there: {', '.join(self.set_aside)})" if self.set_aside else ""
        how = self.unfinished or "once this is mended, restore again with --force"
        return f"{error}\n{state}; {how}"

"""What a charge would do to one limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """Use of one limit *before* and *after* a charge, and its bound, in one unit that depends on the limit.

    *retry_us*: in how many microseconds the same charge would pass if nothing else happened, 0 when
    it passes now.
    """

    before: int
    after: int
    hard: int
    retry_us: int

    @property
    def crossed(self) -> bool:
        """Whether the charge goes over the bound. What costs nothing crosses nothing, even over a lowered one."""
        return self.after > self.before and self.after > self.hard

    @property
    def near(self) -> bool:
        """Whether the charge takes the use from below 80 % of the bound to 80 % or more."""
        return self.after > self.before and self.before * 10 < self.hard * 8 <= self.after * 10

"""What a charge would do to one limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """Use of one limit *before* and *after* a charge, and its bounds, in one unit that depends on the limit.

    *retry_us*: in how many microseconds the same charge would pass if nothing else happened, 0 when
    it passes now. *soft* is at most *hard*; the same number means that nobody is asked.
    """

    before: int
    after: int
    hard: int
    retry_us: int
    soft: int

    @property
    def crossed(self) -> bool:
        """Whether the charge goes over the bound. What costs nothing crosses nothing, even over a lowered one."""
        return self.after > self.before and self.after > self.hard

    @property
    def past_soft(self) -> bool:
        """Whether the charge ends beyond the soft bound, wherever it began. What costs nothing asks nothing."""
        return self.after > self.before and self.after > self.soft and self.soft < self.hard

    @property
    def reaches_soft(self) -> bool:
        """Whether this very charge takes the use from within the soft bound to beyond it, and not past the hard one."""
        return self.past_soft and self.before <= self.soft and not self.crossed

    @property
    def near(self) -> bool:
        """Whether the charge takes the use from below 80 % of the bound to 80 % or more."""
        return self.after > self.before and self.before * 10 < self.hard * 8 <= self.after * 10

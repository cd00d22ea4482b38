"""Who works in a region, and how: the table of reasoned figures of legitimate heavy users, one profile a line.

No distribution of this kind is published: the figures are the project's own reasoning, to be replaced by what
`ecluse limits suggest` finds at a site. A day's distinct patients are drawn from a log-normal distribution whose
10th and 90th percentiles are the ends of the typical range, never above the peak.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final

_DECILE = 1.2816
"""Standard deviations from the median to the 90th percentile of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of professional.

    *low* to *high* distinct patients on a typical day, *peak* at most. *share* of the region's professionals.
    *think_s*: median pause between two records. *rush*: how much more there is on Mondays and on the eve of a
    holiday. *lists_a_round* pages of *list_rows* before each round of work. *review*: chance that a day
    holds a review of a waiting list of so many rows. *exports* a day on average, of *export_rows*.
    *known*: share of the day's patients out of the person's own file of *file* patients. *weekend*, *night*:
    share of people who work then.
    """

    name: str
    account_class: str
    share: float
    low: float
    high: float
    peak: int
    think_s: float
    rounds: int
    rush: float = 1.0
    lists_a_round: int = 1
    list_rows: tuple[int, int] = (10, 25)
    review: float = 0.0
    review_rows: tuple[int, int] = (50, 300)
    exports: float = 0.0
    export_rows: tuple[int, int] = (20, 100)
    known: float = 0.6
    file: int = 40
    weekend: float = 0.0
    night: float = 0.0

    @property
    def median(self) -> float:
        """Return the median of the day's distinct patients before rushes."""
        return math.sqrt(max(self.low, 0.5) * self.high)

    def patients_of_day(self, draw: Random, factor: float) -> int:
        """Draw how many distinct patients somebody opens on a day that is *factor* times as busy as usual."""
        sigma = math.log(self.high / self.median) / _DECILE
        return min(self.peak, round(draw.lognormvariate(math.log(self.median * factor), sigma)))


PROFILES: Final = (
    Profile("ward doctor", "standard", 0.18, 2, 8, 20, 150, 2, known=0.7, file=25, weekend=0.25),
    Profile("ward nurse", "standard", 0.27, 5, 15, 30, 120, 4, known=0.8, file=28, list_rows=(15, 30),
            weekend=0.5, night=0.3),
    Profile("discharge planning", "heavy", 0.12, 20, 60, 120, 145, 5, rush=1.5, lists_a_round=2,
            list_rows=(20, 50), known=0.5, file=80),
    Profile("social worker", "heavy", 0.10, 10, 30, 80, 300, 3, rush=1.2, known=0.7, file=45),
    Profile("admission desk", "heavy", 0.10, 30, 80, 200, 75, 6, rush=1.4, lists_a_round=2, list_rows=(20, 50),
            known=0.4, file=120, weekend=0.1),
    Profile("EHPAD director", "standard", 0.08, 5, 20, 60, 120, 2, known=0.8, file=60, review=0.12),
    Profile("MDPH agent", "heavy", 0.03, 50, 150, 300, 75, 6, rush=1.2, list_rows=(20, 50), exports=1.2,
            known=0.2, file=300),
    Profile("coordinator", "heavy", 0.04, 20, 100, 300, 110, 5, rush=1.2, list_rows=(20, 50), exports=0.2,
            known=0.3, file=150),
    Profile("GP", "standard", 0.08, 0, 3, 15, 240, 2, lists_a_round=0, known=0.6, file=30),
)  # fmt: skip
"""The service accounts of other programs are left out: they have a class of their own and no second factor."""


def staff(professionals: int) -> list[Profile]:
    """Return the profile of each of *professionals*, by their shares, at least one of each kind."""
    kinds = [one for one in PROFILES for _ in range(max(1, round(one.share * professionals)))]
    return (
        (kinds * (1 + professionals // len(kinds)))[:professionals] if len(kinds) < professionals else kinds
    )


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are what. Day 0 is a Monday. *eves* come before a holiday, *holidays* are worked as Sundays."""

    days: int
    eves: tuple[int, ...] = (8,)
    holidays: tuple[int, ...] = (9,)

    def is_weekend(self, day: int) -> bool:
        """Tell whether only those on duty work."""
        return day % 7 >= 5 or day in self.holidays

    def factor(self, profile: Profile, day: int) -> float:
        """Return how much busier than usual *day* is for *profile*."""
        return profile.rush if day % 7 == 0 or day in self.eves else 1.0

"""The shape of what is said about pools: patients counted together for all who share something."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import Seconds
from gateway.vocabulary.limits import Clusters, Mode

_CLUSTERS = Clusters()


class PoolLimitValue(Spec):
    """Distinct patients of a pool in one window: a whole number, which is the hard bound, or both."""

    hard: Annotated[int, Field(gt=0, le=1_000_000_000)]
    """What all together do not exceed."""
    soft: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    """Past it whoever asks for more owes a fresh code and a reason; nobody does when left out."""


PoolLimit = Annotated[
    PoolLimitValue, BeforeValidator(lambda value: {"hard": value} if isinstance(value, int) else value)
]


def _bounds(soft: int, hard: int) -> PoolLimitValue:
    return PoolLimitValue(soft=soft, hard=hard)


class SharedPoolSpec(Spec):
    """A pool of people who share something. `null` for a window counts nothing in it."""

    mode: Mode = Mode.ENFORCE
    """`enforce`; `soft` asks for fresh codes and only records what the hard bound would withhold; `observe` only
    records. For a class that observes or is soft, the gentler of both."""
    patients_10min: PoolLimit | None = _bounds(150, 300)
    """Distinct patients per 10 minutes."""
    patients_1h: PoolLimit | None = _bounds(300, 450)
    """Distinct patients per hour."""
    patients_24h: PoolLimit | None = _bounds(450, 600)
    """Distinct patients per 24 hours, rolling."""
    patients_7d: PoolLimit | None = _bounds(1_500, 2_000)
    """Distinct patients per 7 days, rolling."""


class EstablishmentPoolSpec(Spec):
    """The accounts of one establishment, by their label: a circuit breaker. It alarms near and over a bound."""

    mode: Mode = Mode.OBSERVE
    """`observe` only records and alarms; `enforce` withholds as well."""
    patients_10min: PoolLimit | None = None
    """Distinct patients per 10 minutes."""
    patients_1h: PoolLimit | None = PoolLimitValue(hard=1_500)
    """Distinct patients per hour."""
    patients_24h: PoolLimit | None = PoolLimitValue(hard=6_000)
    """Distinct patients per 24 hours, rolling."""
    patients_7d: PoolLimit | None = None
    """Distinct patients per 7 days, rolling."""


class SitePoolSpec(Spec):
    """Everybody: a circuit breaker. It alarms near and over a bound."""

    mode: Mode = Mode.OBSERVE
    """`observe` only records and alarms; `enforce` withholds as well."""
    patients_10min: PoolLimit | None = None
    """Distinct patients per 10 minutes."""
    patients_1h: PoolLimit | None = PoolLimitValue(hard=20_000)
    """Distinct patients per hour."""
    patients_24h: PoolLimit | None = PoolLimitValue(hard=60_000)
    """Distinct patients per 24 hours, rolling."""
    patients_7d: PoolLimit | None = None
    """Distinct patients per 7 days, rolling."""


PoolSpec = SharedPoolSpec | EstablishmentPoolSpec | SitePoolSpec


class PoolsSpec(Spec):
    """Patients counted together. Never by network address: a hospital is one."""

    device: SharedPoolSpec = SharedPoolSpec()
    """Everybody who logs in with one browser."""
    cluster: SharedPoolSpec = SharedPoolSpec()
    """Accounts that logged in with the same devices."""
    cluster_accounts: Annotated[int, Field(ge=2, le=64)] = _CLUSTERS.accounts_most
    """Accounts of one cluster at most; on a device of more, the device's own count holds the others."""
    linked_s: Annotated[Seconds, Field(ge=86_400, le=2_592_000)] = _CLUSTERS.linked_s
    """Seconds for which two logins with one device tie their accounts together."""
    least_accounts: Annotated[int, Field(ge=0, le=100)] = 2
    """A device and a cluster may see at least what so many accounts of the class of whoever asks may; 0: no more
    than is written."""
    establishment: EstablishmentPoolSpec = EstablishmentPoolSpec()
    """The accounts of one establishment, by their label."""
    site: SitePoolSpec = SitePoolSpec()
    """Everybody."""

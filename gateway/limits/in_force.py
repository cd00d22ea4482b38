"""Which measures are in force, in the store: for every worker and node at their next trip, and after a restart."""

from dataclasses import dataclass

from gateway.valkey.client import Store


@dataclass(frozen=True, slots=True)
class PlanBlanc:
    """One establishment with raised caps, from *since_ms* until *until_ms* (Unix milliseconds)."""

    establishment: str
    since_ms: int
    until_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds at *at_ms* on the store's clock. *strict_since_ms* None: the posture is normal."""

    at_ms: int
    strict_since_ms: int | None
    strict_why: str
    plans: tuple[PlanBlanc, ...]

    def plan_of(self, establishment: str | None) -> PlanBlanc | None:
        """Return the plan blanc of *establishment*, None when it has none."""
        return next((one for one in self.plans if one.establishment == establishment), None)


class MeasureStore:
    """Sets and reads measures. Every method raises StoreUnavailable or StoreEmptied when it must.

    What is set is confirmed by replicas, where there are any: a failover takes no measure back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> InForce:
        """Return what is in force now."""
        at_ms, since_ms, why, *plans = await self._store.call("ecluse_measures_get")
        return InForce(
            at_ms=int(at_ms),
            strict_since_ms=int(since_ms) if since_ms is not None else None,
            strict_why=why.decode(),
            plans=tuple(
                sorted(
                    (
                        PlanBlanc(name.decode(), int(since), int(until), reason.decode())
                        for name, since, until, reason in plans
                    ),
                    key=lambda one: one.establishment,
                )
            ),
        )

    async def strict(self, why: str) -> int:
        """Make the posture strict; return since when. Done again, every session owes a code again."""
        return int(await self._store.call("ecluse_measures_strict", [], [why], confirmed=True))

    async def normal(self) -> bool:
        """Make the posture normal; False when it was."""
        return bool(await self._store.call("ecluse_measures_normal", confirmed=True) == 1)

    async def plan_blanc(self, establishment: str, why: str, for_s: int) -> int:
        """Raise the caps of *establishment* for *for_s* seconds from now; return until when.

        A plan that ends later is not shortened.
        """
        until_ms = await self._store.call(
            "ecluse_measures_plan_blanc", [], [establishment, why, for_s * 1000], confirmed=True
        )
        return int(until_ms)

    async def end_plan_blanc(self, establishment: str) -> bool:
        """End the plan blanc of *establishment*; False when it has none."""
        return bool(
            await self._store.call("ecluse_measures_end_plan_blanc", [], [establishment], confirmed=True) == 1
        )

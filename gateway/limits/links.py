"""Who logged in with which devices, and so belongs together, as the store knows it."""

from dataclasses import dataclass

from gateway.valkey.client import Store


@dataclass(frozen=True, slots=True)
class Device:
    """One device of an account, by its pseudonym: when it last logged in with it (Unix ms), and who else did."""

    label: str
    at_ms: int
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Links:
    """What ties one account to others. *cluster* is "" for none; *accounts* are the ids of those in it."""

    cluster: str
    accounts: tuple[str, ...]
    devices: tuple[Device, ...]


async def links_of(store: Store, account_id: str, linked_s: int) -> Links:
    """Return the cluster and the devices of an account, of the last *linked_s* seconds, the latest device first.

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    cluster, accounts, devices = await store.call(
        "ecluse_linked", [f"ecluse:{{{account_id}}}:account"], [linked_s * 1000]
    )
    return Links(
        cluster.decode(),
        tuple(one.decode() for one in accounts),
        tuple(
            Device(label.decode(), int(at_ms), tuple(one.decode() for one in users))
            for label, at_ms, users in devices
        ),
    )


async def accounts_on(store: Store, device: str, linked_s: int) -> tuple[str, ...]:
    """Return the ids of the accounts that logged in with *device* in the last *linked_s* seconds, the latest first.

    Raises:
        StoreUnavailable, StoreEmptied: as every call.
    """
    found = await store.call("ecluse_device_accounts", [], [device, linked_s * 1000])
    return tuple(one.decode() for one in found)

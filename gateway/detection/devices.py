"""A login with a device that is new to the account, and that its establishment does not work with.

A browser that forgets its cookies is a new device each time. An account that comes like that has no usual device,
and of what is not known nothing is said.
"""

import msgspec

LOGINS = 10
"""How many logins in an app are looked back on."""
MOST_DEVICES = 32
MOST_APPS = 16
SHARED_DAYS = 3
"""What an establishment worked with on so many days before is its own: a ward PC, whoever sits down at it."""
MOST_SHARED = 50_000

Shared = dict[str, tuple[int, int]]
"""What establishments work with, used last at the end: the last day (ordinal), and on how many days, that one too."""


class Logins(msgspec.Struct):
    """*devices* of one account, used last at the end; by app, each login as ``1`` (on a known one) or ``0``.

    Apps apart, since each has its own cookie: a browser is a new device to an app that is opened for the first time.
    """

    devices: list[str] = []
    by_app: dict[str, str] = {}


def note_work(shared: Shared, establishment: str, device: str, day: int) -> None:
    """Note that somebody of *establishment* works with *device* on *day*."""
    key = f"{establishment}/{device}"
    last, days = shared.pop(key, (0, 0))
    shared[key] = (day, days + 1) if day > last else (last, days)
    if len(shared) > MOST_SHARED:
        del shared[next(iter(shared))]


def is_shared(shared: Shared, establishment: str, device: str, day: int) -> bool:
    """Tell whether *establishment* worked with *device* on three days before *day*."""
    last, days = shared.get(f"{establishment}/{device}", (0, 0))
    return days - (last >= day) >= SHARED_DAYS


def judge(own: Logins, app: str, device: str, *, shared: bool, least: int) -> tuple[int, int] | None:
    """Note a login; when it is with a new device, return on how many of how many logins before it was a known one.

    None when it is known or *shared*, or when fewer than *least* logins before were with a known one.
    """
    known = shared or device in own.devices
    if device in own.devices:
        own.devices.remove(device)
    own.devices.append(device)
    del own.devices[:-MOST_DEVICES]
    past = own.by_app.pop(app, "")
    own.by_app[app] = (past + ("1" if known else "0"))[-LOGINS:]
    if len(own.by_app) > MOST_APPS:
        del own.by_app[next(iter(own.by_app))]
    usual = past.count("1")
    return None if known or usual < least else (usual, len(past))

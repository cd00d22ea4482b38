"""A Cluster cuts keys over its servers; a site stays whole in one slot, because all its keys bear one hash tag.

Everybody writes ``ecluse:NAME``, in Python, in Lua and in backups; what travels to a Cluster says ``{ecluse}:NAME``.
"""

from redis.crc import key_slot

STEM = "ecluse:"
TAGGED = "{ecluse}:"
NOBODY = f"{TAGGED}nobody"
"""A key that is never there: who owns the slot and is not giving it away says so, and any other server refuses."""
SLOT: int = key_slot(NOBODY.encode())

_WHY = {
    "MOVED": "serves the site's keys no more",
    "ASK": f"is giving the site's keys away (slot {SLOT} is being moved): nothing is served until that is done",
    "TRYAGAIN": f"is giving the site's keys away (slot {SLOT} is being moved): nothing is served until that is done",
    "CLUSTERDOWN": "belongs to a Cluster that is down for it: too few primaries see each other, or slots have none "
    "(see cluster-require-full-coverage)",
}


def tagged(key: str | bytes | int) -> str | bytes | int:
    """Return *key* as a Cluster knows it; what is none of ours stays as it is."""
    if isinstance(key, str) and key.startswith(STEM):
        return TAGGED + key[len(STEM) :]
    return key


def tagged_lua(text: str) -> str:
    """Return a library whose functions name keys as a Cluster knows them, and refuse while the slot is being moved.

    A server that gives a slot away answers for the keys it still has. A function would find half of the site, and
    break off in the middle: so each looks first for a key that nobody has.
    """
    tagged_text = text.replace(f"'{STEM}", f"'{TAGGED}")
    return tagged_text.replace("local CLUSTER_NOBODY = nil", f"local CLUSTER_NOBODY = '{NOBODY}'")


def why_elsewhere(error: str) -> str | None:
    """Return why a server of a Cluster did not do what it was asked, by its *error* reply; None for other errors.

    Whatever is refused so has not been executed.
    """
    return _WHY.get(error.partition(" ")[0])

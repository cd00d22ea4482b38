"""Clusters: accounts that logged in with the same devices. Pure; the oracle of pools.lua.

Times are whole milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.vocabulary.limits import Clusters


@dataclass
class Linked:
    """Who logged in with what, and which accounts are one cluster. A cluster is the set of its accounts."""

    rules: Clusters
    users: dict[str, dict[str, int]] = field(default_factory=dict)
    """By device: when each account last logged in with it."""
    clusters: list[dict[str, int]] = field(default_factory=list)
    """Accounts of one cluster, and when each last logged in with a device that it shares."""

    def log_in(self, now_ms: int, account: str, device: str) -> list[str]:
        """Note a login, and return the accounts that came into one cluster with *account* by it.

        The latest ones come first. Whoever would make the cluster larger than it may be stays outside.
        """
        since_ms = now_ms - self.rules.linked_s * 1000
        users = self.users.setdefault(device, {})
        users[account] = now_ms
        for other in [one for one, at_ms in users.items() if at_ms <= since_ms]:
            del users[other]
        for cluster in self.clusters:
            for other in [one for one, at_ms in cluster.items() if at_ms <= since_ms]:
                del cluster[other]
        own = self.cluster_of(account)
        if own is not None:
            own[account] = now_ms
        came: list[str] = []
        for other, at_ms in _latest_first(users):
            its = self.cluster_of(other)
            if other == account or (own is not None and its is own):
                continue
            if (len(own) if own is not None else 1) + (
                len(its) if its is not None else 1
            ) > self.rules.accounts_most:
                continue
            joined = {account: now_ms} | (own or {}) | (its if its is not None else {other: at_ms})
            came += [one for one in joined if one not in (own or {account: 0})]
            self.clusters = [one for one in self.clusters if one is not own and one is not its and one]
            own = joined
            self.clusters.append(own)
        return came

    def cluster_of(self, account: str) -> dict[str, int] | None:
        """Return the cluster that *account* is in, None for none."""
        return next((cluster for cluster in self.clusters if account in cluster), None)


def _latest_first(users: Mapping[str, int]) -> list[tuple[str, int]]:
    # Among those of one moment the name decides, as in a sorted set read from its end.
    return sorted(users.items(), key=lambda one: (one[1], one[0]), reverse=True)

"""Whether a server keeps what it is told: judged by what it says of itself (INFO). Pure."""

LEAST_MAJOR = 7


def parse_info(reply: bytes) -> dict[str, str]:
    """Return the values of an INFO answer by name."""
    lines = reply.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def server_of(info: dict[str, str]) -> tuple[str, str]:
    """Return name and version of the server."""
    return info.get("server_name", "redis"), info.get("valkey_version", info.get("redis_version", "?"))


def memory_faults(info: dict[str, str]) -> list[str]:
    """Return what makes the server forget under memory pressure."""
    if info.get("maxmemory_policy", "noeviction") == "noeviction":
        return []
    return ["the store forgets under memory pressure: set maxmemory-policy noeviction"]


def disk_faults(info: dict[str, str]) -> list[str]:
    """Return what makes the server lose its last writes."""
    if info.get("aof_enabled") == "0":
        return ["the store loses its last writes in a crash: set appendonly yes"]
    if info.get("aof_last_write_status", "ok") != "ok":
        return ["the store's last write to its disk failed: free or repair the disk"]
    return []


def replication_faults(info: dict[str, str], replicas: int) -> list[str]:
    """Return what keeps the *replicas* that are asked for from confirming."""
    if not replicas:
        return []
    faults = []
    if (connected := int(info.get("connected_slaves", "0"))) < replicas:
        faults.append(
            f"{connected} replicas follow the primary, and store.replicas asks for {replicas}: nobody can log in "
            "or be locked until they are back"
        )
    # The server tells how many are good only when it is bound by their number.
    if "min_slaves_good_slaves" not in info:
        faults.append(
            "a primary that is cut off from its replicas goes on spending caps that a failover forgets: set "
            "min-replicas-to-write 1 and min-replicas-max-lag 10"
        )
    return faults

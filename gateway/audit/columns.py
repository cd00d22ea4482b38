"""The columns an auditor asks about: of events, and of accesses, which are one row per event and patient."""

from typing import Final

COLUMNS: Final[dict[str, str]] = {
    "at": "VARCHAR",
    "at_ms": "BIGINT",
    "seq": "BIGINT",
    "kind": "VARCHAR",
    "reason": "VARCHAR",
    "control": "VARCHAR",
    "realm": "VARCHAR",
    "account": "VARCHAR",
    "account_class": "VARCHAR",
    "establishment": "VARCHAR",
    "operator": "VARCHAR",
    "app": "VARCHAR",
    "route": "VARCHAR",
    "route_kind": "VARCHAR",
    "method": "VARCHAR",
    "status": "BIGINT",
    "opened": "BOOLEAN",
    "rows": "BIGINT",
    "bytes": "BIGINT",
    "patients": "VARCHAR[]",
    "categories": "VARCHAR[]",
    "sensitivity": "VARCHAR",
    "client": "VARCHAR",
    "client_port": "BIGINT",
    "session": "VARCHAR",
    "request_id": "VARCHAR",
    "reference": "VARCHAR",
    "rule": "VARCHAR",
    "policy_id": "VARCHAR",
    "detail": "MAP(VARCHAR, VARCHAR)",
    "salt": "VARCHAR",
    "v": "BIGINT",
}
"""The fields of a journal entry and their types, in the order in which they are shown."""

EVENT_COLUMNS: Final[dict[str, str]] = {
    "writer": "VARCHAR",
    **{name: kind for name, kind in COLUMNS.items() if name not in {"salt", "v"}},
}
"""One row per event: what an answer may show."""

ACCESS_COLUMNS: Final[dict[str, str]] = {
    "patient": "VARCHAR",
    **{
        name: EVENT_COLUMNS[name]
        for name in (
            "at_ms",
            "writer",
            "seq",
            "kind",
            "realm",
            "account",
            "account_class",
            "establishment",
            "operator",
            "app",
            "route",
            "route_kind",
            "opened",
            "rows",
            "bytes",
            "status",
            "reason",
            "categories",
            "sensitivity",
            "client",
            "session",
            "request_id",
        )
    },
}
"""One row per event and patient it names."""

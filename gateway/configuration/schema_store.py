"""The shape of what is said about the store. Its docstrings are docs/configuration.md."""

from typing import Annotated

from pydantic import Field

from gateway.configuration.spec import Spec
from gateway.configuration.words import FilePath


class StoreSpec(Spec):
    """Where accounts, sessions and counters are kept."""

    url: Annotated[str, Field(min_length=1, max_length=1_000)] = "embedded"
    """`embedded`, or the address of a Valkey or Redis 7 or newer: `redis://`, `rediss://` or `unix://`.
    Behind Sentinels: `sentinel://h1:26379,h2:26379,h3:26379/NAME`; nodes of a Cluster: `cluster://h1:6379,h2:6379,h3:6379`;
    `sentinels://` or `clusters://` where all of them speak TLS."""
    password_file: FilePath | None = None
    """File of mode 0600 that holds the store's password and nothing else; passwords never stand in `url`."""
    sentinel_password_file: FilePath | None = None
    """File of mode 0600 that holds the password of the Sentinels, when they have one of their own."""
    ca_file: FilePath | None = None
    """PEM file of the authorities that signed the certificates of a `rediss://`, `sentinels://` or `clusters://` store,
    instead of the system's."""
    replicas: Annotated[int, Field(ge=0, le=8)] | None = None
    """How many replicas must have the use of a code, a lock, an enrolment and the like before it counts; it is refused
    with fewer. When left out: 1 behind Sentinels or in a Cluster, else 0."""
    timeout_ms: Annotated[int, Field(ge=10, le=10_000)] = 800
    """Longest wait for the store; after that the exchange is refused with 503."""

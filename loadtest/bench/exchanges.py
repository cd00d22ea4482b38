"""One exchange in two halves, and what a recording of one is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.engine import Engine, Exchange, Onward, Pass
from gateway.ingress import RawHead
from gateway.policy.policy import Policy
from gateway.vocabulary.keys import Keys
from loadtest.bench.answers import Case


@dataclass
class Recording:
    """Everything an engine needs to go through the same again. *replies* are by case: of the request, of the answer."""

    policy: Policy
    keys: Keys
    now_ms: int
    head: list[tuple[bytes, bytes]]
    classes: dict[str, tuple[str, str]]
    replies: dict[str, tuple[list[Any], list[Any]]]


def raw_head(case: Case, fields: Sequence[tuple[bytes, bytes]]) -> RawHead:
    """Return the head of the request that *case* answers."""
    return RawHead(b"GET", case.target.encode(), b"", b"HTTP/1.1", tuple(fields), "http", "127.0.0.1", 40_000)


async def asked(engine: Engine, head: RawHead) -> Exchange:
    """Go through the first half of an exchange, which must be let through."""
    _, exchange = engine.arrive(head)
    if not isinstance(exchange, Exchange) or not isinstance(
        await engine.on_request(exchange, body_read=False), Onward
    ):
        raise RuntimeError(  # noqa: TRY004 - an outcome, not a type
            "a request that should go on was refused"
        )
    return exchange


async def answered(engine: Engine, exchange: Exchange, case: Case) -> None:
    """Go through the second half, at whose end the answer must leave."""
    if not isinstance(await engine.on_response(exchange, case.response), Pass):
        raise RuntimeError(  # noqa: TRY004 - likewise
            "an answer that should leave was withheld"
        )
    exchange.settled = True

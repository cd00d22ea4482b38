"""Long-lived answers: what a stream or a socket shows is counted piece by piece, and charged as it goes."""

from gateway import disclosure
from gateway.engine import records
from gateway.engine.exchange import Exchange
from gateway.engine.services import Services
from gateway.engine.spending import reveal_question
from gateway.lookups import reveal
from gateway.valkey.client import StoreEmptied, StoreUnavailable
from gateway.vocabulary.events import EventKind
from gateway.vocabulary.limits import Charge, Control, Mode, Spent
from gateway.vocabulary.messages import ResponseFacts
from gateway.vocabulary.records import Uninspectable


async def meter_message(exchange: Exchange, services: Services, content: bytes) -> bool:
    """Charge one message of a socket before it leaves; what shows personal data is recorded first."""
    as_text = ResponseFacts(200, (("content-type", "text/plain; charset=utf-8"),), content)
    seen = disclosure.count(exchange.facts, as_text, exchange.app.max_page_bytes)
    if isinstance(seen, Uninspectable) or exchange.account is None or exchange.limits is None:
        return False
    if not await _paid(exchange, services, Charge(bytes=len(content), sightings=seen.total)):
        return False
    if not seen.total:
        return True
    counts = (("nirs", str(seen.nirs)), ("phones", str(seen.phones)), ("emails", str(seen.emails)))
    return await records.keep(exchange, services, EventKind.SIGHTED, detail=counts)


def meter_piece(exchange: Exchange, piece: bytes) -> bool:
    """Count one piece of a stream before it leaves; False when more is shown at once than an hour allows.

    A stream is charged in short intervals, so what a burst may show is bounded here.
    """
    exchange.metered_bytes += len(piece)
    if not exchange.streams_text:
        return True
    # A piece may end within a character; what is looked for is ASCII.
    as_text = ResponseFacts(200, (("content-type", "text/plain; charset=iso-8859-1"),), piece)
    seen = disclosure.count(exchange.facts, as_text, exchange.app.max_page_bytes)
    if isinstance(seen, Uninspectable) or exchange.limits is None:
        return False
    exchange.metered_sightings += seen.total
    return all(
        limit.mode is not Mode.ENFORCE or exchange.metered_sightings <= limit.hard
        for limit in exchange.limits.limits
        if limit.control is Control.SIGHTINGS_1H
    )


async def settle_meter(exchange: Exchange, services: Services) -> bool:
    """Charge the bytes and sightings that a metered stream has shown so far; False when it must stop."""
    if exchange.account is None or exchange.limits is None:
        return False
    counted, exchange.metered_bytes = exchange.metered_bytes, 0
    sightings, exchange.metered_sightings = exchange.metered_sightings, 0
    if sightings:
        records.soon(exchange, services, EventKind.SIGHTED, detail=(("pieces", str(sightings)),))
    charge = Charge(bytes=counted if exchange.revealing else 0, sightings=sightings)
    return await _paid(exchange, services, charge)


async def _paid(exchange: Exchange, services: Services, charge: Charge) -> bool:
    try:
        revealed = await reveal(services.store, reveal_question(exchange, charge))
    except (StoreEmptied, StoreUnavailable):
        return False
    return revealed.live and isinstance(revealed.spend, Spent)

"""Opening the configured store."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.configuration import Settings
from gateway.valkey.client import Store
from gateway.valkey.embedded import Embedded
from gateway.valkey.library import product_sources


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the configured store, the embedded one included.

    Raises:
        EmbeddedFailed, StoreUnavailable, MarkerFileBroken: each names what to mend.
    """
    async with AsyncExitStack() as stack:
        url = settings.store_url
        if settings.embedded_store:
            embedded = await Embedded.start(settings.state_dir / "store")
            stack.push_async_callback(embedded.stop)
            url = embedded.url
        store = await Store.open(
            url,
            libraries=product_sources(),
            state_dir=settings.state_dir,
            timeout_ms=settings.store_timeout_ms,
            replicas=settings.store_replicas,
        )
        stack.push_async_callback(store.close)
        yield store

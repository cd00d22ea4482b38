"""Hooks straight to the addons that want them.

mitmproxy walks every addon for every hook, looks its method up by name, and triggers an update hook after
each: about a third of what a request costs. The door's chain is fixed once it is built, so who wants a
hook is looked up once.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import fields
from types import CoroutineType
from typing import Any

from mitmproxy import hooks
from mitmproxy.addonmanager import AddonManager
from mitmproxy.master import Master

_log = logging.getLogger("addons.door")


class DirectAddons(AddonManager):
    """mitmproxy's addon manager with a table of who wants which hook, in the order of the chain."""

    def __init__(self, master: Master) -> None:
        super().__init__(master)  # type: ignore[no-untyped-call]
        self._wanted: dict[str, tuple[Callable[..., Any], ...]] = {}
        self._arguments: dict[type[hooks.Hook], tuple[str, ...]] = {}

    def add(self, *addons: object) -> None:
        """Add *addons* at the end of the chain."""
        self._wanted.clear()
        super().add(*addons)  # type: ignore[no-untyped-call]

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Call everybody who wants *event*. As in mitmproxy, a fault of one addon is not a fault of the next."""
        rest = self.begin(event)
        if rest is not None:
            await rest

    def begin(self, event: hooks.Hook) -> Coroutine[Any, Any, None] | None:
        """Call everybody who wants *event* up to the first who has to wait; return what is left to be done, or None."""
        wanted = self._wanted.get(event.name)
        if wanted is None:
            wanted = self._wanted[event.name] = self._look_up(event.name)
        if not wanted:
            return None
        names = self._arguments.get(type(event))
        if names is None:
            names = self._arguments[type(event)] = tuple(field.name for field in fields(event))  # type: ignore[arg-type]
        arguments = [getattr(event, name) for name in names]
        for place, hook in enumerate(wanted):
            try:
                result = hook(*arguments)
            except Exception as error:  # noqa: BLE001 - as mitmproxy does: log it and go on
                _tell(event, error)
                continue
            if result is not None and (type(result) is CoroutineType or inspect.isawaitable(result)):
                return self._finish(event, result, wanted[place + 1 :], arguments)
        return None

    async def _finish(
        self,
        event: hooks.Hook,
        waiting: Awaitable[None],
        wanted: Sequence[Callable[..., Any]],
        arguments: Sequence[Any],
    ) -> None:
        try:
            await waiting
        except Exception as error:  # noqa: BLE001 - likewise
            _tell(event, error)
        for hook in wanted:
            try:
                result = hook(*arguments)
                if result is not None and (type(result) is CoroutineType or inspect.isawaitable(result)):
                    await result
            except Exception as error:  # noqa: BLE001 - likewise
                _tell(event, error)

    def _look_up(self, name: str) -> tuple[Callable[..., Any], ...]:
        found = (getattr(addon, name, None) for addon in self.chain)
        return tuple(hook for hook in found if callable(hook))


def _tell(event: hooks.Hook, error: Exception) -> None:
    # The sentinel stops whatever an addon left without a verdict.
    _log.error("addon fault", extra={"where": event.name, "kind": type(error).__name__})

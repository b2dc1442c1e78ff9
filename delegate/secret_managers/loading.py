"""Loads kinds: their code is imported when a connector first names them, beside everything else that goes on.

Promises: an import that takes long holds up no heartbeat, one that never ends no other kind and not the delegate's own end;
two tasks load a kind once; whatever an import raises is told as an error of that kind. Must not decide which may be loaded.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any, Protocol

import structlog

from delegate.secret_managers.interface import Kind
from shared.errors import NotReady, PrivySealError

LOAD_SECONDS = 30.0
"""A cloud's library takes a second to import."""

_log = structlog.get_logger()


class Loadable(Protocol):
    """An entry point: something that gives a kind when asked."""

    def load(self) -> Any: ...


class Loading:
    """The kinds that were loaded, and those that are being loaded now."""

    def __init__(self, seconds: float = LOAD_SECONDS) -> None:
        self._seconds = seconds
        self._kinds: dict[str, Kind] = {}
        self._running: dict[str, asyncio.Future[Any]] = {}
        self._overdue: set[str] = set()

    async def kind(self, name: str, point: Loadable) -> Kind:
        """The kind of that name. Raises NotReady where its code can't be loaded, or not in time."""
        known = self._kinds.get(name)
        if known is not None:
            return known
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = _aside(name, point)
        elif name in self._overdue and not running.done():
            raise _overdue(name)
        try:
            # Shielded: who gives up waiting doesn't take it from the others who wait.
            async with asyncio.timeout(self._seconds):
                loaded: Kind = await asyncio.shield(running)
        except TimeoutError:
            self._overdue.add(name)
            _log.error("kind.unloadable", kind=name, seconds=self._seconds)
            raise _overdue(name) from None
        except PrivySealError:
            self._forget(name)
            raise
        except _Failed as failed:
            # Whoever installs what is missing needn't restart the delegate.
            self._forget(name)
            _log.error("kind.unloadable", kind=name, exc_info=failed.error)
            raise NotReady(
                "kind_unloadable",
                f"the code of the kind {name} can't be loaded on this delegate",
                "install what it needs: its traceback is in the delegate's log",
            ) from None
        self._forget(name)
        self._kinds[name] = loaded
        return loaded

    def _forget(self, name: str) -> None:
        self._running.pop(name, None)
        self._overdue.discard(name)


class _Failed(Exception):
    """What an import raised, kept away from the loop: SystemExit would end it, and a future takes no StopIteration."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _aside(name: str, point: Loadable) -> asyncio.Future[Any]:
    """What the entry point gives, from a thread of its own, which nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Any] = loop.create_future()

    def tell(kind: Any, error: BaseException | None) -> None:
        if loaded.cancelled():
            return
        if error is None:
            loaded.set_result(kind)
            return
        loaded.set_exception(error)
        # Nobody may be waiting any more.
        loaded.exception()

    def load() -> None:
        kind: Any = None
        error: Exception | None = None
        try:
            kind = point.load()
        except PrivySealError as why:
            error = why
        except BaseException as why:  # noqa: BLE001 (the code of a package may raise anything)
            error = _Failed(why)
        # The delegate may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, kind, error)

    threading.Thread(target=load, name=f"kind-{name}", daemon=True).start()
    return loaded


def _overdue(name: str) -> NotReady:
    return NotReady(
        "kind_unloadable",
        f"the code of the kind {name} takes too long to load on this delegate",
        "restart the delegate; if it comes again, remove the package that brings the kind, or use another version",
    )

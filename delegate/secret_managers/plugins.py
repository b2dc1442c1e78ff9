"""Kinds that other packages bring: found by the entry-point group `privyseal.secret_managers`, never imported by being there.

Promises: what such a kind makes is held to what a secret manager is: an error that isn't one of ours, an answer of another
type, a stored value that could never be read again end as `kind_failed`, without their text in any answer or log line; a
name that two packages claim is nobody's. Must not take a package for less than it is: code in this process, which can do
all that the delegate can. That is why the local policy has to name each such kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import structlog

from delegate.secret_managers.interface import SecretManager, SecretVersion, Surroundings, stored_bytes, stored_value
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import CLASSES, Malformed, NotReady, PrivySealError, Unavailable
from shared.values import Reference, Stored, Wrapped

GROUP: Final = "privyseal.secret_managers"

METHODS: Final = ("check", "store", "fetch", "look_up", "delete", "close")
MOST_AT_ONCE = 64

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed kind: the entry points of its name, of which there should be one."""

    name: str
    points: tuple[EntryPoint, ...]

    @property
    def origin(self) -> str:
        """The package that brings it, with its version."""
        told = (f"{one.dist.name} {one.dist.version}" if one.dist else "an unnamed package" for one in self.points)
        return " and ".join(sorted(told))

    def load(self) -> Any:
        """The kind, guarded. Raises NotReady where two packages bring it or it is none, and whatever its import raises."""
        if len(self.points) > 1:
            raise NotReady(
                "kind_ambiguous",
                f"several packages bring the kind {self.name}: {self.origin}",
                "remove all but one of them from this delegate",
            )
        kind = self.points[0].load()
        if not callable(kind):
            raise _unfit(self.name, self.origin, "what its entry point names can't be called")
        return GuardedKind(kind, self.name, self.origin)


def plugins() -> dict[str, Plugin]:
    """Those that are installed, by the names that they give themselves."""
    points = entry_points(group=GROUP)
    return {name: Plugin(name, tuple(points.select(name=name))) for name in points.names}


class GuardedKind:
    """A kind whose managers are guarded."""

    def __init__(self, kind: Any, name: str, origin: str) -> None:
        self._kind = kind
        self._name = name
        self._origin = origin

    def __call__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> SecretManager:
        """As `Kind`. Raises its errors, NotReady for what is no secret manager, Unavailable for anything else."""
        try:
            made = self._kind(connector, surroundings, secrets)
            lacking = [method for method in METHODS if not callable(getattr(made, method, None))]
            width = getattr(made, "concurrency", None)
        except BaseException as error:  # noqa: BLE001 (the code of a package may raise anything)
            raise _told(error, self._name, self._origin) from None
        if lacking or type(width) is not int or width < 1:
            what = ", ".join([*lacking, *([] if type(width) is int and width > 0 else ["concurrency"])])
            raise _unfit(self._name, self._origin, f"what it makes is no secret manager; it lacks {what}")
        return Guarded(made, width, self._name, self._origin)


class Guarded:
    """One manager of a package's kind."""

    def __init__(self, made: Any, width: int, name: str, origin: str) -> None:
        self._made = made
        self._width = min(width, MOST_AT_ONCE)
        self._name = name
        self._origin = origin

    @property
    def concurrency(self) -> int:
        """As it said when it was made, within bounds."""
        return self._width

    async def check(self) -> None:
        """As `SecretManager.check`."""
        await self._asked("check")

    async def store(self, secret: SecretVersion, plaintext: Plaintext) -> Stored:
        """As `SecretManager.store`. What couldn't be read again is refused, so that no version is made of it."""
        stored = await self._asked("store", secret, plaintext)
        if isinstance(stored, Wrapped | Reference) and _can_be_read(stored):
            return stored
        raise _unfit(self._name, self._origin, "what it stores is no record and no reference")

    async def fetch(self, secret: SecretVersion, stored: Stored) -> Plaintext:
        """As `SecretManager.fetch`."""
        return self._value(await self._asked("fetch", secret, stored))

    async def look_up(self, secret: SecretVersion) -> Plaintext:
        """As `SecretManager.look_up`."""
        return self._value(await self._asked("look_up", secret))

    async def delete(self, secret: SecretVersion, stored: Stored | None) -> None:
        """As `SecretManager.delete`."""
        await self._asked("delete", secret, stored)

    async def close(self) -> None:
        """As `SecretManager.close`."""
        await self._asked("close")

    def _value(self, answer: object) -> Plaintext:
        if isinstance(answer, Plaintext):
            return answer
        raise _unfit(self._name, self._origin, "what it fetches is no Plaintext")

    async def _asked(self, method: str, *args: object) -> object:
        try:
            answer = getattr(self._made, method)(*args)
            if not isinstance(answer, Awaitable):
                raise _unfit(self._name, self._origin, f"its method {method} is no coroutine")
            return await answer
        except GeneratorExit:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Raised by the package itself: nobody has cancelled anything.
            raise _told(error, self._name, self._origin) from None
        except BaseException as error:  # noqa: BLE001 (the code of a package may raise anything)
            raise _told(error, self._name, self._origin) from None


def _can_be_read(stored: Stored) -> bool:
    try:
        return stored_value(stored_bytes(stored)) == stored
    except (Malformed, TypeError, ValueError):
        return False


def _told(error: BaseException, name: str, origin: str) -> PrivySealError:
    """The error as one of ours: as it is, as the class that a package's own is derived from, or as a failure without text."""
    if isinstance(error, PrivySealError):
        for cls in type(error).__mro__:
            if cls in CLASSES.values():
                return error if type(error) is cls else cls(error.code, error.detail, error.hint, **error.facts)
    _log.error("kind.crashed", kind=name, origin=origin, exc_info=error)
    return Unavailable(
        "kind_failed",
        f"the kind {name} failed unexpectedly",
        f"it comes from {origin}; the delegate's log says where it failed: look for kind.crashed",
    )


def _unfit(name: str, origin: str, why: str) -> NotReady:
    return NotReady(
        "kind_unfit",
        f"the kind {name} isn't fit for this delegate: {why}",
        f"it comes from {origin}: use another version of it, or tell its authors",
    )

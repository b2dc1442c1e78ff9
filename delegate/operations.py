"""The acts: what each operation does with the targets of a task whose warrant was checked.

One item a target comes out: a value, an empty one for "done", or the error of that target alone; the others go on. Must
not be called with a task that `delegate.tasks` hasn't checked, and must not keep a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from delegate.secret_managers.interface import SecretManager, SecretVersion, stored_bytes, stored_value
from delegate.secret_managers.registry import Registry
from delegate.threads import compute
from delegate.zone import Zone
from shared.aad import Aad
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed, NotFound, PrivySealError, Tampered, Unavailable
from shared.labels import INPUT
from shared.messages import Task
from shared.trust.uses import Use
from shared.trust.warrant import Warrant
from shared.values import Sealed

TURN = 64
"""Targets of a task before heartbeats and other tasks get their turn."""

DONE = Plaintext(b"")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item a target, or one error for the whole; `stored` has one record a target, empty where it failed."""

    items: tuple[Item, ...]
    stored: tuple[bytes, ...] = ()


async def operate(
    granted: Warrant, message: Task, zone: Zone, registry: Registry, progress: Callable[[int], None]
) -> Outcome:
    """Do what the task asks, target by target; `progress` hears now and then how many are done."""
    act = _Act(granted, message, zone, registry, progress)
    steps = {"store": act.store, "reveal": act.reveal, "delete": act.delete, "check": act.check}
    items = await act.each(steps[granted.task.document.op])
    stored: tuple[bytes, ...] = ()
    if granted.task.document.op == "store" and any(act.stored):
        stored = tuple(act.stored)
    return Outcome(tuple(items), stored)


def internal() -> PrivySealError:
    """What anybody learns of a bug."""
    return Unavailable("internal", "the delegate failed unexpectedly", "its log says where: look for task.crashed")


class _Act:
    """One task being acted on."""

    def __init__(
        self, granted: Warrant, message: Task, zone: Zone, registry: Registry, progress: Callable[[int], None]
    ) -> None:
        self._progress = progress
        self._done = 0
        self._task = granted.task.document
        self._digest = granted.task.digest
        self._uses = granted.uses
        self._message = message
        self._zone = zone
        self._managers: dict[str, SecretManager | PrivySealError] = {}
        for use in granted.uses:
            if use.connector.digest not in self._managers:
                self._managers[use.connector.digest] = _found(registry, use)
        self.stored = [b""] * (len(granted.uses) if self._task.op == "store" else 0)

    async def each(self, step: Callable[[int, Use], Awaitable[Plaintext]]) -> Sequence[Item]:
        """`step` for each target: in turn where nothing waits, else as many at once as the secret manager takes."""
        width = max(
            (one.concurrency for one in self._managers.values() if not isinstance(one, PrivySealError)), default=1
        )
        if width > 1:
            places = asyncio.Semaphore(width)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._placed(places, step, at, use)) for at, use in enumerate(self._uses)]
            return [task.result() for task in tasks]
        items: list[Item] = []
        for at, use in enumerate(self._uses):
            if at and at % TURN == 0:
                self._progress(at)
                await asyncio.sleep(0)
            items.append(await self._guarded(step, at, use))
        return items

    async def _placed(
        self, places: asyncio.Semaphore, step: Callable[[int, Use], Awaitable[Plaintext]], at: int, use: Use
    ) -> Item:
        async with places:
            item = await self._guarded(step, at, use)
        self._done += 1
        if self._done % TURN == 0:
            self._progress(self._done)
        return item

    async def _guarded(self, step: Callable[[int, Use], Awaitable[Plaintext]], at: int, use: Use) -> Item:
        """One target's item; its failure is its own."""
        try:
            return await step(at, use)
        except PrivySealError as why:
            return why
        except Exception as error:  # noqa: BLE001 (a bug is answered as `internal`)
            _log.error("task.crashed", task=self._digest, exc_info=error)
            return internal()

    async def store(self, at: int, use: Use) -> Plaintext:
        """Open the sealed input, hand the value to the secret manager, keep what it gives back."""
        manager = self._manager(use)
        sealed = Sealed(self._message.inputs[at])
        info = self._place(use, "").encode(INPUT)
        opening = self._zone.keyring.generation(self._task.gen).sealing
        value = await compute(len(sealed.raw), opening.open, sealed, info)
        if len(value) > LARGEST_VALUE_BYTES:
            raise Malformed("value_too_large", "the value is longer than a secret may be", "values have at most 10 MB")
        stored = await manager.store(self._version(use, self._digest), value)
        self.stored[at] = stored_bytes(stored)
        return DONE

    async def reveal(self, at: int, use: Use) -> Plaintext:
        """The value of the version that the signer named."""
        manager = self._manager(use)
        raw = self._message.stored[at]
        if not raw:
            raise NotFound("version_missing", "the manager has no record of that version", "list the secret's versions")
        try:
            stored = stored_value(raw)
        except Malformed:
            raise Tampered("record_forged", "a stored record isn't one that this keyring made for this place") from None
        return await manager.fetch(self._version(use, use.target.version or ""), stored)

    async def delete(self, at: int, use: Use) -> Plaintext:
        """Have the provider forget it; where only the manager keeps something, that is the manager's part."""
        raw = self._message.stored[at] if self._message.stored else b""
        await self._manager(use).delete(
            self._version(use, use.target.version or ""), stored_value(raw) if raw else None
        )
        return DONE

    async def check(self, at: int, use: Use) -> Plaintext:
        """Whether the connector works from here."""
        await self._manager(use).check()
        return DONE

    def _manager(self, use: Use) -> SecretManager:
        found = self._managers[use.connector.digest]
        if isinstance(found, PrivySealError):
            raise found
        return found

    def _version(self, use: Use, version: str) -> SecretVersion:
        assert use.secret is not None
        place, target = self._place(use, version), use.target
        return SecretVersion(use.secret.document, use.connector.document, target.n, place, target.excluded)

    def _place(self, use: Use, version: str) -> Aad:
        assert use.secret is not None
        task, secret = self._task, use.secret.document
        return Aad(
            "store", task.acct, task.keyring, secret.scope, secret.id, use.target.n, version, use.connector.document.id
        )


def _found(registry: Registry, use: Use) -> SecretManager | PrivySealError:
    try:
        return registry.manager(use.connector)
    except PrivySealError as why:
        return why
    except Exception as error:  # noqa: BLE001 (a bug is answered as `internal`)
        _log.error("connector.crashed", kind=use.connector.document.type, exc_info=error)
        return internal()

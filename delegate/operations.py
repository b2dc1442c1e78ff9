"""The acts: what each operation does with the targets of a task whose warrant was checked.

One item a target comes out: a value, an empty one for "done", or the error of that target alone; the others go on. Must
not be called with a task that `delegate.tasks` hasn't checked, and must not keep a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from delegate.groups import Groups
from delegate.keychain import Keychain, fetched, internal, place_of, read_stored, version_of
from delegate.secret_managers.interface import SecretManager, stored_bytes
from delegate.secret_managers.registry import Registry
from delegate.ssh import SshTarget
from delegate.threads import compute
from delegate.zone import Zone
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed, NotFound, PrivySealError
from shared.labels import INPUT
from shared.messages import Task
from shared.tracing import UNRECORDED, Span
from shared.trust.uses import Use
from shared.trust.warrant import Warrant
from shared.values import Sealed

TURN = 64
"""Targets of a task before heartbeats and other tasks get their turn."""

LARGEST_TOGETHER = LARGEST_VALUE_BYTES + 4_096
ROOM_OF_ONE = 1_024
"""Bytes that the values of an answer have, and more for each: no fewer than the manager lets records have."""

DONE = Plaintext(b"")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item a target, or one error for the whole; `stored` has one record a target, empty where it failed."""

    items: tuple[Item, ...]
    stored: tuple[bytes, ...] = ()


async def operate(
    granted: Warrant,
    message: Task,
    zone: Zone,
    registry: Registry,
    progress: Callable[[int], None],
    span: Span = UNRECORDED,
) -> Outcome:
    """Do what the task asks, target by target; `progress` hears now and then how many are done; `span` is the task's.

    Of an exec the values come out: `delegate.executor` hands them to the command.
    """
    clock = registry.surroundings.clock
    async with AsyncExitStack() as stack:
        keychain = Keychain(granted, message.credentials, registry, stack)
        connectors = {use.connector.digest: use.connector for use in granted.uses if not use.is_login}
        managers = {digest: await keychain.manager(connector) for digest, connector in connectors.items()}
        act = _Act(granted, message, zone, keychain, managers, progress, Groups(span, clock))
        steps = {"store": act.store, "reveal": act.reveal, "exec": act.reveal, "delete": act.delete, "check": act.check}
        try:
            items = await act.each(steps[granted.task.document.op])
        finally:
            act.groups.end()
    stored: tuple[bytes, ...] = ()
    if granted.task.document.op == "store" and any(act.stored):
        stored = tuple(act.stored)
    return Outcome(tuple(items), stored)


class _Act:
    """One task being acted on."""

    def __init__(
        self,
        granted: Warrant,
        message: Task,
        zone: Zone,
        keychain: Keychain,
        managers: Mapping[str, SecretManager | PrivySealError],
        progress: Callable[[int], None],
        groups: Groups,
    ) -> None:
        self.groups = groups
        self._progress = progress
        self._done = 0
        self._given = 0
        self._task = granted.task.document
        self._digest = granted.task.digest
        self._uses = granted.uses
        self._message = message
        self._zone = zone
        self._keychain = keychain
        self._managers = managers
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
        with self.groups.target("SSHKey" if use.is_login else use.connector.document.type) as told:
            try:
                return await step(at, use)
            except PrivySealError as why:
                told.failed()
                return why
            except Exception as error:  # noqa: BLE001 (a bug is answered as `internal`)
                told.failed()
                _log.error("task.crashed", task=self._digest, exc_info=error)
                return internal()

    async def store(self, at: int, use: Use) -> Plaintext:
        """Open the sealed input, hand the value to the secret manager, keep what it gives back."""
        manager = self._manager(use)
        sealed = Sealed(self._message.inputs[at])
        info = place_of(self._task, use, "").encode(INPUT)
        opening = self._zone.keyring.generation(self._task.gen).sealing
        value = await compute(len(sealed.raw), opening.open, sealed, info)
        if len(value) > LARGEST_VALUE_BYTES:
            raise Malformed("value_too_large", "the value is longer than a secret may be", "values have at most 10 MB")
        stored = await manager.store(version_of(self._task, use, self._digest), value)
        self.stored[at] = stored_bytes(stored)
        return DONE

    async def reveal(self, at: int, use: Use) -> Plaintext:
        """The value of the version that the signer named, or what the connector reads there."""
        manager = self._manager(use)
        # Where values live at a provider, no record has told the manager how large they are together.
        self._check_room(0)
        if use.secret is None:
            value = await manager.look_up(fetched(self._task, use))
        else:
            raw = self._message.stored[at]
            if not raw:
                raise NotFound(
                    "version_missing", "the manager has no record of that version", "list the secret's versions"
                )
            value = await manager.fetch(version_of(self._task, use, use.target.version or ""), read_stored(raw))
        self._check_room(len(value))
        self._given += len(value)
        return value

    async def delete(self, at: int, use: Use) -> Plaintext:
        """Have the provider forget it; where only the manager keeps something, that is the manager's part."""
        raw = self._message.stored[at] if self._message.stored else b""
        await self._manager(use).delete(
            version_of(self._task, use, use.target.version or ""), read_stored(raw) if raw else None
        )
        return DONE

    async def check(self, at: int, use: Use) -> Plaintext:
        """Whether the connector, or the SSHKey at the host that is named, works from here."""
        if use.is_login:
            await self._target(use.target.reference, await self._keychain.login(use)).check()
            return DONE
        await self._manager(use).check()
        return DONE

    def _target(self, host: str, login: Plaintext) -> SshTarget:
        surroundings = self._keychain.surroundings
        return SshTarget(host, login, surroundings.policy, surroundings.call_seconds, surroundings.ssh_known_hosts)

    def _check_room(self, more: int) -> None:
        """Whether so many bytes more go into the answer; an answer without bounds would cost the delegate its stream."""
        if self._given + more > LARGEST_TOGETHER + ROOM_OF_ONE * len(self._uses):
            raise Malformed(
                "values_too_large",
                "the values asked for are larger than 10 MB together",
                "ask for fewer at once; what a reference names may be large: select a part of it with #key",
            )

    def _manager(self, use: Use) -> SecretManager:
        found = self._managers[use.connector.digest]
        if isinstance(found, PrivySealError):
            raise found
        return found

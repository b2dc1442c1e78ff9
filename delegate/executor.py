"""Exec: one signed command task from its sealed command to how it ended.

Promises: the command that runs is the one that the task's signer sealed; its output goes, masked, encrypted for the task's
reader and vouched for by this delegate, out by the stream that the task came by, and is over before the answer leaves;
when that stream breaks, the command ends. Must not be called with a task that `delegate.tasks` hasn't checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from delegate.clock import Clock
from delegate.commands import Commands, Ended
from delegate.delivery import Delivery
from delegate.mask_patterns import MaskPatterns
from delegate.masking import Patterns
from delegate.threads import compute
from delegate.zone import Zone
from shared.aad import Aad
from shared.canonical import blob_digest, encode
from shared.command import Command, Finished, unpack
from shared.crypto.identity import Identity
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.crypto.stream import CHUNK_BYTES, OutputSealer
from shared.documents.jws import Verified
from shared.documents.output import OutputDocument
from shared.documents.task import TaskDocument
from shared.errors import Denied, Malformed, PrivySealError
from shared.labels import INPUT
from shared.messages import Task
from shared.values import Sealed, recipient_of_task

_log = structlog.get_logger()


class Executor:
    """One delegate's, for commands of at most `most_seconds`."""

    def __init__(
        self,
        identity: Identity,
        zone: Zone,
        commands: Commands,
        randomness: Callable[[int], bytes],
        clock: Clock,
        most_seconds: float,
        mask_patterns: MaskPatterns | None = None,
    ) -> None:
        self._identity = identity
        self._zone = zone
        self._commands = commands
        self._randomness = randomness
        self._clock = clock
        self._most_seconds = most_seconds
        self._mask_patterns = mask_patterns

    async def command(self, task: Verified[TaskDocument], message: Task) -> Command:
        """What the task is to run. Raises Denied for one that may take too long, Tampered, Malformed."""
        document = task.document
        assert document.seconds is not None
        if document.seconds > self._most_seconds:
            raise Denied(
                "command_too_long",
                f"the command may take {document.seconds} s, and this delegate gives one at most {self._most_seconds:g} s",
                "give it less, or raise exec_seconds in the settings of that delegate",
            )
        place = Aad("exec", document.acct, document.keyring, version=document.jti).encode(INPUT)
        sealed = Sealed(message.inputs[0])
        opened = await compute(len(sealed.raw), self._zone.keyring.generation(document.gen).sealing.open, sealed, place)
        command = unpack(opened.reveal())
        if len(command.names) != len(document.targets):
            raise Malformed(
                "command_malformed", "the command names another number of variables than the task has secrets"
            )
        return command

    async def execute(
        self, task: Verified[TaskDocument], command: Command, items: Sequence[Item], delivery: Delivery
    ) -> Plaintext:
        """Run it with the values of its targets; gives how it ended. Raises the error of the first value that is missing."""
        values = [_value(name, item) for name, item in zip(command.names, items, strict=True)]
        # Its guises are some fifty times as long.
        patterns = await compute(50 * sum(map(len, values)), Patterns, values, self._mask_patterns)
        output = _Output(self._opener(task), self._sealer(task), delivery)
        assert task.document.seconds is not None
        delivery.lasts(task.document.seconds)
        ended = await self._commands.run(
            command, values, patterns, task.document.seconds, output.write, delivery.stop
        )  # fmt: skip
        await output.finish()
        if ended.reason != "exited":
            _log.warning("command.ended", task=task.digest, reason=ended.reason)
        return _finished(ended, output.count)

    def _sealer(self, task: Verified[TaskDocument]) -> OutputSealer:
        document = task.document
        return OutputSealer(recipient_of_task(task), document.acct, document.keyring, task.digest, self._randomness)

    def _opener(self, task: Verified[TaskDocument]) -> Callable[[bytes], str]:
        def opening(key: bytes) -> str:
            return self._identity.sign_document(
                OutputDocument(
                    v=1, acct=task.document.acct, task=task.digest, sealed=blob_digest(key), iat=self._clock.now()
                )
            )

        return opening


class _Output:
    """What a command writes, chunk by chunk; the key goes first, when there is something to send."""

    def __init__(self, opening: Callable[[bytes], str], sealer: OutputSealer, delivery: Delivery) -> None:
        self._opening = opening
        self._sealer = sealer
        self._delivery = delivery
        self._sending = asyncio.Lock()
        self._is_open = False

    @property
    def count(self) -> int:
        """Messages, the key counted."""
        return self._sealer.count

    async def write(self, stream: int, data: bytes) -> None:
        """Some bytes of standard output (1) or error (2)."""
        # Two streams write, and a chunk goes out in the order in which it was encrypted.
        async with self._sending:
            await self._open()
            for at in range(0, len(data), CHUNK_BYTES):
                index = self._sealer.count
                await self._delivery.emit(index, self._sealer.chunk(stream, data[at : at + CHUNK_BYTES]))

    async def finish(self) -> None:
        """Nothing more comes."""
        async with self._sending:
            await self._open()
            index = self._sealer.count
            await self._delivery.emit(index, self._sealer.last())

    async def _open(self) -> None:
        if not self._is_open:
            key = self._sealer.key.raw
            await self._delivery.emit(0, key, self._opening(key))
            self._is_open = True


def _value(name: str, item: Item) -> Plaintext:
    if isinstance(item, PrivySealError):
        detail = f"the value for {name} can't be had: {item.detail}"
        raise type(item)(item.code, detail, item.hint, **item.facts)
    return item


def _finished(ended: Ended, count: int) -> Plaintext:
    finished = Finished(
        exit=ended.exit, signal=ended.signal, chunks=count, truncated=ended.truncated, reason=ended.reason
    )
    return Plaintext(encode(finished))

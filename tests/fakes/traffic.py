"""Clients at work while something breaks: they store, reveal and run commands, and remember what they were told.

    async with Traffic(site) as traffic:
        await traffic.goes_on()                # some of each kind were acknowledged since
        ...a fault...
    await traffic.settle()                     # everything that was promised is held against the store, the audit and the marks

Promised is: what was acknowledged is there and opens; a command (`repeat: never`) has begun at most once, and once where its end was
told; each request was answered or ended with a code and a reason; each task that the manager knows has an end; the audit is whole.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from client.dev import DevEnvironment
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Expired, NotReady, Overloaded, PrivySealError, Unavailable
from tests.fakes.faulty_site import has_ended

PATIENCE_SECONDS = 60.0
FAULTS = (Unavailable, NotReady, Overloaded, Expired, Conflict)
"""What a fault may end a request with; anything else fails the test."""

_POLL_SECONDS = 0.02
_AT_ONCE = 16
_REST_SECONDS = 0.01
"""Between one request and the next of the same client: the machine has others to serve."""


@dataclass
class Told:
    """What clients heard."""

    stored: dict[tuple[str, int], bytes] = field(default_factory=dict)
    revealed: int = 0
    ran: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    """Marks of the commands that were tried at all."""
    errors: list[PrivySealError] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind went well."""
        return {"store": len(self.stored), "reveal": self.revealed, "exec": len(self.ran)}


class Traffic:
    """`commands` says whether commands are run too: delegates need the policy `exec = true`."""

    def __init__(self, site: DevEnvironment, *, clients: int = 3, commands: bool = True) -> None:
        self._site = site
        self._clients = clients
        self._commands = commands
        self._name = f"t{secrets.token_hex(4)}"
        self._marks = site.folder / f"marks-{self._name}"
        self._ending = False
        self._working: list[asyncio.Task[None]] = []
        self.told = Told()

    async def __aenter__(self) -> Self:
        self._marks.touch()
        for number in range(self._clients):
            self._working.append(asyncio.create_task(self._store(number), name=f"stores {number}"))
        if self._commands:
            self._working.append(asyncio.create_task(self._run(), name="commands"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        if error is not None:
            for one in self._working:
                one.cancel()
        done, late = await asyncio.wait(self._working, timeout=PATIENCE_SECONDS)
        for one in late:
            one.cancel()
        assert not late or error is not None, f"requests without an answer: {[one.get_name() for one in late]}"
        if error is None:
            for one in done:
                one.result()

    async def goes_on(self, times: int = 3) -> None:
        """Waits until so many more of each kind went well."""
        before, until = self.told.counts, time.monotonic() + PATIENCE_SECONDS
        kinds = [kind for kind in before if kind != "exec" or self._commands]
        while any(self.told.counts[kind] < before[kind] + times for kind in kinds):
            for one in self._working:
                if one.done():
                    one.result()
            assert time.monotonic() < until, f"{before} grew to {self.told.counts} only; {self.told.errors[-3:]}"
            await asyncio.sleep(_POLL_SECONDS)

    async def settle(self) -> None:
        """Holds what was told against what is there."""
        async with self._site.client() as client:
            # A delegate that is away for a moment is no loss: what is asked waits for it.
            with client.waiting(int(PATIENCE_SECONDS)):
                await self._opens(client)
            self._begun_once()
            for why in self.told.errors:
                assert why.code and why.detail, "an end without a reason"
            for row in await has_ended(client):
                assert row["state"] in {"done", "failed", "unknown", "cancelled", "expired"} and row["code"], row
            await client.audit.verify()

    # ---- at work

    async def _store(self, number: int) -> None:
        """Stores one version after the other of a secret of its own, and reveals the newest."""
        reference = f"account.{self._name}_{number}"
        async with self._site.client() as client:
            while not self._ending:
                value = os.urandom(32)
                try:
                    stored = await client.store(reference, value)
                    self.told.stored[reference, stored.n] = value
                    revealed = await client.reveal(reference)
                    assert revealed == Plaintext(value), "another value than the one that was stored last"
                    self.told.revealed += 1
                except FAULTS as why:
                    self._note(why)
                await asyncio.sleep(_REST_SECONDS)

    async def _run(self) -> None:
        """Runs one command after the other; each leaves its mark when it begins."""
        reference = f"account.{self._name}_token"
        async with self._site.client() as client:
            is_stored = False
            while not self._ending:
                mark = secrets.token_hex(8)
                try:
                    if not is_stored:
                        await client.store(reference, b"for commands")
                        is_stored = True
                    self.told.sent.add(mark)
                    ran = await client.commands.run(
                        ["sh", "-c", f'echo {mark} >> "$MARKS"'],
                        {"TOKEN": reference},
                        _nowhere,
                        env={"MARKS": str(self._marks)},
                        seconds=20,
                    )
                    assert ran.finished.exit == 0
                    self.told.ran.append(mark)
                except FAULTS as why:
                    self._note(why)
                await asyncio.sleep(_REST_SECONDS)

    def _note(self, why: PrivySealError) -> None:
        # A fault of ours is no excuse.
        if why.code == "internal":
            raise why
        self.told.errors.append(why)

    # ---- afterwards

    async def _opens(self, client: Client) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def opened(reference: str, n: int) -> Plaintext:
            async with gate:
                return await client.reveal(reference, version=n)

        values = await asyncio.gather(*(opened(reference, n) for reference, n in self.told.stored))
        lost = [
            place
            for (place, value), found in zip(self.told.stored.items(), values, strict=True)
            if found != Plaintext(value)
        ]
        assert not lost, f"acknowledged and not there: {lost}"

    def _begun_once(self) -> None:
        begun = Counter(self._marks.read_text().split())
        twice = [mark for mark, times in begun.items() if times > 1]
        assert not twice, f"commands that began more than once: {twice}"
        assert set(begun) <= self.told.sent
        missing = [mark for mark in self.told.ran if begun[mark] != 1]
        assert not missing, f"commands that were said to have run and didn't: {missing}"


def _nowhere(channel: int, data: bytes) -> None:
    """What the commands write."""

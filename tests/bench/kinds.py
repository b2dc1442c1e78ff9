"""The table of kinds: for each, the provider's calls and the time of one use (`fetch` of a stored value of 40 bytes).

    cold      a new secret manager: settings read, login where the provider has one, client, connection, then the use
    warm      the same manager again, its data key not kept (`data_key_seconds` 0); kinds that keep values ask for the value
    cached    the same, with the data key kept as it is by default; only for kinds that wrap data keys at a provider

Beside each stands the provider's own call by the provider's own library against the same server, taken in turns with it: by a
new client (login included) beside the cold use, by a kept one beside the others. Library code is loaded before: that happens
once in a delegate's life. The servers are emulators and stand-ins on this machine (Vault: a real OpenBao), which answer within
milliseconds as no cloud does: what the ratios show is what we add to the quickest provider that there could be. Calls are
counted in a round of their own, at the server or by a proxy before it (`counting`).

In this process: no manager, client or stream is in these figures. Nothing here is bounded.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from delegate.clock import Clock
from delegate.data_keys import DataKeys
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretManager, Surroundings
from delegate.secret_managers.registry import BUILT_IN
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.values import Stored
from tests.bench.child import Unmeasured
from tests.bench.counting import Calls, counting
from tests.bench.kinds_memory import memory
from tests.bench.providers import PROVIDERS, VALUE, Opens, Provider
from tests.bench.report import Row, beside, info, median
from tests.contract.subjects import EVERY, Servers, Subject
from tests.fakes.world import World

FIRST = 3
COLD, COLD_QUICK = 8, 5
WARM, WARM_QUICK = 100, 40


async def measure(quick: bool) -> list[Row]:
    """The table's rows, and each kind's memory."""
    missing = set(BUILT_IN) - {one.kind for one in PROVIDERS.values()}
    if missing:
        raise Unmeasured(f"kinds without a row in tests/bench/providers.py: {', '.join(sorted(missing))}")
    # Nobody looks for the metadata service of a cloud.
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    rows: list[Row] = []
    with Servers() as servers:
        for name, provider in PROVIDERS.items():
            rows += await _kind(servers, name, provider, quick)
        rows += await memory(servers)
    return rows


async def _kind(servers: Servers, name: str, provider: Provider, quick: bool) -> list[Row]:
    subject = EVERY[name](World(), servers)
    async with counting(servers, provider.server, subject) as calls:
        counted = await counts(Use(subject), calls)
    use = Use(EVERY[name](World(), servers))
    await use.store()
    opens = await provider.own(servers) if provider.own else None
    taken = await _times(use, opens, "cached" in counted, quick)
    rows: list[Row] = []
    for way, count in counted.items():
        rows.append(info(f"{provider.kind}: calls of the provider, {way} use", count, "calls"))
        milliseconds = median(taken[way]) * 1000
        own = taken.get("own cold" if way == "cold" else "own")
        figure = f"{provider.kind}: {way} use p50"
        if own is None:
            rows.append(info(figure, milliseconds, "ms"))
        else:
            rows.append(beside(f"{figure}, beside the provider's own call", milliseconds, "ms", median(own) * 1000))
    return rows


class Use:
    """A stored value and managers that fetch it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._version, self._given = subject.holding(VALUE.encode())
        self._stored: Stored | None = None

    def manager(self, keys: DataKeys | None = None) -> SecretManager:
        """A new one that keeps data keys there, or none."""
        subject = self._subject
        surroundings = Surroundings(
            Zone(subject.world.keyring, subject.world.book()),
            LocalPolicy.parse(subject.policy, []),
            secrets.token_bytes,
            endpoints=subject.endpoints,
            gcp_endpoints=subject.gcp_endpoints,
            azure_endpoints=subject.azure_endpoints,
            data_keys=DataKeys(Clock(), seconds=0) if keys is None else keys,
            template=subject.template,
        )
        held = {name: Plaintext(value) for name, value in subject.credentials.items()}
        return subject.kind(subject.connector, surroundings, held)

    async def store(self) -> None:
        """Once, by a manager of its own."""
        manager = self.manager()
        self._stored = await manager.store(self._version, self._given)
        await manager.close()

    async def fetch(self, manager: SecretManager) -> None:
        """The value that was stored. Raises Unmeasured for another."""
        assert self._stored is not None
        if (await manager.fetch(self._version, self._stored)).reveal() != VALUE.encode():
            raise Unmeasured("another value came back")


async def counts(use: Use, calls: Calls) -> dict[str, int]:
    """Calls by the way of using; `cached` is there where a data key was kept."""
    await use.store()
    calls()
    found: dict[str, int] = {}
    manager = use.manager()
    for way in ("cold", "warm"):
        await use.fetch(manager)
        found[way] = calls()
    await manager.close()
    keys = DataKeys(Clock())
    manager = use.manager(keys)
    await use.fetch(manager)
    calls()
    if len(keys):
        await use.fetch(manager)
        found["cached"] = calls()
    await manager.close()
    return found


async def _times(use: Use, opens: Opens | None, keeps: bool, quick: bool) -> dict[str, list[float]]:
    """Seconds by the way of using, the ways in turns."""
    taken: dict[str, list[float]] = {}

    async def timed(way: str, one: Awaitable[object]) -> None:
        began = time.perf_counter()
        await one
        taken.setdefault(way, []).append(time.perf_counter() - began)

    async with AsyncExitStack() as stack:
        for number in range(FIRST + (COLD_QUICK if quick else COLD)):
            if number == FIRST:
                taken.clear()
            began = time.perf_counter()
            manager = use.manager()
            await use.fetch(manager)
            taken.setdefault("cold", []).append(time.perf_counter() - began)
            await manager.close()
            if opens is not None:
                began = time.perf_counter()
                async with opens() as call:
                    await call()
                    taken.setdefault("own cold", []).append(time.perf_counter() - began)
        cold = dict(taken)
        taken.clear()
        ways: dict[str, Callable[[], Awaitable[object]]] = {}
        for way in ("warm", "cached") if keeps else ("warm",):
            manager = use.manager(DataKeys(Clock()) if way == "cached" else None)
            stack.push_async_callback(manager.close)
            ways[way] = partial(use.fetch, manager)
        if opens is not None:
            ways["own"] = await stack.enter_async_context(opens())
        for number in range(FIRST + (WARM_QUICK if quick else WARM)):
            if number == FIRST:
                taken.clear()
            for way, one in ways.items():
                await timed(way, one())
    return {**cold, **taken}

"""Figure 1: one reveal at a time, beside everything that it can't do without.

Timed: `client.reveal(name)` from the call to the plaintext, one after the other, in a client that has revealed that
secret before (so its documents are known everywhere), against a manager and one delegate in processes of their own. The
floor is the sum of the medians of its parts (`floors`). Figure and parts take turns, one of each in a round, so that a
noisy machine disturbs all alike and each finds the caches as the others left them: a reveal has its parts in three
processes that sleep in between, and a part in a loop of its own would be measured as if it were alone on the machine (also
told, for information). No round is left out; the first twenty reveals, which connect and fetch documents, are made before.
"""

from __future__ import annotations

import os
import time
from typing import Any

from client import Client
from client.transport import Reply, Transport
from shared.canonical import digest
from shared.codec import delegate_messages, manager_messages
from shared.messages import Result, Task
from shared.wire import submission_pb2 as pb
from tests.bench.floors import PARTS, Crypto, Floors, Sizes, costs
from tests.bench.report import Row, against_floor, info, median, percentile
from tests.bench.rig import VALUE_BYTES, Rig

NAME = "account.one"
FIRST = 20
LOOP = 200


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    rounds = 300 if quick else 2000
    async with Rig() as rig:
        await rig.start_delegate()
        await rig.store(["one"])
        client = rig.reader()
        for _ in range(FIRST):
            await client.reveal(NAME)
        sizes = await _sizes(client)
        reveals: list[float] = []
        floor: dict[str, list[float]] = {part: [] for part in PARTS}
        async with Floors(rig.folder, sizes) as floors:
            for part in PARTS:
                await floors.measure(part, FIRST)
            for _ in range(rounds):
                began = time.perf_counter()
                await client.reveal(NAME)
                reveals.append(time.perf_counter() - began)
                for part in PARTS:
                    floor[part] += await floors.measure(part, 1)
            alone = sum([median(await floors.measure(part, LOOP)) for part in PARTS])
            loop = await _reveals(client, LOOP)
        stores = await _stores(rig.administrator(), 200 if quick else 1000)
    medians = {part: median(seconds) * 1000 for part, seconds in floor.items()}
    rows = [
        against_floor("reveal p50, one in flight", median(reveals) * 1000, "ms", sum(medians.values()), 1.4, "at most"),
        info("reveal p99, one in flight", percentile(reveals, 99) * 1000, "ms"),
        info("set p50, one in flight", median(stores) * 1000, "ms"),
    ]
    rows += [info(f"floor: {part}", value, "ms") for part, value in medians.items()]
    rows += [info("floor: each part in a loop of its own", alone * 1000, "ms")]
    rows += [info("reveal p50, in a loop of its own", median(loop) * 1000, "ms")]
    rows += [info(f"cost: {name}", median(seconds) * 1e6, "us") for name, seconds in costs(Crypto(sizes), 1000).items()]
    return rows


async def _reveals(client: Client, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await client.reveal(NAME)
        seconds.append(time.perf_counter() - began)
    return seconds


async def _stores(client: Client, count: int) -> list[float]:
    """New versions of one secret."""
    seconds = []
    for number in range(count + FIRST):
        value = f"{number:0{VALUE_BYTES}}".encode()
        began = time.perf_counter()
        await client.store("account.two", value)
        if number >= FIRST:
            seconds.append(time.perf_counter() - began)
    return seconds


async def _sizes(client: Client) -> Sizes:
    """What one reveal weighs, seen on its way through the client's transport."""
    seen: list[tuple[bytes, Reply]] = []

    class Seeing(Transport):
        async def request(self, method: str, path: str, **arguments: Any) -> Reply:
            reply = await transport.request(method, path, **arguments)
            data = arguments.get("data")
            if isinstance(data, bytes):
                seen.append((data, reply))
            return reply

    account = client.account
    transport = account.transport
    account.transport = Seeing(transport.origin, transport.account, account.identity, account.clock)
    try:
        await client.reveal(NAME)
    finally:
        account.transport = transport
    ((data, reply),) = seen
    submission, outcome = pb.Submission.FromString(data), pb.Outcome.FromString(reply.body)
    known = await client.directory.one(client.secrets.reference(NAME))
    versions = (await account.ask("GET", f"secrets/{known.secret.document.id}/versions")).json()["versions"]
    task = submission.document
    down = Task(digest(task), 1, task, (), (os.urandom(int(versions[-1]["size"])),))
    up = Result(digest(task), 1, outcome.answer, outcome.sealed)
    place = {"v": "x" * 43, "ids": "x" * 26}
    return Sizes(
        request=len(data),
        response=len(reply.body),
        task=task.rindex("."),
        down=sum(wire.ByteSize() for wire in manager_messages(down, 1)),
        up=sum(wire.ByteSize() for wire in delegate_messages(up, 1)),
        answer=outcome.answer.rindex("."),
        output=len(outcome.sealed) - 1137,
        authorization="Bearer " + "x" * 500,
        rows=(
            # task, op, principal, state, code, delegate, times, jti, keyring, summary; then seq, prev, hash, entry.
            (place["v"], "reveal", place["v"], "done", "ok", place["v"], "1", "1", place["ids"], "main", "x" * 60),
            ("1", place["v"], place["v"], "x" * 260),
        ),
    )

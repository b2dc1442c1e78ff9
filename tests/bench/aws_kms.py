"""Figures of `AwsKms`: calls of KMS for 1,000 uses of one secret, and what a use takes beside KMS's own Decrypt.

Calls: a delegate with the default settings asks KMS through a proxy that counts every request, while one secret is revealed
1,000 times, ten at a time; the delegate's own tests of connectors count too.

Latency: moto's server, a manager, and two delegates that ask it straight, one of which keeps no data keys, so that each use
is a cold one. In each round one Decrypt (aiobotocore, its connection kept, the context as long as ours), one cold and one
warm reveal, one after the other, so that a noisy machine disturbs all alike; a secret in `Local` is revealed beside them.
Timed as figure 1 is: from the call to the plaintext, client and manager included. `alone` is the kind by itself, without client,
manager and wires: what its own checks, the record and the cache cost. Moto answers within milliseconds from this
machine, as no KMS does: the ratios are against the quickest provider that there could be.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec
from aiobotocore.session import get_session

from client import Client
from client.manifest import parse
from delegate.clock import Clock
from delegate.data_keys import DataKeys
from delegate.secret_managers.aws_kms import AwsKms
from delegate.secret_managers.interface import SecretVersion
from shared.aad import Aad
from shared.crypto.plaintext import Plaintext
from shared.labels import WRAP
from tests.bench.child import Unmeasured
from tests.bench.report import Row, against_value, beside, info, median, percentile
from tests.bench.rig import Rig
from tests.fakes.faulty_aws import FaultyAws
from tests.fakes.kms import ACCESS_KEY, SECRET_KEY, Kms
from tests.fakes.world import World
from tests.servers.emulators import REGION, Moto

USES = 1_000
AT_ONCE = 10
FIRST = 10
REFERENCE = "account.at_kms"
LOCAL = "account.local_one"


async def measure(quick: bool) -> list[Row]:
    """The figures' rows."""
    rounds = 100 if quick else 200
    async with AsyncExitStack() as stack:
        moto = Moto()
        await asyncio.to_thread(moto.__enter__)
        stack.callback(moto.__exit__, None, None, None)
        key = (await asyncio.to_thread(moto.client("kms").create_key))["KeyMetadata"]["Arn"]
        counting = await stack.enter_async_context(FaultyAws(moto.url))
        rig = await stack.enter_async_context(Rig())
        # What stands between is told to the delegates, never to their connectors.
        await rig.start_delegate(_environ("counted", counting.url))
        await rig.start_delegate(_environ("warm", moto.url))
        await rig.start_delegate(_environ("cold", moto.url, PRIVYSEAL_DELEGATE_DATA_KEY_SECONDS="0"))
        await _secrets(rig.administrator(), key)
        client = rig.reader()
        stored = _count(counting)
        calls = await _calls(client, counting)
        kms = await stack.enter_async_context(
            get_session().create_client(
                "kms",
                region_name=REGION,
                endpoint_url=moto.url,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
            )
        )
        decrypt = await _decrypt(kms, key, rig.account)
        alone = await _alone(moto, key, stack)
        timed: dict[str, Callable[[], Awaitable[object]]] = {
            "decrypt": decrypt,
            "cold": lambda: client.reveal(REFERENCE, selectors=["cold"]),
            "warm": lambda: client.reveal(REFERENCE, selectors=["warm"]),
            "local": lambda: client.reveal(LOCAL, selectors=["warm"]),
            "alone cold": alone[0],
            "alone warm": alone[1],
        }
        taken: dict[str, list[float]] = {name: [] for name in timed}
        for number in range(rounds + FIRST):
            for name, use in timed.items():
                began = time.perf_counter()
                await use()
                if number >= FIRST:
                    taken[name].append((time.perf_counter() - began) * 1000)
    call, cold, warm, local, alone_cold, alone_warm = (median(taken[name]) for name in timed)
    return [
        against_value(f"AwsKms: calls of KMS for {USES:,} uses of one secret", calls, "calls", 2, "at most"),
        info("AwsKms: calls of KMS for storing it", stored, "calls"),
        beside("AwsKms: cold use p50, beside KMS's own Decrypt", cold, "ms", call),
        beside("AwsKms: warm use p50, beside KMS's own Decrypt", warm, "ms", call),
        info("AwsKms: added to Decrypt by a cold use, p50", cold - call, "ms"),
        info("AwsKms: added to Decrypt by a warm use, p50 (below 0: quicker than KMS)", warm - call, "ms"),
        info("AwsKms: cold use p99", percentile(taken["cold"], 99), "ms"),
        info("AwsKms: warm use p99", percentile(taken["warm"], 99), "ms"),
        beside("AwsKms: warm use p50, beside the same reveal from Local", warm, "ms", local),
        beside("AwsKms alone: cold use p50, beside KMS's own Decrypt", alone_cold, "ms", call),
        beside("AwsKms alone: warm use p50, beside KMS's own Decrypt", alone_warm, "ms", call),
    ]


async def _alone(moto: Moto, key: str, stack: AsyncExitStack) -> list[Callable[[], Awaitable[object]]]:
    """A cold and a warm use of the kind in this process."""
    world = World()
    beside_moto = Kms(world, moto.url, Clock())
    connector = beside_moto.connector(kmsArnInPlainText=key)
    access = {"key": Plaintext(ACCESS_KEY.encode()), "account.half": Plaintext(SECRET_KEY.encode())}
    document = world.secret_document("alone", connector=connector.id)
    place = world.place(world.sign(document, world.administrator), 1, "v" * 43)
    version = SecretVersion(document, connector, 1, place)
    uses: list[Callable[[], Awaitable[object]]] = []
    for seconds in (0.0, 300.0):
        surroundings = beside_moto.surroundings(data_keys=DataKeys(Clock(), seconds), randomness=os.urandom)
        manager = AwsKms(connector, surroundings, access)
        stack.push_async_callback(manager.close)
        uses.append(partial(manager.fetch, version, await manager.store(version, Plaintext(b"v" * 40))))
    return uses


def _environ(tag: str, url: str, **more: str) -> dict[str, str]:
    return {"PRIVYSEAL_DELEGATE_TAGS": tag, "PRIVYSEAL_DELEGATE_AWS_ENDPOINTS": url, **more}


async def _secrets(client: Client, key: str) -> None:
    """A connector of that key with an access key of its own, a secret in it, and one in Local."""
    await client.store("account.aws_access_key", ACCESS_KEY.encode())
    await client.store("account.aws_secret_key", SECRET_KEY.encode())
    spec = {
        "credential": {
            "type": "ManualConfig",
            "spec": {"accessKey": "account.aws_access_key", "secretKey": "account.aws_secret_key"},
        },
        "kmsArnInPlainText": key,
        "region": REGION,
    }
    body = {"connector": {"name": "kms", "identifier": "kms", "type": "AwsKms", "spec": spec}}
    await client.connectors.apply(await client.connectors.plan(parse(msgspec.json.encode(body), "bench")))
    await client.store(REFERENCE, b"v" * 40, connector="account.kms", selectors=["counted"])
    await client.store(LOCAL, b"v" * 40)


def _count(counting: FaultyAws) -> int:
    count = len(counting.asked)
    counting.asked.clear()
    return count


async def _calls(client: Client, counting: FaultyAws) -> int:
    """How often KMS was asked while the secret was used so often."""
    began, left = time.monotonic(), iter(range(USES))

    async def use() -> None:
        for _ in left:
            await client.reveal(REFERENCE, selectors=["counted"])

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(use())
    if time.monotonic() - began > 300 or next(left, None) is not None:
        raise Unmeasured("the uses took longer than a data key lives")
    return _count(counting)


async def _decrypt(kms: Any, key: str, account: str) -> Callable[[], Awaitable[object]]:
    """The same call as the delegates', of a data key with a context of the same names and lengths."""
    place = Aad("store", account, "main", "account", "s" * 26, 1, "v" * 43, "c" * 26)
    context = place.encryption_context(WRAP)
    made = await kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)

    async def call() -> object:
        answer = await kms.decrypt(
            KeyId=key,
            CiphertextBlob=made["CiphertextBlob"],
            EncryptionContext=context,
            EncryptionAlgorithm="SYMMETRIC_DEFAULT",
        )
        if answer["Plaintext"] != made["Plaintext"]:
            raise Unmeasured("KMS gave back another key")
        return answer

    return call

"""What a record may call a key of AWS KMS, and which keys a connector takes by those names."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from delegate.clock import Clock
from delegate.credentials.flight import Flight
from delegate.secret_managers.aws_kms import KmsKey, hidden
from delegate.secret_managers.registry import BUILT_IN
from tests.fakes.kms import Kms
from tests.fakes.world import World

KEY = "arn:aws:kms:us-east-1:123456789012:key/0e1f2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
OLD = KEY.replace("0e1f", "ffff")
ALIAS = "arn:aws:kms:us-east-1:123456789012:alias/ours"


@pytest.fixture
def kms() -> Kms:
    return Kms(World(), "http://127.0.0.1:1", Clock())


def test_a_hidden_name_is_the_hash_of_the_arn() -> None:
    assert hidden(KEY) == "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    assert KmsKey(KEY, "the key", secret=True).name_of(KEY) == hidden(KEY)
    assert KmsKey(KEY, "the key", secret=False).name_of(KEY) == KEY


def test_the_configured_key_and_the_listed_ones_are_taken_by_either_name(kms: Kms) -> None:
    for keys in (
        kms.keys(KEY, previousKmsArns=[OLD]),
        kms.keys("a", secrets={"a": KEY.encode()}, previousKmsArns=[OLD]),
    ):
        for name in (KEY, OLD, hidden(KEY), hidden(OLD)):
            assert keys.accepts(name)
        for name in ("", KEY + "0", KEY.upper(), hidden(ALIAS), ALIAS, "sha256:", "local/main/1"):
            assert not keys.accepts(name)


def test_an_alias_takes_any_key_of_its_account_and_region_for_kms_to_judge(kms: Kms) -> None:
    keys = kms.keys(ALIAS)
    for name in (KEY, OLD, hidden(KEY)):
        assert keys.accepts(name)
    for name in (KEY.replace("123456789012", "210987654321"), KEY.replace("us-east-1", "us-east-2"), ALIAS, "x", ""):
        assert not keys.accepts(name)


def test_the_kind_is_built_in() -> None:
    assert BUILT_IN["AwsKms"].value == "delegate.secret_managers.aws_kms:AwsKms"


async def test_all_who_want_something_at_once_share_one_call_and_its_failure() -> None:
    go, made = asyncio.Event(), 0

    async def call() -> int:
        nonlocal made
        made += 1
        await go.wait()
        if made == 2:
            raise ValueError
        return made

    flight = Flight(call)
    for expected in ([1, 1, 1], [ValueError] * 3, [3, 3, 3]):
        go.clear()
        waiting = [asyncio.create_task(flight.result()) for _ in range(4)]
        await asyncio.sleep(0)
        waiting.pop().cancel()
        go.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) if isinstance(one, Exception) else one for one in ended] == expected


async def test_a_call_that_nobody_waits_for_any_more_can_be_ended() -> None:
    flight = Flight(asyncio.Event().wait)
    flight.cancel()
    waiting = asyncio.create_task(flight.result())
    await asyncio.sleep(0)
    flight.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

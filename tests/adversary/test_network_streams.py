"""A manager in the attacker's hands breaks the stream's rules, and uses what delegates prove to it elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.codec import LARGEST_BYTES, DelegateReader, delegate_messages
from shared.crypto.plaintext import Plaintext
from shared.hello import hello_message
from shared.messages import (
    Cancel,
    Challenge,
    Documents,
    Drain,
    FromDelegate,
    FromManager,
    Heartbeat,
    Hello,
    Result,
    Task,
    Welcome,
)
from shared.wire import delegate_pb2, delegate_pb2_grpc
from tests.adversary.evil_manager import Tap, code_of
from tests.adversary.stage import CAPACITY, Stage, until
from tests.adversary.test_network_tasks import stored
from tests.fakes.kinds import Gate
from tests.fakes.world import Version


async def works(stage: Stage, version: Version) -> bool:
    """Whether the delegate does what a granted principal signed."""
    await stage.evil.connected("alpha")
    await stage.teach("alpha")
    task = stage.world.reveal([version])
    result = await stage.evil.give("alpha", task.compact, stored=[version.record.raw])
    return code_of(result) == "ok"


# ---- what a newer manager might say


@pytest.mark.parametrize(
    "unknown",
    [
        b"",
        b"\xa2\x06\x03abc",  # a message of the number 100
        b"\x3a\x00\xa2\x06\x03abc",  # a drain with a field that is too new
        b"\x22\x02\x12\x00",  # documents with a field that is too new, and none that is known
    ],
)
async def test_an_unknown_message_is_ignored_and_the_stream_goes_on(stage: Stage, unknown: bytes) -> None:
    version, tap = await stored(stage), stage.evil.tap("alpha")
    await tap.say(delegate_pb2.FromManager.FromString(unknown))
    assert await works(stage, version)
    assert stage.evil.tap("alpha") is tap, "the stream was dropped"


async def test_a_cancel_of_a_task_that_is_not_there_is_ignored(stage: Stage) -> None:
    version, tap = await stored(stage), stage.evil.tap("alpha")
    await tap.say(Cancel("of nothing", 7))
    await tap.say(Drain())
    await tap.say(Heartbeat(2**31))
    assert await works(stage, version) and stage.evil.tap("alpha") is tap


# ---- breaches: the stream is dropped, the delegate lives


BREACHES: dict[str, list[FromManager | delegate_pb2.FromManager]] = {
    "a second challenge": [Challenge(bytes(32))],
    "a second welcome": [Welcome(1, 1, 0)],
    "a chunk without a beginning": [
        delegate_pb2.FromManager(chunk=delegate_pb2.Chunk(stream=1, index=3, last=True, data=b"x"))
    ],
    "an empty chunk": [delegate_pb2.FromManager(chunk=delegate_pb2.Chunk(stream=1, index=0, last=True))],
    "a chunk that is no message": [
        delegate_pb2.FromManager(chunk=delegate_pb2.Chunk(stream=1, index=0, last=True, data=b"\xff\xff\xff"))
    ],
    "a chunk of chunks": [
        delegate_pb2.FromManager(
            chunk=delegate_pb2.Chunk(
                stream=1,
                index=0,
                last=True,
                data=delegate_pb2.FromManager(
                    chunk=delegate_pb2.Chunk(stream=2, index=0, last=True, data=b"x")
                ).SerializeToString(),
            )
        )
    ],
    "too many begun at once": [
        delegate_pb2.FromManager(chunk=delegate_pb2.Chunk(stream=at, index=0, data=b"x")) for at in range(1, 12)
    ],
    "more documents than any task can pin": [Documents(("x",) * 10_001)],
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_breach_of_the_protocol_ends_the_stream_and_the_delegate_dials_again(stage: Stage, breach: str) -> None:
    version, tap = await stored(stage), stage.evil.tap("alpha")
    with contextlib.suppress(grpc.aio.BaseError):  # it may have hung up before it was told all
        for message in BREACHES[breach]:
            await tap.say(message)
    await until(lambda: not tap.alive, "the stream to be dropped")
    assert await works(stage, version)


async def test_an_endless_message_is_not_kept(stage: Stage) -> None:
    version, tap = await stored(stage), stage.evil.tap("alpha")
    piece = bytes(1024 * 1024)

    async def pour() -> None:
        for at in range(LARGEST_BYTES // len(piece) + 8):
            await tap.say(delegate_pb2.FromManager(chunk=delegate_pb2.Chunk(stream=1, index=at, data=piece)))

    pouring = asyncio.create_task(pour())
    await until(lambda: not tap.alive, "the stream to be dropped")
    pouring.cancel()
    await asyncio.gather(pouring, return_exceptions=True)
    assert await works(stage, version)


async def test_more_tasks_than_the_delegate_gave_credit_for_end_the_stream(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        gate = Gate()
        await stage.delegate("alpha", gate=gate)
        world = stage.world
        connector = world.publish(world.connector_document("gated", type="Gated"))
        version = world.store(world.secret("gated", connector=connector.document.id), b"value")
        await stage.teach("alpha")
        tap = stage.evil.tap("alpha")
        tasks = [world.reveal([version]) for _ in range(CAPACITY + 1)]
        given = [asyncio.create_task(tap.give(one.compact, (), [version.record.raw])) for one in tasks[:CAPACITY]]
        await until(lambda: gate.waiting == CAPACITY, "all places to be taken")
        last = tasks[-1]
        await tap.say(Task(last.digest, 1, last.compact, (), (version.record.raw,)))
        await until(lambda: not tap.alive, "the stream to be dropped")
        assert gate.most == CAPACITY
        # It dials again while all of its places are taken, and has to say so when they are free.
        await until(lambda: any(one.name == "alpha" and one.alive for one in stage.evil.taps), "it to dial again")
        await until(lambda: any(one.name == "alpha" for one in stage.evil.services.fleet), "it to be welcomed")
        gate.opened.set()
        for one in given:
            one.cancel()
        await asyncio.gather(*given, return_exceptions=True)
        assert await works(stage, version)


async def test_documents_that_are_none_are_refused_one_by_one_and_the_stream_goes_on(stage: Stage) -> None:
    version, tap = await stored(stage), stage.evil.tap("alpha")
    genuine = stage.world.documents[0]
    header, payload, signature = genuine.split(".")
    await tap.say(
        Documents(
            (
                "",
                "...",
                "a.b.c",
                "ü.ü.ü",
                genuine + "x",
                f"{header}.{payload}",
                f"{header}.{payload}.{signature[::-1]}",
                "x" * 1_000_000,
            )
        )
    )
    reply = await tap.give("not a task")
    assert isinstance(reply, Result) and code_of(reply) == "malformed"
    assert await works(stage, version) and stage.evil.tap("alpha") is tap


async def test_a_manager_that_asks_for_heartbeats_all_the_time_does_not_get_them(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:

        def hurry(_: Tap, message: FromManager) -> list[FromManager]:
            return [replace(message, heartbeat_ms=0, silence_ms=0) if isinstance(message, Welcome) else message]

        stage.evil.on_down(hurry)
        await stage.delegate("alpha")
        version, tap = await stored(stage), stage.evil.tap("alpha")
        for _ in range(5):
            task = stage.world.reveal([version])
            await tap.give(task.compact, (), [version.record.raw])
        loop = asyncio.get_running_loop()
        began, before = loop.time(), _heartbeats(tap)
        await until(lambda: _heartbeats(tap) > before + 2, "heartbeats")
        assert loop.time() - began > 0.03, "it beats without a pause"


def _heartbeats(tap: Tap) -> int:
    return sum(isinstance(one, Heartbeat) for one in tap.heard)


# ---- what a delegate proved


async def test_a_delegates_proof_is_worth_nothing_at_another_manager(tmp_path: Path) -> None:
    """The attacker dials an honest manager, passes its challenge on, and takes the delegate's answer there."""
    async with Stage(tmp_path / "evil") as evil, Stage(tmp_path / "honest") as honest:
        proofs = asyncio.Queue[Hello]()
        nonce = b""

        def swap(_: Tap, message: FromManager) -> list[FromManager]:
            return [Challenge(nonce) if isinstance(message, Challenge) else message]

        def take(_: Tap, message: FromDelegate) -> list[FromDelegate]:
            if isinstance(message, Hello):
                proofs.put_nowait(message)
            return [message]

        async with _Impostor(honest.evil.delegate_url) as impostor:
            nonce = await impostor.challenge()
            evil.evil.on_down(swap)
            evil.evil.on_up(take)
            await evil.delegate("alpha", keyring=honest.world.keyring, welcome=False)
            hello = await proofs.get()
            assert await impostor.refusal(hello) == "origin_unknown"
        async with _Impostor(honest.evil.delegate_url) as impostor:
            await impostor.challenge()
            lying = replace(hello, origin=honest.evil.delegate_url)
            assert await impostor.refusal(lying) == "signature_invalid"


async def test_a_proof_is_good_for_one_stream(stage: Stage) -> None:
    """Heard once, said again to the same manager."""
    hello = next(one for one in stage.evil.tap("alpha").heard if isinstance(one, Hello))
    async with _Impostor(stage.evil.delegate_url) as impostor:
        await impostor.challenge()
        assert await impostor.refusal(hello) == "signature_invalid"


async def test_a_certificate_that_the_attacker_made_is_refused(stage: Stage) -> None:
    world, mallory = stage.world, stage.mallory
    certificate = world.certificate(mallory, key=mallory.key).compact
    async with _Impostor(stage.evil.delegate_url) as impostor:
        nonce = await impostor.challenge()
        origin = stage.evil.delegate_url
        proof = mallory.sign(hello_message(origin, nonce, certificate))
        assert (
            await impostor.refusal(Hello(certificate, proof, origin, "0", ("Local",), (1,), 8)) == "certifier_unknown"
        )


async def test_a_stolen_certificate_without_its_key_is_refused(stage: Stage) -> None:
    hello = next(one for one in stage.evil.tap("alpha").heard if isinstance(one, Hello))
    async with _Impostor(stage.evil.delegate_url) as impostor:
        nonce = await impostor.challenge()
        proof = stage.mallory.sign(hello_message(hello.origin, nonce, hello.certificate))
        assert await impostor.refusal(replace(hello, proof=proof)) == "signature_invalid"


async def test_a_result_for_a_task_that_the_delegate_was_not_given_ends_its_stream(stage: Stage) -> None:
    """A certified delegate in the attacker's hands answers what another was asked."""
    client = stage.client()
    await client.store("account.token", b"value")
    world = stage.world
    intruder = world.identity("a certified delegate gone bad")
    certificate = world.certificate(key=intruder.key, name="intruder", tags=("intruder",)).compact
    async with _Impostor(stage.evil.delegate_url) as impostor:
        nonce = await impostor.challenge()
        proof = intruder.sign(hello_message(stage.evil.delegate_url, nonce, certificate))
        hello = Hello(certificate, proof, stage.evil.delegate_url, "0", ("Local",), (1,), 8)
        await impostor.say(hello)
        await until(
            lambda: any(one.name == "intruder" for one in stage.evil.services.fleet), "the intruder to be let in"
        )
        assert await impostor.refusal(Result("x" * 43, 1, "a.b.c", b"sealed")) == "protocol_violation"
    assert await client.reveal("account.token") == Plaintext(b"value")


class _Impostor:
    """Dials a manager as a delegate does, and says what it likes."""

    def __init__(self, url: str) -> None:
        self._channel = grpc.aio.insecure_channel(url.removeprefix("http://"))
        self._said: asyncio.Queue[FromDelegate | None] = asyncio.Queue()
        self._reader = DelegateReader()
        self._stub: Callable[..., grpc.aio.StreamStreamCall] = delegate_pb2_grpc.DelegatesStub(self._channel).Connect  # type: ignore[no-untyped-call, type-arg]

    async def __aenter__(self) -> _Impostor:
        self._call = self._stub(self._speaking())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._said.put_nowait(None)
        await self._channel.close(None)

    async def _speaking(self) -> AsyncIterator[delegate_pb2.FromDelegate]:
        while (message := await self._said.get()) is not None:
            for wire in delegate_messages(message, 1):
                yield wire

    async def challenge(self) -> bytes:
        """What the manager wants signed."""
        wire: Any = await self._call.read()
        return bytes(wire.challenge.nonce)

    async def say(self, message: FromDelegate) -> None:
        """Say it."""
        self._said.put_nowait(message)

    async def refusal(self, message: FromDelegate) -> str:
        """Says it and waits for the code with which the manager ends the stream."""
        self._said.put_nowait(message)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self._heard_out()
        return (caught.value.details() or "").partition(":")[0]

    async def _heard_out(self) -> None:
        async with asyncio.timeout(30):
            while await self._call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
                pass

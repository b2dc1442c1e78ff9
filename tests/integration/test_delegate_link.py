"""The stream between a delegate and a manager: greeting, coming back, credit, silence, and what breaks the protocol."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from delegate.link import Pause
from shared.crypto.keyring import Keyring
from shared.documents.certificate import LIFETIME_SECONDS, CertificateDocument
from shared.documents.jws import parse_as
from shared.documents.task import Target
from shared.messages import (
    Cancel,
    Credit,
    Drain,
    Heartbeat,
    Need,
    NewCertificate,
    Result,
    Task,
    Welcome,
)
from shared.wire import delegate_pb2
from tests.fakes.delegates import WorldClock, running
from tests.fakes.manager import Connection, FakeManager, credit_of, read_answer, until
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def events(logs: Iterable[Any], name: str) -> list[Any]:
    return [line for line in logs if line["event"] == name]


async def test_a_hello_says_who_the_delegate_is_and_proves_it(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url):
        link = await manager.connection()
        assert link.hello is not None
        assert (link.hello.origin, link.hello.capacity, link.hello.kinds) == (manager.url, 4, ("Local",))
        assert link.hello.generations == (1,)
        assert link.certificate is not None
        assert set(link.certificate.document.tags) == {"alpha", "eu"}
        await until(lambda: link.session.credits == 4)


async def test_a_delegate_becomes_ready_when_it_has_a_live_status_and_its_keyring(world: World) -> None:
    async with FakeManager(world) as manager:
        async with running(world, manager.url) as daemon:
            assert daemon.ready()[0] is False
            await until(lambda: daemon.ready()[0])
            assert daemon.ready()[1]["link"] == "open"
        assert daemon.ready()[0] is False


async def test_a_delegate_without_a_status_is_not_ready_and_says_why(world: World) -> None:
    class Withholding(FakeManager):
        async def trust(self, connection: Connection) -> None:
            await connection.give([world.account_document.compact])

    async with Withholding(world) as manager, running(world, manager.url) as daemon:
        await until(lambda: daemon.ready()[1].get("code") == "status_missing")
        link = await manager.connection()
        task = world.check(world.connector)
        await link.give([world.connector.compact, world.keyring_document.compact])
        answer = read_answer(world, link, task, await link.perform(task))
        assert answer.code == "not_ready"


async def test_a_delegate_comes_back_when_the_manager_has_vanished_and_returned(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        await manager.connection()
        await manager.stop()
        await until(lambda: not daemon.link.is_open)
        await manager.start()
        link = await manager.connection(after=1)
        task = world.check(world.connector)
        assert read_answer(world, link, task, await link.perform(task)).code == "ok"


async def test_each_new_stream_has_a_challenge_of_its_own_and_the_same_identity(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url):
        first = await manager.connection()
        kid = first.kid
        first.cut()
        second = await manager.connection(after=1)
        assert second.kid == kid
        assert first.hello is not None
        assert second.hello is not None
        assert first.hello.proof != second.hello.proof


async def test_a_hundred_broken_streams_leave_nothing_behind(world: World) -> None:
    def alive() -> int:
        gc.collect()
        return len(asyncio.all_tasks())

    async with FakeManager(world) as manager, running(world, manager.url, backoff_seconds=(0.001, 0.001)):
        (await manager.connection()).cut()
        await manager.connection(after=1)
        before = alive()
        for count in range(2, 102):
            (await manager.connection(after=count - 1)).cut()
        last = await manager.connection(after=101)
        await until(lambda: last.session.credits == 4)
        assert alive() <= before + 5


async def test_a_silent_manager_is_left(world: World) -> None:
    with capture_logs() as logs:
        async with FakeManager(world, silence_ms=200) as manager, running(world, manager.url):
            (await manager.connection()).beats = False
            await manager.connection(after=1)
    assert "silent" in events(logs, "link.lost")[0]["reason"]


async def test_heartbeats_tell_how_many_tasks_run(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url):
        link = await manager.connection()
        beat = await until(lambda: link.heard(Heartbeat))
        assert beat[0].executing == 0


async def test_unknown_messages_are_ignored(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url):
        link = await manager.connection()
        # Field 14 of a later version, and a message with nothing in it.
        await link.say_wire(delegate_pb2.FromManager.FromString(b"\x72\x03abc"))
        await link.say_wire(delegate_pb2.FromManager())
        task = world.check(world.connector)
        assert read_answer(world, link, task, await link.perform(task)).code == "ok"
        assert len(manager.connections) == 1


CHUNK = delegate_pb2.Chunk


@pytest.mark.parametrize(
    "wire",
    [
        delegate_pb2.FromManager(chunk=CHUNK(stream=1, index=1, data=b"x")),
        delegate_pb2.FromManager(chunk=CHUNK(stream=1, index=0, last=True, data=b"\xff\xff\xff")),
        delegate_pb2.FromManager(chunk=CHUNK(stream=1, index=0)),
        delegate_pb2.FromManager(welcome=delegate_pb2.Welcome(heartbeat_ms=1)),
        delegate_pb2.FromManager(challenge=delegate_pb2.Challenge(nonce=b"x" * 32)),
    ],
)
async def test_a_breach_of_the_protocol_ends_the_stream(world: World, wire: delegate_pb2.FromManager) -> None:
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url):
            await (await manager.connection()).say_wire(wire)
            await manager.connection(after=1)
    assert events(logs, "link.failed")[0]["code"] in {"protocol_violation", "message_malformed"}


async def test_more_tasks_than_credit_end_the_stream(world: World) -> None:
    version = world.store(world.secret("file"), bytes(9_000_000))
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url, capacity=1):
            link = await manager.connection()
            link.strict = False
            await link.give([version.secret.compact, world.connector.compact])
            for task, inputs in ((version.task, (version.input.raw,)), (world.check(world.connector), ())):
                await link.say(Task(task.digest, 1, task.compact, inputs), recorded=False)
            await manager.connection(after=1)
    assert events(logs, "link.failed")[0]["code"] == "protocol_violation"


async def test_a_manager_that_speaks_of_tasks_before_its_welcome_is_left(world: World) -> None:
    class Hasty(FakeManager):
        async def welcome(self, connection: Connection) -> None:
            task = world.check(world.connector)
            await connection.say(Task(task.digest, 1, task.compact), recorded=False)
            await super().welcome(connection)

    async with Hasty(world) as manager, running(world, manager.url) as daemon:
        await until(lambda: len(manager.connections) >= 3)
        assert daemon.runner.executing == 0


async def test_absurd_intervals_in_a_welcome_are_bounded(world: World) -> None:
    class Absurd(FakeManager):
        async def welcome(self, connection: Connection) -> None:
            await connection.say(Welcome(0, 0, world.now))

    async with Absurd(world, heartbeat_ms=20) as manager, running(world, manager.url):
        link = await manager.connection()
        await until(lambda: len(link.heard(Heartbeat)) >= 2)
        assert len(link.heard(Heartbeat)) < 50


async def test_a_skewed_clock_is_warned_of(world: World) -> None:
    clock = WorldClock(world)
    clock.ahead = 60
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url, clock=clock) as daemon:
            await until(lambda: daemon.ready()[0])
    assert events(logs, "clock.skewed")[0]["seconds"] == -60


async def test_credit_never_exceeds_the_capacity_and_comes_back_with_each_reply(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url, capacity=2):
        link = await manager.connection()
        for _ in range(5):
            task = world.check(world.connector)
            assert read_answer(world, link, task, await link.perform(task)).code == "ok"
            await until(lambda: link.session.credits == 2)
            replies = len(link.heard(Result)) + len(link.heard(Need))
            assert credit_of(link) == 2 + replies
        assert all(credit.tasks <= 2 for credit in link.heard(Credit))


async def test_a_drain_from_the_manager_does_not_stop_the_delegate(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        link = await manager.connection()
        await link.say(Drain())
        await link.say(Cancel("unknown", 1))
        await until(lambda: len(link.heard(Heartbeat)) >= 2)
        assert daemon.link.is_open


async def test_a_draining_delegate_answers_a_task_that_crossed_its_drain(world: World) -> None:
    async with FakeManager(world) as manager, running(world, manager.url) as daemon:
        link = await manager.connection()
        await until(lambda: link.session.credits)
        daemon.link.drain()
        await until(lambda: link.heard(Drain))
        await daemon.runner.drain(0)
        task = world.check(world.connector)
        await link.say(Task(task.digest, 1, task.compact))
        assert read_answer(world, link, task, await link.reply(task.digest)).code == "unavailable"


async def test_a_certificate_is_renewed_at_half_its_life(world: World) -> None:
    clock = WorldClock(world)
    async with FakeManager(world) as manager, running(world, manager.url, clock=clock) as daemon:
        link = await manager.connection()
        first = link.certificate
        clock.ahead = LIFETIME_SECONDS // 2
        world.now += clock.ahead
        clock.ahead = 0
        daemon.wake()
        await until(lambda: link.heard(NewCertificate))
        await until(lambda: link.certificate is not first)
        assert link.certificate is not None
        assert link.certificate.document.exp == world.now + LIFETIME_SECONDS


async def test_a_delegate_whose_file_is_ahead_of_the_account_greets_with_the_older_generation(world: World) -> None:
    ahead = world.keyring.rotated(world.seed("generation 2"))
    async with FakeManager(world) as manager, running(world, manager.url, keyring=ahead) as daemon:
        link = await manager.connection()
        assert "certifier_unknown" in manager.refused
        assert link.certificate is not None
        assert link.certificate.document.gen == 1
        await until(lambda: daemon.ready()[0])
        await link.give([world.rotate().compact])
        await until(lambda: link.heard(NewCertificate))
        await until(lambda: link.certificate is not None and link.certificate.document.gen == 2)


async def test_a_delegate_with_another_accounts_keyring_is_told_so(world: World) -> None:
    stranger = World(name="another account")
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(stranger, manager.url) as daemon:
            await until(lambda: daemon.link.state == "certifier_unknown")
            assert daemon.ready()[0] is False
            assert daemon.ready()[1]["link"] == "certifier_unknown"
    line = events(logs, "link.failed")[0]
    assert "keyring" in line["reason"]


async def test_a_keyring_with_the_right_name_and_other_keys_is_alarming(world: World) -> None:
    class Trusting(FakeManager):
        def check(self, certificate: str) -> Any:
            parsed = parse_as(CertificateDocument, certificate)
            return parsed.verified_by(other.newest.certifying.public)

    other = Keyring(world.id, world.keyring.name, [(1, world.seed("other keys"))])
    async with Trusting(world) as manager, running(world, manager.url, keyring=other) as daemon:
        await until(lambda: daemon.ready()[1].get("code") == "keyring_mismatch")


async def test_documents_that_go_back_in_time_are_alarmed_and_not_taken(world: World) -> None:
    old = world.status
    world.revise_status(grants=(world.opaque("revoked"),))
    forked = world.next(old, grants=(), exp=old.document.exp)
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url) as daemon:
            link = await manager.connection()
            await until(lambda: daemon.trust.book.status is not None and daemon.trust.book.status.document.rev == 2)
            lower = world.sign(structs.replace(old.document, exp=old.document.exp - 1), world.administrator)
            await link.give([lower.compact, forked.compact])
            await until(lambda: len(events(logs, "trust.alarmed")) >= 2)
            assert daemon.trust.book.status is not None
            assert daemon.trust.book.status.document.rev == 2
    assert {line["code"] for line in events(logs, "trust.alarmed")} == {"status_rolled_back", "status_forked"}


def test_the_pause_between_streams_grows_and_is_random() -> None:
    pause = Pause(0.5, 30.0)
    bounds = [pause.after(failures, lambda low, high: high) for failures in range(10)]
    assert bounds == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert pause.after(10_000, lambda low, high: low) == 0.0


class LeapingClock(WorldClock):
    """Its monotonic clock can be set forward."""

    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leap


async def test_a_stream_that_lasted_is_followed_by_the_shortest_pause(world: World) -> None:
    clock = LeapingClock(world)
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url, clock=clock):
            for count in range(3):
                (await manager.connection(after=count)).cut()
            link = await manager.connection(after=3)
            clock.leap = 60.0
            link.cut()
            await manager.connection(after=4)
    assert [line["count"] for line in events(logs, "link.paused")][:4] == [1, 2, 3, 0]


async def test_a_status_that_ends_soon_is_warned_of(world: World) -> None:
    with capture_logs() as logs:
        async with FakeManager(world) as manager, running(world, manager.url) as daemon:
            await until(lambda: daemon.ready()[0])
            world.now += 61 * 86_400
            daemon.wake()
            await until(lambda: events(logs, "status.expiring"))
            world.now += 30 * 86_400
            daemon.wake()
            await until(lambda: events(logs, "delegate.unready"))
    assert events(logs, "status.expiring")[0]["seconds"] == 29 * 86_400
    assert events(logs, "delegate.unready")[0]["code"] == "status_expired"


async def test_a_deletion_is_not_run_again_on_a_new_stream(world: World) -> None:
    task = world.task("delete", [Target(secret=world.secret("password").document.id)])
    async with FakeManager(world) as manager, running(world, manager.url):
        link = await manager.connection()
        assert read_answer(world, link, task, await link.perform(task)).code == "ok"
        link.cut()
        link = await manager.connection(after=1)
        assert read_answer(world, link, task, await link.perform(task)).code == "conflict"

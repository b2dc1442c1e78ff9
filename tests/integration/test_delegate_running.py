"""Many tasks at once, slow ones, cancelled ones, and the end of a delegate while they run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from delegate.daemon import Daemon
from delegate.policy import LocalPolicy
from shared.crypto.plaintext import Plaintext
from shared.documents.certificate import LIFETIME_SECONDS
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError, Unavailable
from shared.messages import Cancel, Drain, Heartbeat, Result
from tests.fakes.delegates import running
from tests.fakes.kinds import Gate
from tests.fakes.manager import Connection, FakeManager, read_answer, until
from tests.fakes.world import Version, World

POLICY = LocalPolicy.parse('kinds = ["*"]', ["Local"])


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def gated(world: World, gate: Gate, **changes: Any) -> AsyncIterator[tuple[FakeManager, Connection, Daemon]]:
    """A delegate with the kind `Gated`, which has the documents of this world's connectors and secrets."""
    async with (
        FakeManager(world) as manager,
        running(world, manager.url, kinds=gate.kinds(), policy=POLICY, **changes) as daemon,
    ):
        yield manager, await manager.connection(), daemon


def slow_check(world: World) -> Verified[TaskDocument]:
    """A task that ends when the gate opens."""
    if "gated" not in world.__dict__:
        world.__dict__["gated"] = world.publish(world.connector_document("gated", type="Gated"))
    return world.check(world.__dict__["gated"])


async def start(link: Connection, task: Verified[TaskDocument], attempt: int = 1) -> str:
    return (await link.start(task, attempt=attempt)).id


async def test_tasks_run_side_by_side_up_to_the_capacity_and_no_further(world: World) -> None:
    gate = Gate()
    tasks = [slow_check(world) for _ in range(5)]
    async with gated(world, gate, capacity=3) as (_, link, daemon):
        await link.give(world.documents)
        for task in tasks[:3]:
            await start(link, task)
        await until(lambda: gate.waiting == 3)
        assert link.session.credits == 0
        assert daemon.runner.executing == 3
        await until(lambda: [beat for beat in link.heard(Heartbeat) if beat.executing == 3])
        gate.opened.set()
        for task in tasks[:3]:
            assert read_answer(world, link, task, await link.reply(task.digest)).code == "ok"
        for task in tasks[3:]:
            assert read_answer(world, link, task, await link.perform(task)).code == "ok"
        assert gate.most == 3


async def test_targets_that_wait_are_done_at_once_as_far_as_their_manager_allows(world: World) -> None:
    gate = Gate(concurrency=4)
    connector = world.publish(world.connector_document("gated", type="Gated"))
    secrets = [world.secret(f"s{number}", connector=connector.document.id) for number in range(20)]
    versions: list[Version] = [world.store(secret, b"value %d" % at) for at, secret in enumerate(secrets)]
    gate.opened.set()
    async with gated(world, gate) as (_, link, _daemon):
        task = world.reveal(versions)
        answer = read_answer(world, link, task, await link.perform(task, (), [one.record.raw for one in versions]))
        assert answer.items == [Plaintext(b"value %d" % number) for number in range(20)]
        assert gate.most <= 4


async def test_a_cancelled_task_ends_and_gives_its_place_back(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    async with gated(world, gate, capacity=1) as (_, link, daemon):
        await link.give(world.documents)
        id = await start(link, task)
        await until(lambda: gate.waiting == 1)
        await link.say(Cancel(id, 1))
        assert read_answer(world, link, task, await link.reply(id)).code == "conflict"
        await until(lambda: daemon.runner.executing == 0 and link.session.credits == 1)
        gate.opened.set()
        again = slow_check(world)
        assert read_answer(world, link, again, await link.perform(again)).code == "ok"


async def test_a_task_that_takes_too_long_is_ended(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    async with gated(world, gate, task_seconds=0.05) as (_, link, daemon):
        await link.give(world.documents)
        id = await start(link, task)
        assert read_answer(world, link, task, await link.reply(id)).code == "unavailable"
        assert gate.waiting == 0
        await until(lambda: daemon.runner.executing == 0)


async def test_a_task_is_delivered_again_while_it_runs_and_runs_once(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    async with gated(world, gate) as (manager, link, _daemon):
        await link.give(world.documents)
        await start(link, task)
        await until(lambda: gate.waiting == 1)
        link.cut()
        second = await manager.connection(after=1)
        await until(lambda: second.session.credits == 3)
        id = await start(second, task, attempt=2)
        gate.opened.set()
        reply = await second.reply(id)
        assert (read_answer(world, second, task, reply).code, reply.attempt, gate.most) == ("ok", 2, 1)
        await until(lambda: second.session.credits == 4)


async def test_a_result_for_a_stream_that_ended_is_not_sent_to_the_next(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    async with gated(world, gate) as (manager, link, daemon):
        await link.give(world.documents)
        await start(link, task)
        await until(lambda: gate.waiting == 1)
        link.cut()
        second = await manager.connection(after=1)
        gate.opened.set()
        await until(lambda: daemon.runner.executing == 0)
        other = world.check(world.connector)
        assert read_answer(world, second, other, await second.perform(other)).code == "ok"
        assert [result.id for result in second.heard(Result)] == [other.digest]
        assert second.violation is None


async def test_a_delegate_that_ends_lets_its_tasks_end_and_tells_the_manager(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    with capture_logs() as logs:
        async with FakeManager(world) as manager:
            async with running(world, manager.url, kinds=gate.kinds(), policy=POLICY, drain_seconds=15.0) as daemon:
                link = await manager.connection()
                await link.give(world.documents)
                id = await start(link, task)
                await until(lambda: gate.waiting == 1)
                daemon.end()
                await until(lambda: link.heard(Drain))
                assert daemon.ready()[1]["draining"] is True
                gate.opened.set()
                assert read_answer(world, link, task, await link.reply(id)).code == "ok"
            await until(lambda: link.ended)
            assert len(manager.connections) == 1
    assert not [line for line in logs if line["event"] == "delegate.cut_off"]


async def test_a_task_that_does_not_end_in_time_is_answered_as_unavailable(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    with capture_logs() as logs:
        async with gated(world, gate, drain_seconds=0.05) as (_, link, daemon):
            await link.give(world.documents)
            id = await start(link, task)
            await until(lambda: gate.waiting == 1)
            daemon.end()
            assert read_answer(world, link, task, await link.reply(id)).code == "unavailable"
    assert [line["count"] for line in logs if line["event"] == "delegate.cut_off"] == [1]


async def test_a_delegate_that_is_told_twice_to_end_waits_no_longer(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    async with gated(world, gate, drain_seconds=3_600.0) as (_, link, daemon):
        await link.give(world.documents)
        id = await start(link, task)
        await until(lambda: gate.waiting == 1)
        daemon.end()
        await until(lambda: link.heard(Drain))
        daemon.end()
        assert read_answer(world, link, task, await link.reply(id)).code == "unavailable"


@pytest.mark.parametrize(
    ("failure", "code"),
    [(ValueError("hunter2"), "internal"), (Unavailable("provider_down", "the provider is down"), "unavailable")],
)
async def test_a_failure_in_a_kind_is_a_code_and_repeats_no_text(world: World, failure: Exception, code: str) -> None:
    gate, task = Gate(), slow_check(world)
    gate.failure = failure
    gate.opened.set()
    with capture_logs() as logs:
        async with gated(world, gate) as (_, link, _daemon):
            answer = read_answer(world, link, task, await link.perform(task))
    assert answer.code == code
    item = answer.items[0]
    assert isinstance(item, PrivySealError)
    assert "hunter2" not in item.detail
    assert bool([line for line in logs if line["event"] == "task.crashed"]) == (code == "internal")


async def test_each_task_leaves_one_line_in_the_log(world: World) -> None:
    with capture_logs() as logs:
        async with gated(world, Gate()) as (_, link, _daemon):
            task = world.check(world.connector)
            await link.perform(task)
    lines = [line for line in logs if line["event"] == "task.finished"]
    assert [(line["task"], line["op"], line["code"], line["targets"]) for line in lines] == [
        (task.digest, "check", "ok", 1)
    ]


async def test_a_task_whose_time_ran_out_is_told_with_what_was_known_of_it(world: World) -> None:
    gate, task = Gate(), slow_check(world)
    with capture_logs() as logs:
        async with gated(world, gate, task_seconds=2.0) as (_, link, daemon):
            await link.give(world.documents)
            await link.reply(await start(link, task))
            await until(lambda: [line for line in logs if line["event"] == "task.finished"])
            text = daemon._metrics.exposition().decode()
    (line,) = [line for line in logs if line["event"] == "task.finished"]
    assert (line["op"], line["code"], line["targets"], line["thumbprint"]) == ("check", "unavailable", 1, task.kid)
    assert 0 < line["verify_ms"] < line["execution_ms"] < line["duration_ms"]
    assert 'privyseal_delegate_tasks_timed_out_total{op="check"} 1.0' in text
    assert 'privyseal_delegate_provider_errors_total{call="check",error="cancelled",kind="Gated"} 1.0' in text


async def test_metrics_count_what_was_done_and_what_was_refused(world: World) -> None:
    async with gated(world, Gate()) as (_, link, daemon):
        await link.perform(world.check(world.connector))
        await link.perform(world.check(world.connector, exp=world.now - 1, iat=world.now - 2))
        # Its answer may be read before its sender goes on.
        await until(lambda: daemon.runner.executing == 0)
        text = daemon._metrics.exposition().decode()
    assert 'privyseal_delegate_tasks_completed_total{op="check"} 1.0' in text
    assert 'code="expired",op="check"} 1.0' in text
    assert "privyseal_delegate_tasks_executing 0.0" in text
    assert "privyseal_delegate_connected 1.0" in text
    shown = dict(re.findall(r'^privyseal_delegate_soonest_expiry_seconds{kind="(\w+)"} (\S+)$', text, re.MULTILINE))
    assert shown.keys() == {"certificate", "status"}
    assert abs(float(shown["status"]) - (world.status.document.exp - daemon._clock.now())) < 30
    assert 0 < float(shown["certificate"]) <= LIFETIME_SECONDS
    assert 'privyseal_delegate_provider_seconds_count{call="check",kind="Local"} 1.0' in text
    assert "privyseal_delegate_managers_misses_total 1.0" in text


async def test_a_bug_in_the_link_is_logged_and_the_delegate_comes_back(world: World) -> None:
    async with gated(world, Gate()) as (manager, link, daemon):
        taking = daemon.trust.take

        async def failing(_: Any) -> None:
            daemon.trust.take = taking  # type: ignore[method-assign]
            raise RuntimeError("a bug")

        daemon.trust.take = failing  # type: ignore[method-assign,assignment]
        with capture_logs() as logs:
            await link.give([world.connector.compact])
            await manager.connection(after=1)
        assert [line for line in logs if line["event"] == "link.crashed"]
        await until(lambda: daemon.ready()[0])

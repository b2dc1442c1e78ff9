"""Delegates over their limits, a real manager and its full lines: who is passed over, who waits, who is sent away and comes back."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from client.account import Account
from client.dispatch import perform
from client.outcomes import Opened
from client.state import State
from client.tasks import SignedTask, Subject, sign_task
from client.transport import Transport
from delegate.daemon import Daemon
from delegate.load import SAMPLES
from delegate.policy import LocalPolicy
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey
from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified, parse_as
from shared.documents.task import TaskDocument
from shared.errors import Overloaded
from shared.messages import Credit, Heartbeat, Task
from shared.wire import submission_pb2 as pb
from tests.adversary.test_network_claims import answering
from tests.fakes.delegates import running as delegate_of
from tests.fakes.kinds import Gate
from tests.fakes.load import Dial
from tests.fakes.manager import FakeManager, read_answer, until
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.world import World

POLICY = LocalPolicy.parse('kinds = ["*"]', ["Local"])


class One:
    """A delegate in this process and its dial."""

    def __init__(self, daemon: Daemon, dial: Dial, gate: Gate) -> None:
        self.daemon, self.dial, self.gate = daemon, dial, gate

    def uses(self, memory_percent: float) -> None:
        """So much, for as long as it takes to count."""
        self.dial.memory_percent = memory_percent
        for _ in range(SAMPLES):
            self.daemon._load.look()


@asynccontextmanager
async def delegate(world: World, url: str, name: str, **changes: Any) -> AsyncIterator[One]:
    dial, gate = Dial(), Gate()
    options: dict[str, Any] = {"cpu_limit_percent": 80, "memory_limit_percent": 80, "policy": POLICY, **changes}
    async with delegate_of(
        world, url, kinds=gate.kinds(), measured=dial, randomness=secrets.token_bytes, name=name, **options
    ) as daemon:
        yield One(daemon, dial, gate)


class Site:
    """A manager with two delegates, and whoever submits to it."""

    def __init__(self, manager: Manager, alpha: One, beta: One) -> None:
        self.manager, self.alpha, self.beta = manager, alpha, beta
        self.connector = manager.world.publish(manager.world.connector_document("gated", type="Gated"))

    def check(self) -> Verified[TaskDocument]:
        return self.manager.world.check(self.connector)

    async def submit(self, task: Verified[TaskDocument], wait: int = 10) -> tuple[int, Any, dict[str, str]]:
        """Status, outcome or problem, and headers."""
        body = pb.Submission(document=task.compact).SerializeToString()
        headers = {**self.manager.bearer(), "Content-Type": "application/x-protobuf"}
        url = f"{self.manager.url}/v1/accounts/{self.manager.world.id}/tasks?wait={wait}"
        async with self.manager.http.post(url, data=body, headers=headers) as reply:
            content = await reply.read()
            told = pb.Outcome.FromString(content) if reply.status < 300 else await reply.json(content_type=None)
            return reply.status, told, dict(reply.headers)

    async def queued(self, task: Verified[TaskDocument]) -> None:
        """Until it waits for a delegate."""
        async with asyncio.timeout(30):
            while True:
                status, told = await self.manager.call("GET", f"tasks/{task.digest}")
                if status == 200 and told["state"] == "queued":
                    return
                await asyncio.sleep(0.01)

    async def rows(self) -> dict[str, Any]:
        """What `delegate list` has, by name."""
        status, told = await self.manager.call("GET", "delegates")
        assert status == 200
        return {one["name"]: one for one in told["delegates"]}

    async def seen_over(self, *names: str) -> None:
        """Until the manager knows that these, and no others, are over."""
        async with asyncio.timeout(30):
            while True:
                rows = await self.rows()
                over = {name for name, one in rows.items() if one["memory"] and one["memory"]["over"]}
                if len(rows) == 2 and over == set(names):
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    world = World(now=int(time.time()))
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(running_manager(tmp_path, world, waiting=1))
        url = None
        await found(manager)
        url = manager.configuration.delegate_urls[0]
        alpha = await stack.enter_async_context(delegate(world, url, "alpha"))
        beta = await stack.enter_async_context(delegate(world, url, "beta"))
        one = Site(manager, alpha, beta)
        status, told = await manager.call("POST", "documents", json={"documents": [one.connector.compact]})
        assert status < 300, told
        alpha.gate.opened.set()
        beta.gate.opened.set()
        await until(lambda: alpha.daemon.link.is_open and beta.daemon.link.is_open)
        await one.seen_over()
        yield one


async def metric(site: Site, name: str) -> float:
    async with site.manager.http.get(f"{site.manager.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


async def test_one_over_its_limit_is_passed_over_and_seen_by_everybody(site: Site) -> None:
    site.alpha.uses(95)
    await site.seen_over("alpha")
    assert (await site.rows())["alpha"]["memory"] == {"percent": 95, "limit_percent": 80, "over": True}
    assert await metric(site, 'privyseal_manager_delegates_over_limit{resource="memory"}') == 1
    for _ in range(6):
        status, outcome, _ = await site.submit(site.check())
        assert (status, outcome.code) == (200, "ok")
    assert site.alpha.gate.most == 0
    ready, facts = site.alpha.daemon.ready()
    assert ready
    assert (facts["memory_percent"], facts["over_limit"]) == (95, "memory")
    site.alpha.uses(20)
    await site.seen_over()
    assert await metric(site, 'privyseal_manager_delegates_over_limit{resource="memory"}') == 0


async def test_when_all_are_over_a_task_waits_the_next_is_sent_away_and_both_are_done_after(site: Site) -> None:
    site.alpha.uses(95)
    site.beta.uses(90)
    await site.seen_over("alpha", "beta")
    first, late = site.check(), site.check()
    await site.submit(first, wait=0)
    await site.queued(first)
    status, told, headers = await site.submit(late)
    assert status == 429
    assert (told["code"], told["title"]) == ("queue_full", "Overloaded")
    assert headers["Retry-After"] == str(told["retry_after"])
    assert 1 <= told["retry_after"] <= 60
    site.beta.uses(10)
    status, outcome, _ = await site.submit(first)
    assert (status, outcome.code) == (200, "ok")
    # The very task that was sent away is as good as before.
    status, outcome, _ = await site.submit(late)
    assert (status, outcome.code) == (200, "ok")
    assert site.alpha.gate.most == 0


async def test_tasks_that_run_go_on_over_the_limit(site: Site) -> None:
    site.beta.uses(95)
    await site.seen_over("beta")
    site.alpha.gate.opened.clear()
    running = asyncio.create_task(site.submit(site.check()))
    await until(lambda: site.alpha.gate.waiting == 1)
    site.alpha.uses(95)
    await site.seen_over("alpha", "beta")
    assert not running.done()
    site.alpha.gate.opened.set()
    status, outcome, _ = await running
    assert (status, outcome.code) == (200, "ok")


async def test_who_leaves_while_it_is_over_is_counted_no_more(site: Site) -> None:
    site.alpha.uses(95)
    await site.seen_over("alpha")
    site.alpha.daemon.end()
    async with asyncio.timeout(30):
        while await metric(site, 'privyseal_manager_delegates_over_limit{resource="memory"}') != 0:
            await asyncio.sleep(0.01)
    assert (await site.rows())["alpha"]["memory"] is None


async def test_a_task_that_crosses_is_answered_overloaded_with_the_time_and_sealed() -> None:
    world, dial = World(), Dial()
    async with (
        FakeManager(world) as manager,
        delegate_of(world, manager.url, measured=dial, memory_limit_percent=80) as daemon,
    ):
        link = await manager.connection()
        one = One(daemon, dial, Gate())
        task = world.check(world.connector)
        await until(lambda: link.session.credits)
        one.uses(95)
        await until(lambda: [beat for beat in link.heard(Heartbeat) if beat.is_over])
        assert not link.session.takes_tasks
        # The documents aren't there yet: not worth asking for now.
        await link.say(Task(task.digest, 1, task.compact))
        early = await link.reply(task.digest)
        answer = parse_as(AnswerDocument, early.answer).document  # type: ignore[union-attr]
        assert (answer.code, answer.sealed) == ("overloaded", None)
        await link.give(world.documents)
        again, before = world.check(world.connector), len(link.received)
        await link.say(Task(again.digest, 1, again.compact))
        told = read_answer(world, link, again, await link.reply(again.digest, before))
        (why,) = told.items
        assert isinstance(why, Overloaded)
        assert (told.code, why.code, why.facts) == ("overloaded", "delegate_overloaded", {"retry_after": 6})
        given = sum(credit.tasks for credit in link.heard(Credit))
        one.uses(10)
        await until(lambda: sum(credit.tasks for credit in link.heard(Credit)) > given)
        assert not link.heard(Heartbeat)[-1].is_over
        third = world.check(world.connector)
        assert read_answer(world, link, third, await link.perform(third)).code == "ok"
        assert 'tasks_rejected_total{code="overloaded"' in daemon._metrics.exposition().decode()


async def test_a_delegate_that_comes_over_its_limit_says_so_before_its_first_credit() -> None:
    world, dial = World(), Dial()
    async with (
        FakeManager(world) as manager,
        delegate_of(world, manager.url, measured=dial, memory_limit_percent=80) as daemon,
    ):
        first = await manager.connection()
        One(daemon, dial, Gate()).uses(95)
        before = len(manager.connections)
        first.cut()
        link = await manager.connection(before)
        await until(lambda: link.heard(Heartbeat))
        assert link.heard(Heartbeat)[0].is_over
        assert link.heard(Credit) == []


async def test_a_manager_with_as_many_requests_as_it_serves_says_when_to_come_back(tmp_path: Path) -> None:
    world = World(now=int(time.time()))
    async with running_manager(tmp_path, world, connections=3) as one:
        taken = [await asyncio.open_connection(*one.configuration.http) for _ in range(3)]
        async with asyncio.timeout(30):
            while True:
                async with one.http.get(f"{one.url}/healthz") as reply:
                    if reply.status != 200:
                        break
        problem = await reply.json(content_type=None) if reply.content_length and not reply.closed else {}
        assert (reply.status, reply.headers["Retry-After"]) == (429, "5")
        assert reply.content_type == "application/problem+json"
        assert not problem or problem["retry_after"] == 5
        for _, writer in taken:
            writer.close()
        async with asyncio.timeout(30):
            while True:
                async with one.http.get(f"{one.url}/healthz") as reply:
                    if reply.status == 200:
                        return


def refusing(times: int, asked: list[float]) -> Any:
    """An answer that is 429 with a second's advice so often, then empty JSON."""

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.append(asyncio.get_running_loop().time())
        body = b'{"title":"Overloaded","code":"queue_full","detail":"full","retry_after":"soon"}'
        status, headers = (429, b"Retry-After: 1\r\n") if len(asked) <= times else (200, b"")
        content = body if status == 429 else b"{}"
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Type: application/problem+json\r\nConnection: close\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status, headers, len(content), content)
        )
        await writer.drain()

    return answer


@asynccontextmanager
async def asking(port: int, world: World) -> AsyncIterator[Account]:
    transport = Transport(f"http://127.0.0.1:{port}", world.id, world.administrator, lambda: world.now)
    try:
        yield Account(transport, world.administrator, State(world.id), lambda: world.now)
    finally:
        await transport.close()


async def test_a_client_that_is_sent_away_comes_back_when_it_was_told_to() -> None:
    asked: list[float] = []
    async with answering(refusing(1, asked)) as port, asking(port, World()) as account:
        await account.ask("POST", "tasks", data=b"", repeatable=True)
    assert len(asked) == 2
    assert 0.99 <= asked[1] - asked[0] < 5


async def test_what_may_not_happen_twice_is_not_asked_again() -> None:
    asked: list[float] = []
    async with answering(refusing(9, asked)) as port, asking(port, World()) as account:
        with pytest.raises(Overloaded) as refused:
            await account.ask("POST", "tasks", data=b"", repeatable=False)
    assert len(asked) == 1
    assert refused.value.facts == {"unsigned": True, "retry_after": 1}


async def test_a_client_waits_no_longer_than_it_has_patience() -> None:
    asked: list[float] = []
    async with answering(refusing(9, asked)) as port, asking(port, World()) as account:
        with pytest.raises(Overloaded):
            await account.ask("POST", "tasks", data=b"", repeatable=True, patience_seconds=1.5)
    assert len(asked) == 2


@pytest.mark.parametrize("repeat", ["any", "never"])
async def test_a_task_that_a_delegate_was_too_loaded_for_is_signed_anew_where_it_may_happen_twice(repeat: str) -> None:
    world, tried = World(), []
    subject = Subject(world.secret("token"), world.connector, 1, digest("x.y.z"), latest=True)

    def make() -> SignedTask:
        op: Any = "reveal" if repeat == "any" else "delete"
        to = None if repeat == "any" else world.delegate.kid
        reader = SealingKey(secrets.token_bytes(32))
        return sign_task(world.book(), world.administrator, op, [subject], reader, world.now, to=to)

    async def run(_account: Account, task: SignedTask, _seconds: float) -> Opened:
        tried.append(task.digest)
        if len(tried) == 1:
            raise Overloaded("delegate_overloaded", "too much", retry_after=1)
        return Opened("kid", "alpha", "ok", (Plaintext(b"value"),))

    async def learn(_facts: Any) -> None: ...

    async with asking(1, world) as account:
        if repeat == "any":
            _, opened = await perform(account, make, learn, 30.0, run=run)
            assert opened.code == "ok"
            assert len(set(tried)) == 2
        else:
            with pytest.raises(Overloaded):
                await perform(account, make, learn, 30.0, run=run)
            assert len(tried) == 1

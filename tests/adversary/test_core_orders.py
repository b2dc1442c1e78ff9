"""A delegate's heart is handed runs of orders: none that its owner didn't order for now, and none twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shared.aad import Aad
from shared.canonical import b64u, digest, encode, unb64u
from shared.crypto.output import unpack
from shared.crypto.seal import SealingKey
from shared.documents.answer import AnswerDocument
from shared.documents.jws import Verified, parse_as
from shared.documents.order import LONGEST_ORDER_SECONDS, OrderDocument
from shared.errors import PrivySealError
from shared.labels import ANSWER
from shared.messages import Result, Task
from shared.orders import run_id
from shared.values import Sealed
from tests.fakes.heart import Heart
from tests.fakes.standing import HOUR, checking, crafted, order_document, order_of, owned
from tests.fakes.world import World


class Ordered(Heart):
    """One delegate of the world that is handed runs."""

    async def answer(
        self, compact: str, n: int, named: str | None = None, inputs: Sequence[bytes] = (), stored: Sequence[bytes] = ()
    ) -> Result:
        """What it sends the manager for run `n`."""
        id = named or run_id(digest(compact), n)
        return await self.given(Task(id, 1, compact, tuple(inputs), tuple(stored), run=n + 1))

    async def run(self, order: Verified[OrderDocument], n: int, **given: Any) -> str:
        """`ok`, or the codes that it sealed to the reader."""
        result = await self.answer(order.compact, n, **given)
        document, id = order.document, run_id(order.digest, n)
        assert parse_as(AnswerDocument, result.answer).document.task == id
        place = Aad("answer", document.acct, document.keyring, version=id)
        items = unpack(self._world.reader.open(Sealed(result.sealed), place.encode(ANSWER)))
        return "+".join(one.code for one in items if isinstance(one, PrivySealError)) or "ok"


def rewritten(compact: str, **changes: Any) -> str:
    """The order with other claims, and with the signature that it had."""
    header, payload, signature = compact.split(".")
    return f"{header}.{b64u(encode({**json.loads(unb64u(payload)), **changes}))}.{signature}"


def code_of(result: Result) -> str:
    return parse_as(AnswerDocument, result.answer).document.code


def delegate(world: World) -> Ordered:
    return Ordered(world, ["delegate"])


async def test_a_run_that_is_due_is_done() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    assert await heart.run(order, 0) == "ok"
    world.now += HOUR
    assert await heart.run(order, 1) == "ok"


async def test_a_run_that_is_delivered_twice_begins_once() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    assert await heart.run(order, 0) == "ok"
    assert await heart.run(order, 0) == "run_replayed"


async def test_a_run_that_a_later_one_has_overtaken_begins_no_more() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    world.now += HOUR
    assert await heart.run(order, 1) == "ok"
    assert await heart.run(order, 0) == "run_replayed"


async def test_a_run_before_its_time_and_one_after_it_are_refused() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    assert await heart.run(order, 1) == "run_early"
    world.now += 2 * HOUR
    assert await heart.run(order, 0) == "run_late"
    assert await heart.run(order, 2) == "ok"


async def test_a_run_beyond_the_budget_or_the_window_is_refused() -> None:
    world = World()
    heart, order = delegate(world), checking(world, runs=2)
    world.now += 2 * HOUR
    assert await heart.run(order, 2) == "run_beyond_budget"
    long = checking(world, name="long", iat=world.now - 20 * HOUR, exp=world.now)
    assert await heart.run(long, 19) == "order_expired"


async def test_a_delegate_goes_by_its_own_clock() -> None:
    world = World()
    order = checking(world)
    world.now += HOUR + 119
    assert await delegate(world).run(order, 0) == "ok"
    assert await delegate(world).run(order, 1) == "ok"
    world.now += 1
    assert await delegate(world).run(order, 0) == "run_late"
    later = checking(world, name="later", iat=world.now + 121, exp=world.now + HOUR)
    assert await delegate(world).run(later, 0) == "run_early"
    world.now += 1
    assert await delegate(world).run(later, 0) == "ok"


async def test_an_older_revision_is_refused_once_a_newer_one_was_seen() -> None:
    world = World()
    first = checking(world)
    second = world.next(first, runs=5)
    heart = delegate(world)
    assert await heart.run(second, 0) == "ok"
    assert await heart.run(first, 0) == "revision_stale"
    other = delegate(world)
    assert await other.run(first, 0) == "ok"
    assert await other.run(second, 0) == "ok"
    assert await other.run(first, 0) == "revision_stale"


async def test_a_cancelled_order_runs_no_more_once_the_cancellation_was_seen() -> None:
    world = World()
    order = checking(world)
    end = world.next(order, deleted=True)
    heart = delegate(world)
    await heart.trust.take([end.compact])
    assert await heart.run(order, 0) == "revision_stale"
    assert await heart.run(end, 0) == "order_deleted"
    knowing = delegate(world)
    await knowing.trust.take([order.compact, end.compact])
    assert await knowing.run(order, 0) == "revision_stale"


async def test_two_revisions_with_one_number_are_a_fork() -> None:
    world = World()
    first = checking(world)
    heart = delegate(world)
    await heart.trust.take([first.compact, world.next(first, runs=5).compact])
    assert await heart.run(world.next(first, runs=6), 0) == "revision_forked"


async def test_sealed_inputs_that_are_not_the_orders_are_refused() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    assert await heart.run(order, 0, inputs=[b"another's"]) == "input_swapped"
    assert await heart.run(order, 0, stored=[b"another's"]) == "task_malformed"


async def test_a_task_is_no_order_and_an_order_no_task() -> None:
    world = World()
    heart, task, order = delegate(world), world.check(world.connector), checking(world)
    as_order = await heart.answer(task.compact, 0)
    as_task = await heart.result(order.compact)
    for result in (as_order, as_task):
        assert code_of(result) == "malformed" and not result.sealed


async def test_a_run_under_another_runs_name_is_refused() -> None:
    world = World()
    heart, order = delegate(world), checking(world)
    for name in (run_id(order.digest, 1), order.digest, run_id("A" * 43, 0)):
        result = await heart.answer(order.compact, 0, named=name)
        assert code_of(result) == "malformed" and not result.sealed
    assert await heart.run(order, 0) == "ok"


async def test_a_number_of_a_run_that_is_no_number_of_one_is_refused() -> None:
    world = World()
    assert await delegate(world).run(checking(world), 2**64 - 2) == "run_beyond_budget"


@pytest.mark.parametrize(
    "changes",
    [
        {"reader": b64u(SealingKey(bytes(32)).public.raw)},
        {"interval": 60},
        {"runs": 101},
        {"exp": World().now + 48 * HOUR},
        {"iat": World().now - HOUR},
        {"owner": "A" * 43},
        {"rev": 2, "prev": "A" * 43},
    ],
    ids="-".join,
)
async def test_an_order_that_was_changed_on_the_way_breaks_its_signature(changes: dict[str, Any]) -> None:
    world = World()
    result = await delegate(world).answer(rewritten(checking(world).compact, **changes), 0)
    assert code_of(result) == "tampered" and not result.sealed


async def test_an_order_that_the_manager_signed_is_refused() -> None:
    world = World()
    mallory = world.identity("mallory")
    order = order_of(world, world.check(world.connector), mallory)
    result = await delegate(world).answer(order.compact, 0)
    assert code_of(result) == "unauthenticated" and not result.sealed


async def test_an_order_in_the_name_of_another_owner_is_refused() -> None:
    world = World()
    other = world.identity("other")
    world.grant(other, ["use"])
    order = order_of(world, world.check(world.connector, other), other, owner=world.administrator.kid)
    assert await delegate(world).run(order, 0) == "order_of_another"


async def test_an_order_of_another_account_is_refused() -> None:
    world = World()
    order = checking(world, acct=World(name="another").id)
    result = await delegate(world).answer(order.compact, 0)
    assert code_of(result) == "tampered" and not result.sealed


async def test_an_order_of_a_signer_whose_grant_fell_runs_no_more() -> None:
    world = World()
    _, grant, order = owned(world)
    heart = delegate(world)
    assert await heart.run(order, 0) == "ok"
    world.now += HOUR
    await heart.trust.take([world.revise_status(grants=(grant.document.id,)).compact])
    assert await heart.run(order, 1) == "grant_revoked"


async def test_an_order_of_a_revoked_key_runs_no_more() -> None:
    world = World()
    owner, _, order = owned(world)
    heart = delegate(world)
    await heart.trust.take([world.revise_status(keys=(owner.kid,)).compact])
    assert await heart.run(order, 0) == "key_revoked"


async def test_an_order_outlives_no_grant_of_its_owner() -> None:
    world = World()
    order = owned(world, exp=world.now + 2 * HOUR)[-1]
    heart = delegate(world)
    assert await heart.run(order, 0) == "ok"
    world.now += 2 * HOUR
    assert await heart.run(order, 2) == "grant_expired"


async def test_a_command_is_refused_where_the_delegates_owner_allows_none() -> None:
    world = World()
    version = world.store(world.secret("token"), b"value")
    command = world.exec([version])
    order = order_of(world, command.task)
    told = await delegate(world).run(order, 0, inputs=[command.input.raw], stored=[version.record.raw])
    assert told == "local_policy"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": World().now + LONGEST_ORDER_SECONDS + 1},
        {"interval": 59},
        {"interval": 0, "runs": 2},
        {"runs": 0},
    ],
    ids=str,
)
async def test_an_order_for_longer_or_more_often_than_one_may_be_is_refused(changes: dict[str, Any]) -> None:
    world = World()
    document = order_document(world, world.check(world.connector), world.administrator)
    result = await delegate(world).answer(crafted(world.administrator, document, **changes), 0)
    assert code_of(result) == "malformed" and not result.sealed


async def test_a_delegate_without_the_selectors_refuses_a_run() -> None:
    world = World()
    connector = world.publish(world.connector_document("far", selectors=("mars",)))
    order = order_of(world, world.check(connector))
    assert await delegate(world).run(order, 0) == "selectors_missing"


async def test_each_eligible_delegate_can_be_made_to_begin_a_run_that_is_due_and_no_other() -> None:
    """What he gets who owns the manager: the signer declared the order harmless twice."""
    world = World()
    order = checking(world)
    first, second = delegate(world), delegate(world)
    assert [await one.run(order, 0) for one in (first, second)] == ["ok", "ok"]
    assert [await one.run(order, 0) for one in (first, second)] == ["run_replayed", "run_replayed"]
    assert [await one.run(order, 1) for one in (first, second)] == ["run_early", "run_early"]


async def test_a_withheld_cancellation_counts_for_nothing_until_the_order_ends_or_the_grant_is_revoked() -> None:
    """What he gets who owns the manager, and what ends it."""
    world = World()
    owner, grant, order = owned(world)
    heart = delegate(world)
    world.next(order, owner, deleted=True)
    assert await heart.run(order, 0) == "ok"
    revoked = world.revise_status(grants=(grant.document.id,))
    await heart.trust.take([revoked.compact])
    world.now += HOUR
    assert await heart.run(order, 1) == "grant_revoked"
    world.now += 23 * HOUR
    assert await heart.run(order, 23) == "order_expired"

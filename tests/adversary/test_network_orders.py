"""A manager in the attacker's hands and orders: what he can make delegates run, and clients believe of runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from client.orders import Timing
from client.sdk import Client
from shared.documents.jws import Verified, peek_kind
from shared.documents.order import OrderDocument
from shared.errors import PrivySealError, Tampered
from shared.messages import Documents, FromDelegate, FromManager, Output
from shared.wire import submission_pb2 as pb
from tests.adversary.evil_manager import Tap, code_of
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage
from tests.fakes.refusal import refused

POLICY = "exec = true"
HOURLY = Timing(3_600, 86_400)
BUILT_IN = "account.local"


def client_of(stage: Stage, name: str = "home") -> Client:
    return stage.client(home=stage.home(name))


async def begun(stage: Stage) -> None:
    """Every run that is due is begun and over."""
    await asyncio.gather(*stage.evil.services.orders.look())


async def ordered(stage: Stage, client: Client, name: str, text: str = "hello") -> Verified[OrderDocument]:
    """An order to say something, whose first run is over."""
    order = await client.orders.command(name, HOURLY, ["echo", text], {"TOKEN": "account.token"})
    await begun(stage)
    return order


async def said(client: Client, name: str) -> bytes:
    opened = await client.orders.open(name)
    assert opened.printed is not None and opened.printed.is_whole
    return opened.printed.out


async def show_that_of_another(stage: Stage, client: Client, what: str) -> None:
    """Of the order `two` the manager shows what came of `one`, which was believed."""
    await ordered(stage, client, "one", "one")
    await ordered(stage, client, "two", "two")
    kept: dict[str, bytes] = {}

    def swap(exchange: Exchange) -> None:
        if exchange.path.endswith(f"/{what}"):
            exchange.answer_bytes(kept.setdefault(what, exchange.body), b"application/x-protobuf")

    stage.evil.on_reply(swap)
    assert await said(client, "one") == b"one\n"


@pytest.fixture
async def client(stage: Stage) -> Client:
    one = client_of(stage)
    await one.store("account.token", b"the value of it")
    return one


async def test_the_stage_is_honest_when_nobody_attacks(stage: Stage, client: Client) -> None:
    await ordered(stage, client, "one")
    assert await said(client, "one") == b"hello\n"


async def test_the_outcome_of_one_order_is_refused_as_that_of_another(stage: Stage, client: Client) -> None:
    await show_that_of_another(stage, client, "outcome")
    with refused(Tampered, "answer_forged"):
        await client.orders.open("two")


async def test_the_outcome_of_an_earlier_run_is_refused_as_that_of_a_later_one(stage: Stage, client: Client) -> None:
    order = await ordered(stage, client, "one")
    _, (run,) = await client.orders.runs("one")

    def renumber(exchange: Exchange) -> None:
        if exchange.path.endswith("/runs"):
            told = exchange.json()
            told["runs"][0]["n"] = 1
            exchange.answer_json(told)

    stage.evil.on_reply(renumber)
    with refused(Tampered, "answer_forged"):
        await client.orders.open("one")
    assert run.n == 0 and order.document.interval == 3_600


async def test_the_output_of_another_run_is_refused(stage: Stage, client: Client) -> None:
    await show_that_of_another(stage, client, "output")
    with refused(Tampered, "output_forged"):
        await client.orders.open("two")


@pytest.mark.parametrize("change", ["cut", "swapped", "flipped"])
async def test_output_that_was_cut_or_changed_is_noticed(stage: Stage, client: Client, change: str) -> None:
    await ordered(stage, client, "one")

    def spoil(exchange: Exchange) -> None:
        if not exchange.path.endswith("/output"):
            return
        page = pb.OutputPage.FromString(exchange.body)
        if change == "cut":
            del page.chunks[1:]
        elif change == "swapped":
            page.chunks[1].index, page.chunks[2].index = page.chunks[2].index, page.chunks[1].index
        else:
            page.chunks[1].data = bytes([page.chunks[1].data[0] ^ 1]) + page.chunks[1].data[1:]
        exchange.answer_bytes(page.SerializeToString(), b"application/x-protobuf")

    stage.evil.on_reply(spoil)
    if change == "cut":
        opened = await client.orders.open("one")
        assert opened.printed is not None and not opened.printed.is_whole and opened.printed.out == b""
        return
    with pytest.raises(Tampered):
        await client.orders.open("one")


async def test_the_manager_s_word_that_a_run_went_well_is_no_success(stage: Stage, client: Client) -> None:
    await ordered(stage, client, "one")

    def invent(exchange: Exchange) -> None:
        if exchange.path.endswith("/outcome"):
            exchange.answer_outcome(pb.Outcome(task="x", state="done", code="ok"))

    stage.evil.on_reply(invent)
    with pytest.raises(PrivySealError) as caught:
        await client.orders.open("one")
    assert caught.value.facts["unsigned"]


async def test_a_sealed_input_of_another_order_is_refused_by_the_delegate(stage: Stage, client: Client) -> None:
    one, two = await ordered(stage, client, "one"), await ordered(stage, client, "two")
    (kept, other) = [await _input(stage, order) for order in (one, two)]
    beta = await stage.delegate("beta", policy="exec = true")
    await _knows(stage, beta.name)
    records = [await _record(stage, one)]
    swapped = await stage.evil.give(beta.name, one.compact, [other], records, run=1)
    assert code_of(swapped) == "tampered"
    none = await stage.evil.give(beta.name, one.compact, [], records, run=1)
    assert code_of(none) == "tampered"
    right = await stage.evil.give(beta.name, one.compact, [kept], records, run=1)
    assert code_of(right) == "ok"
    # What came of it is told again, to whoever holds it: nothing is done again, with these inputs or others.
    again = await stage.evil.give(beta.name, one.compact, [other], records, run=1)
    assert again.answer == right.answer


async def test_a_run_before_its_time_is_refused_whatever_the_manager_s_clock_says(stage: Stage, client: Client) -> None:
    order = await ordered(stage, client, "one")
    kept, records = await _input(stage, order), [await _record(stage, order)]
    for run in (2, 3, 24):
        result = await stage.evil.give("alpha", order.compact, [kept], records, run=run)
        assert code_of(result) == "denied"


async def test_a_cancellation_reaches_delegates_and_then_the_manager_can_run_it_no_more(
    stage: Stage, client: Client
) -> None:
    order = await ordered(stage, client, "one")
    kept, records = await _input(stage, order), [await _record(stage, order)]
    beta = await stage.delegate("beta", policy="exec = true")
    await _knows(stage, beta.name)
    await client.orders.cancel("one")
    result = await stage.evil.give(beta.name, order.compact, [kept], records, run=1)
    assert code_of(result) == "conflict"


async def test_a_cancellation_reaches_a_delegate_that_has_never_heard_of_its_owner(
    stage: Stage, client: Client
) -> None:
    owner = stage.world.identity("owner")
    stage.world.grant(owner, ["use", "view"])
    await stage.publish()
    theirs = stage.client(owner, home=stage.home("theirs"))
    order = await theirs.orders.check("theirs", HOURLY, [BUILT_IN])
    beta = await stage.delegate("beta")
    gone = await theirs.orders.cancel("theirs")
    await _knows(stage, beta.name)
    result = await stage.evil.give(beta.name, order.compact, run=1)
    assert code_of(result) == "conflict"
    assert beta.daemon.link.state == "open" and gone.document.deleted


async def test_a_cancellation_that_is_withheld_stops_nothing_but_a_revoked_grant_does(
    stage: Stage, client: Client
) -> None:
    order = await ordered(stage, client, "one")
    kept, records = await _input(stage, order), [await _record(stage, order)]
    for name in ("beta", "gamma"):
        await stage.delegate(name, policy="exec = true")
        await _knows(stage, name)

    def withhold(_: Tap, message: FromManager) -> list[FromManager]:
        if isinstance(message, Documents):
            kept_back = tuple(one for one in message.compact if peek_kind(one) != "order")
            return [Documents(kept_back)] if kept_back else []
        return [message]

    stage.evil.on_down(withhold)
    await client.orders.cancel("one")
    result = await stage.evil.give("beta", order.compact, [kept], records, run=1)
    assert code_of(result) == "ok"
    await client.publisher.revoke_key(order.kid)
    result = await stage.evil.give("gamma", order.compact, [kept], records, run=1)
    assert code_of(result) in {"denied", "not_ready"}


async def test_an_order_that_was_cancelled_is_not_shown_as_standing_again(stage: Stage, client: Client) -> None:
    order = await ordered(stage, client, "one")
    await client.orders.cancel("one")

    def revive(exchange: Exchange) -> None:
        if exchange.method == "GET" and exchange.path.endswith("/orders"):
            told = exchange.json()
            told["orders"][0]["order"] = order.compact
            exchange.answer_json(told)

    stage.evil.on_reply(revive)
    later = client_of(stage)
    with pytest.raises(PrivySealError) as caught:
        await later.orders.all()
    assert caught.value.code in {"revision_rolled_back", "revision_stale"}


async def test_somebody_else_s_order_is_not_shown_as_one_s_own(stage: Stage, client: Client) -> None:
    other = stage.world.identity("other")
    stage.world.grant(other, ["use", "view"])
    await stage.publish()
    theirs = stage.client(other, home=stage.home("theirs"))
    order = await theirs.orders.check("theirs", HOURLY, [BUILT_IN])

    def plant(exchange: Exchange) -> None:
        if exchange.method == "GET" and exchange.path.endswith("/orders"):
            planted = {"order": order.compact, "published_at": 0, "overdue": 0, "last": None}
            exchange.answer_json({"orders": [planted]})

    stage.evil.on_reply(plant)
    assert await client.orders.all() == []


async def _knows(stage: Stage, name: str) -> None:
    """The delegate has every document that the manager has; what its commands write the manager's own code never hears of."""
    stage.evil.on_up(_quiet)
    book = await stage.evil.services.books.book(stage.world.id)
    trust = await stage.evil.services.books.trust(stage.world.id)
    rows: list[Any] = [*trust.documents]
    for kind in ("connector", "secret"):
        page = await stage.evil.services.store.documents(book.id, kind, "account", below=True, limit=100)
        rows += [one.compact for one in page.items]
    await stage.teach(name, rows)


async def _input(stage: Stage, order: Verified[OrderDocument]) -> bytes:
    row = await stage.evil.services.orders.ledger.order(stage.world.id, order.document.id)
    assert row is not None and row.input is not None
    return row.input


async def _record(stage: Stage, order: Verified[OrderDocument]) -> bytes:
    (target,) = order.document.targets
    found = await stage.evil.services.store.version_many(stage.world.id, [(target.secret or "", target.n)])
    record = found[target.secret or "", target.n].record
    assert record is not None
    return record


def _quiet(_: Tap, message: FromDelegate) -> list[FromDelegate]:
    return [] if isinstance(message, Output) else [message]

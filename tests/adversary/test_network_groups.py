"""A manager in the attacker's hands withholds, ages and makes up groups: delegates and clients go by what an administrator signed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from client.choice import Choice
from client.sdk import Client
from shared.documents.group import GroupDocument
from shared.documents.jws import peek_kind
from shared.errors import NotReady, PrivySealError, Tampered
from shared.messages import Documents, FromManager
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage

VALUE = b"the value that stays where it has to"
FAST = "disk:fast"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        await one.delegate("alpha", group="builders", policy="exec = true\n")
        await one.delegate("beta", policy="exec = true\n")
        yield one


@pytest.fixture
async def client(stage: Stage) -> Client:
    """One that has stored a secret, and given the group a tag by which it was revealed."""
    one = stage.client()
    await one.store("account.token", VALUE)
    await one.groups.set("builders", [FAST])
    assert (await one.reveal("account.token", selectors=[FAST])).reveal() == VALUE
    return one


def only(keep: Callable[[str], bool]) -> Callable[[object, FromManager], Iterable[FromManager]]:
    """Of the documents on their way to delegates those alone."""

    def rewrite(_: object, message: FromManager) -> Iterable[FromManager]:
        if not isinstance(message, Documents):
            return [message]
        kept = tuple(one for one in message.compact if keep(one))
        return [Documents(kept)] if kept else []

    return rewrite


def taken_for(stage: Stage, name: str, tags: set[str]) -> None:
    """The manager takes that delegate for one with those tags."""
    fleet = stage.evil.services.fleet
    for one in list(fleet):
        if one.name == name:
            one.tags = frozenset(tags)
            fleet.join(one)


async def refused(client: Client, choice: Choice) -> PrivySealError:
    """Why it isn't revealed."""
    with pytest.raises(PrivySealError) as caught:
        await client.reveal("account.token", selectors=choice)
    return caught.value


async def test_a_withheld_group_stops_the_delegates_of_it_and_lets_none_go_by_the_old_one(
    stage: Stage, client: Client
) -> None:
    """It has become a machine of production, and may not be used for this any more."""
    stage.evil.on_down(only(lambda one: peek_kind(one) != "group"))
    await client.groups.set("builders", ["production"])
    why = await refused(client, Choice(["production"]))
    assert (type(why), why.code) == (NotReady, "group_stale")
    # And as if it had its disk, and were none of production, still: what it answers to that isn't even looked at.
    taken_for(stage, "alpha", {"alpha", "builders", FAST})
    for choice in (Choice([FAST]), Choice(where="not production and alpha")):
        why = await refused(client, choice)
        assert (type(why), why.code, why.facts["group"]) == (Tampered, "answer_forged", "builders")


async def test_a_withheld_status_with_a_withheld_group_is_noticed_by_the_next_task(
    stage: Stage, client: Client
) -> None:
    stage.evil.on_down(only(lambda one: peek_kind(one) not in {"group", "status"}))
    await client.groups.set("builders", ["production"])
    why = await refused(client, Choice(["production"]))
    assert (type(why), why.code) == (NotReady, "status_behind")


async def test_an_older_group_for_the_newest_is_refused(stage: Stage, client: Client) -> None:
    older = client.account.book.groups["builders"].compact

    def rewrite(_: object, message: FromManager) -> Iterable[FromManager]:
        if not isinstance(message, Documents):
            return [message]
        return [Documents(tuple(older if peek_kind(one) == "group" else one for one in message.compact))]

    stage.evil.on_down(rewrite)
    await client.groups.set("builders", ["production"])
    why = await refused(client, Choice(["production"]))
    assert (type(why), why.code) == (NotReady, "group_stale")


async def test_a_group_that_the_manager_made_up_gives_no_tag_to_a_delegate(stage: Stage, client: Client) -> None:
    world, mallory = stage.world, stage.mallory
    forged = world.sign(
        GroupDocument(v=1, acct=world.id, id="builders", rev=9, prev="A" * 43, iat=world.now, tags=("production",)),
        mallory,
    )
    for name in ("alpha", "beta"):
        await stage.teach(name, [forged.compact])
    stage.lie(["production"])
    why = await refused(client, Choice(["production"]))
    assert why.code in {"selectors_missing", "answer_forged"} and "unsigned" not in why.facts
    assert (await client.reveal("account.token", selectors=[FAST])).reveal() == VALUE


async def test_a_group_that_the_manager_made_up_gives_no_tag_to_a_client(stage: Stage, client: Client) -> None:
    world, mallory = stage.world, stage.mallory
    forged = world.sign(
        GroupDocument(v=1, acct=world.id, id="builders", rev=9, prev="A" * 43, iat=world.now, tags=("production",)),
        mallory,
    )

    def rewrite(exchange: Exchange) -> None:
        if exchange.path.endswith("/trust") and exchange.status == 200:
            body = exchange.json()
            exchange.answer_json({"documents": [*body["documents"], forged.compact]})
        exchange.no_conditions = True

    stage.evil.on_reply(rewrite)
    fresh = stage.client()
    why = await refused(fresh, Choice(["production"]))
    assert why.code == "no_delegate"
    assert "production" not in fresh.account.book.groups["builders"].document.tags


async def test_a_client_from_whom_the_group_is_withheld_believes_no_answer_of_its_delegates(
    stage: Stage, client: Client
) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.path.endswith("/trust") and exchange.status == 200:
            kept = [one for one in exchange.json()["documents"] if peek_kind(one) != "group"]
            exchange.answer_json({"documents": kept})

    stage.evil.on_reply(rewrite)
    fresh = stage.client()
    # Nor by a tag that the group doesn't have, as far as this client knows.
    for choice in (Choice([FAST]), Choice(where="alpha and not production")):
        with pytest.raises(Tampered) as caught:
            await fresh.reveal("account.token", selectors=choice)
        assert (caught.value.code, caught.value.facts.get("group")) == ("answer_forged", "builders")
        with pytest.raises(NotReady) as unchosen:
            await fresh.commands.run(["true"], {"NAME": "account.token"}, lambda _, __: None, selectors=choice)
        assert unchosen.value.code == "no_delegate"
    shown = {one["name"]: one["certified"] for one in await fresh.views.delegates()}
    assert shown == {"alpha": "group_stale", "beta": "yes"}


async def test_a_delegate_that_the_manager_takes_for_one_of_the_group_is_none(stage: Stage, client: Client) -> None:
    """It lies to itself about beta: which refuses, which no client names, and which is shown as what it is."""
    taken_for(stage, "beta", {"builders", FAST, "beta"})
    why = await refused(client, Choice([FAST, "beta"]))
    assert why.code == "answer_forged" and "unsigned" not in why.facts
    with pytest.raises(NotReady):
        await client.commands.run(["true"], {"NAME": "account.token"}, lambda _, __: None, selectors=[FAST, "beta"])
    shown = {one["name"]: one["certified"] for one in await client.views.delegates()}
    assert shown == {"alpha": "yes", "beta": "certificate_other"}


async def test_of_two_delegates_the_one_that_claims_a_group_gets_its_tasks_and_the_other_none(
    stage: Stage, client: Client
) -> None:
    """A delegate is of a group by its own word: it holds the zone's keyring, and could have certified the tags themselves."""
    await stage.delegate("gamma", group="builders")
    listed = {one["name"]: set(one["tags"]) for one in await client.views.delegates()}
    assert FAST in listed["alpha"] & listed["gamma"] and FAST not in listed["beta"]
    told = await client.explanations.choice("account.local", selectors=[FAST])
    verdicts = {one["name"]: one["verdict"] for one in told["delegates"]}
    assert verdicts["beta"] == "refused" and "refused" not in {verdicts["alpha"], verdicts["gamma"]}

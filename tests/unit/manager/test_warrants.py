"""What a refusal carries of what is newest: no more than its task's signer may see now."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from manager.authentication import Caller
from manager.warrants import Warrants
from shared.crypto.identity import Identity
from shared.documents.jws import Verified
from shared.documents.task import Pin
from shared.errors import Conflict
from shared.tracing import UNRECORDED
from tests.fakes.desk import Desk, checking

ORG = "org/acme"


async def newer(desk: Desk, signer: Identity, pinned: Verified[Any]) -> list[str]:
    """The documents that come with the refusal of a task by `signer` that pins a revision which isn't the newest any more."""
    world = desk.world
    task = world.check(world.connector, signer)
    pin = Pin("connector", pinned.document.id, pinned.document.rev, pinned.digest)
    signed = world.sign(structs.replace(task.document, pins=(*task.document.pins, pin)), signer)
    book = await desk.books.book(world.id)
    stale = await desk.books.complete(book, signed.document.pins)
    with pytest.raises(Conflict) as caught:
        await Warrants(desk.store, desk.clock).check(book, signed, stale, UNRECORDED)
    assert caught.value.code == "pin_stale"
    found: list[str] = caught.value.facts["documents"]
    return found


@pytest.mark.parametrize("kind", ["connector", "template"])
async def test_who_has_lost_his_grant_isnt_told_what_has_become_of_what_he_knew(desk: Desk, kind: str) -> None:
    world = desk.world
    ann, ben = world.identity("ann"), world.identity("ben")
    grant = world.grant(ann, ["use"], ORG)
    world.grant(ben, ["use"], ORG)
    old: Verified[Any] = (
        world.template("runs", ORG) if kind == "template" else world.publish(world.connector_document("kms", ORG))
    )
    new = world.revise(old, name="newer")
    await desk.publish()
    assert await newer(desk, ann, old) == [new.compact]
    world.revise_status(grants=(grant.document.id,))
    await desk.publish()
    assert await newer(desk, ann, old) == []
    assert await newer(desk, ben, old) == [new.compact]


async def test_nobody_is_told_of_anothers_order(desk: Desk) -> None:
    world = desk.world
    ann = world.identity("ann")
    world.grant(ann, ["use"])
    await desk.publish()
    order = checking(desk)
    await desk.give(order)
    await desk.orders.publish(Caller(world.id, world.administrator.kid), world.next(order, runs=5).compact, ())
    desk.books._books.clear()  # as after a restart
    assert await newer(desk, ann, order) == []

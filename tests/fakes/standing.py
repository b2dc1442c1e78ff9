"""Orders of a world: what a task of it would be, if it were asked for again and again.

order = order_of(world, world.check(world.connector))            # every hour for a day, by whoever signed the task
order = order_of(world, world.exec([version]).task, runs=3, interval=60)
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import structs

from shared.canonical import b64u, encode
from shared.crypto.identity import Identity
from shared.documents.grant import GrantDocument
from shared.documents.jws import Verified, header_bytes
from shared.documents.order import OrderDocument
from shared.documents.task import TaskDocument
from tests.fakes.world import World

_TAKEN = (
    "v",
    "acct",
    "keyring",
    "gen",
    "op",
    "targets",
    "credentials",
    "pins",
    "selectors",
    "where",
    "status",
    "reader",
)
_MORE = ("input", "seconds", "usage", "jti")

HOUR = 3_600


def order_document(world: World, task: Verified[TaskDocument], signer: Identity, **changes: Any) -> OrderDocument:
    """An unsigned first revision; its id follows from its name."""
    fields = {name: getattr(task.document, name) for name in (*_TAKEN, *_MORE)}
    name = changes.get("name", "nightly")
    document = OrderDocument(
        id=world.opaque(f"order {name}"),
        owner=signer.kid,
        name=name,
        rev=1,
        iat=world.now,
        exp=world.now + 24 * HOUR,
        interval=HOUR,
        runs=100,
        **fields,
    )
    return structs.replace(document, **changes)


def order_of(
    world: World, task: Verified[TaskDocument], signer: Identity | None = None, **changes: Any
) -> Verified[OrderDocument]:
    """A signed order that asks for what the task asks for; `changes` are fields that are other than right."""
    signer = signer or world.administrator
    return world.sign(order_document(world, task, signer, **changes), signer)


def checking(world: World, **changes: Any) -> Verified[OrderDocument]:
    """The administrator's, to test the built-in secret manager."""
    return order_of(world, world.check(world.connector), **changes)


def owned(world: World, **granted: Any) -> tuple[Identity, Verified[GrantDocument], Verified[OrderDocument]]:
    """Somebody's who is no administrator: he, the grant by which he may, and an order like `checking`'s."""
    owner = world.identity("owner")
    grant = world.grant(owner, ["use"], **granted)
    return owner, grant, order_of(world, world.check(world.connector, owner), owner)


def crafted(signer: Identity, document: OrderDocument, **changes: Any) -> str:
    """An order with members that no order can have, well signed: what a granted attacker can make."""
    payload = encode({**json.loads(encode(document)), **changes})
    signing_input = f"{b64u(header_bytes('order', signer.kid))}.{b64u(payload)}"
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode()))}"

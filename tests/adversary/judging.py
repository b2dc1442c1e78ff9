"""What the cases against tasks begin with, and who judges them: a delegate that knows all of a world."""

from __future__ import annotations

from typing import Any

from shared.crypto.identity import Identity
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified, parse_as
from shared.documents.task import TaskDocument
from shared.trust.warrant import Warrant, warrant
from tests.fakes.world import Version, World

ORG = "org/acme"


def stage(permission: Permission = "reveal") -> tuple[World, Identity, Version]:
    """A world with a secret of one version in an organisation, and somebody with one permission there."""
    world = World()
    reader = world.identity("reader")
    world.grant(reader, [permission], ORG)
    return world, reader, world.store(world.secret("password", ORG), b"hunter2")


def judge(world: World, task: Verified[TaskDocument]) -> Warrant:
    """What a delegate that knows all of the world says of a task, from its text on."""
    book = world.book()
    return warrant(book, book.verify(parse_as(TaskDocument, task.compact)), world.now)


def held(world: World, connector: Verified[ConnectorDocument], name: str = "password", scope: str = ORG) -> Version:
    """A secret of one version in that connector."""
    return world.store(world.secret(name, scope, connector=connector.document.id), b"hunter2")


def credential(world: World, name: str = "key", scope: str = "account", **changes: Any) -> Version:
    """A credential of one version, in the built-in secret manager unless said otherwise."""
    return world.store(world.secret(name, scope, **changes), b"AKIA")


def editor_of(world: World) -> Identity:
    """Somebody who may edit that organisation."""
    editor = world.identity("editor")
    world.grant(editor, ["edit", "delete"], ORG)
    return editor


def only(world: World, key: Version, holder: Identity, **changes: Any) -> str:
    """The id of a new grant to use that one credential."""
    secret = key.secret.document
    id = world.opaque(f"grant of {secret.id} to {holder.kid}")
    return world.grant(holder, ["use"], secret.scope, id=id, resource=secret.id, **changes).document.id

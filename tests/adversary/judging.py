"""What the cases against tasks begin with, and who judges them: a delegate that knows all of a world."""

from __future__ import annotations

from shared.crypto.identity import Identity
from shared.documents.fields import Permission
from shared.documents.jws import Verified, parse_as
from shared.documents.task import TaskDocument
from shared.trust.warrant import warrant
from tests.fakes.world import Version, World

ORG = "org/acme"


def stage(permission: Permission = "reveal") -> tuple[World, Identity, Version]:
    """A world with a secret of one version in an organisation, and somebody with one permission there."""
    world = World()
    reader = world.identity("reader")
    world.grant(reader, [permission], ORG)
    return world, reader, world.store(world.secret("password", ORG), b"hunter2")


def judge(world: World, task: Verified[TaskDocument]) -> None:
    """What a delegate that knows all of the world does with a task, from its text on."""
    book = world.book()
    warrant(book, book.verify(parse_as(TaskDocument, task.compact)), world.now)

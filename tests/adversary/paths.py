"""What the cases against direct fetches begin with: a connector, a reader of one path, and paths that lead nowhere."""

from __future__ import annotations

from typing import Any

from shared.crypto.identity import Identity
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified
from tests.adversary.judging import ORG
from tests.fakes.world import World

NOWHERE = [
    "",
    "/",
    "/team/db",
    "team/db/",
    "team//db",
    "team/db//x",
    "./team/db",
    "team/./db",
    "team/db/.",
    "..",
    ".",
    "team/db/..",
    "team/db/../x",
    "team/db/../../other",
    "../team/db",
    "team/db\n",
    "team/db\n/x",
    "team/db\x00",
    "team/db/\x7f",
    "team/db\r\nHost: evil",
    "team/db\t",
    "team/db/\x1b[2J",
]

PERMISSIONS: list[Permission] = ["fetch", "reveal"]


def fetching(path: str | None = "team/db", **changes: Any) -> tuple[World, Verified[ConnectorDocument], Identity]:
    """A connector, and somebody who may have it read below one path."""
    world = World()
    vault = world.connector_with("vault", (), ORG, type="Vault", **changes)
    reader = world.identity("reader")
    resource = vault.document.resource + (f"/{path}" if path else "")
    world.grant(reader, PERMISSIONS, ORG, resource=resource)
    return world, vault, reader

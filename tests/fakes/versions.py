"""Versions of secrets, as a secret manager is handed them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from delegate.secret_managers.interface import SecretVersion
from shared.canonical import digest
from shared.documents.connector import ConnectorDocument
from tests.fakes.world import World


def version(
    world: World,
    connector: ConnectorDocument,
    identifier: str = "db",
    n: int = 1,
    *,
    task: str = "",
    scope: str = "org/acme",
    **document: Any,
) -> SecretVersion:
    """Version `n` of a secret at that connector, which the task of that name stored; 0 is a secret without one."""
    secret = world.secret_document(identifier, scope, connector=connector.id, **document)
    signed = world.sign(secret, world.administrator)
    aad = world.place(signed, n, digest(f"{task} {secret.id} {n}") if n else "")
    return SecretVersion(secret, connector, n, aad)


def whole(secret: SecretVersion) -> SecretVersion:
    """All versions of it, as a delete has it."""
    return replace(secret, n=0, aad=replace(secret.aad, n=0, version=""))

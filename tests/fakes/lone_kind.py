"""A process that uses one kind of secret manager as a delegate does, and then tells which modules it has loaded.

    python -m tests.fakes.lone_kind < JSON of `Use`         # writes the names of the modules, one a line

The kind comes through the registry, as in a delegate; a value is stored and fetched. It must import nothing that knows more
than one kind: that is what it is there to show.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from dataclasses import dataclass, field

import msgspec

import delegate.build
import delegate.main  # noqa: F401 (all that a delegate's process begins with)
from delegate.endpoints import Endpoints
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.secret_managers.registry import Registry, installed_kinds
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.template import TemplateDocument
from tests.fakes.world import World

VALUE = b"hunter2"


@dataclass
class Use:
    """A connector of `World()`, its credentials by their references, and the delegate's endpoints by provider.

    `policy`: the text of its policy file. `reference`: where the value is already, for a kind that only reads; `metadata` of the
    secret; `template`: what the connector runs.
    """

    connector: ConnectorDocument
    credentials: dict[str, str] = field(default_factory=dict)
    aws: dict[str, str] = field(default_factory=dict)
    gcp: dict[str, str] = field(default_factory=dict)
    azure: dict[str, str] = field(default_factory=dict)
    policy: str = ""
    reference: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    template: TemplateDocument | None = None


async def use(told: Use) -> None:
    """Store and fetch, with a manager that the registry lends. Raises errors of `shared.errors`."""
    world = World()
    surroundings = Surroundings(
        Zone(world.keyring, world.book()),
        LocalPolicy.parse(told.policy, ["Local", told.connector.type]),
        secrets.token_bytes,
        endpoints=Endpoints(told.aws),
        gcp_endpoints=Endpoints(told.gcp),
        azure_endpoints=Endpoints(told.azure),
    )
    connector = world.publish(told.connector)
    secret = world.secret_document(
        "password", "org/acme", connector=connector.document.id, reference=told.reference, metadata=told.metadata
    )
    place = world.place(world.sign(secret, world.administrator), 1, digest("the store task"))
    version = SecretVersion(secret, connector.document, 1, place)
    registry = Registry(installed_kinds(), surroundings)

    async def credentials() -> dict[str, Plaintext]:
        return {name: Plaintext(value.encode()) for name, value in told.credentials.items()}

    try:
        async with registry.lend(connector, tuple(told.credentials), credentials, template=told.template) as manager:
            stored = await manager.store(version, Plaintext(b"" if told.reference else VALUE))
            if (await manager.fetch(version, stored)).reveal() != VALUE:
                raise SystemExit("another value came back")
    finally:
        await registry.close()


if __name__ == "__main__":
    asyncio.run(use(msgspec.json.decode(sys.stdin.buffer.read(), type=Use)))
    sys.stdout.write("\n".join(sorted(sys.modules)))

"""What a dispatch protocol's test stands on: one account with secrets, published and stored, in a database file to begin with.

Made once; each test begins with a copy of the file. `VALUES` have a version each, `EMPTY` have none; of each of both at most
one task that changes it is made, so that whoever counts what began can tell whose it was.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from manager.books import row_of
from manager.rows import AccountRow, StoredVersion
from manager.store import Transaction, add_token
from shared.crypto.identity import Identity
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from tests.fakes.processes import ModelStore
from tests.fakes.steered import SteeredLoop
from tests.fakes.world import NOW, Version, World

VALUES, EMPTY = 12, 12
LARGE_BYTES = 300_000
"""More than a chunk."""


class Ground:
    """`large` is one value more, which takes several chunks; `quiet` a connector that is tested for tasks alone."""

    def __init__(self) -> None:
        self.world = world = World()
        self.ben: Identity = world.identity("ben")
        world.grant(self.ben)
        self.versions = [world.store(world.secret(f"value_{at}"), b"value") for at in range(VALUES)]
        self.empty = [world.secret(f"empty_{at}") for at in range(EMPTY)]
        self.large = world.store(world.secret("large"), b"x" * LARGE_BYTES)
        quiet = world.connector_document("quiet", spec={"ignoreTestConnection": True})
        self.quiet: Verified[ConnectorDocument] = world.publish(quiet)
        self._folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108
        self._number = 0
        self._file = self._folder / "ground.db"
        self._begun = world._tasks
        self._fill()

    def file(self) -> Path:
        """A fresh copy of the database; the one before is removed."""
        for old in self._folder.glob("run-*"):
            old.unlink()
        self._number += 1
        # The same tasks in every run: Hypothesis compares them.
        self.world.now, self.world._tasks = NOW, self._begun
        copy = self._folder / f"run-{self._number}.db"
        shutil.copy(self._file, copy)
        return copy

    def _fill(self) -> None:
        url, world = f"sqlite:///{self._file}", self.world
        add_token(url, "token", NOW, NOW + 60)
        loop, store = SteeredLoop(), ModelStore(url)
        loop.complete(store.open())
        documents = [row_of(one) for one in world._heads.values()]
        loop.complete(store.create_account("token", AccountRow(world.id, NOW, "world"), documents))

        def run(transaction: Transaction) -> None:
            for version in (*self.versions, self.large):
                transaction.add_version(world.id, _row(world, version))

        loop.complete(store.write(run, account=world.id))
        store.die()
        loop.close()


@cache
def ground() -> Ground:
    """The one that is made once."""
    return Ground()


def _row(world: World, version: Version) -> StoredVersion:
    return StoredVersion(
        secret=version.secret.document.id,
        n=1,
        digest=version.task.digest,
        prev="",
        size=len(version.record.raw),
        keyring="main",
        generation=1,
        connector=world.connector.document.id,
        signer=version.task.kid,
        stored_at=NOW,
        delegate="",
        deleted_at=None,
        compact=version.task.compact,
        record=version.record.raw,
    )

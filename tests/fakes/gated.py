"""The kind `Gated` for delegates that run as processes: a call waits as long as a file says so.

    gates = install(folder, monkeypatch)         # before the delegates are started: they find it as an entry point
    DevEnvironment(..., delegate_options={"*": gates.options})
    connector = await gates.connector(client)    # signed and published
    with gates.shut(): ...                       # calls wait; `gates.waiting()` tells who stands there

The kind itself is `tests.fakes.gated_kind`. The folder stands in the connector's spec, so that nothing but a signed
document tells a delegate to wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.drafts import new_id
from client.sdk import Client
from shared.documents.connector import ConnectorDocument

POLL_SECONDS = 0.01
PATIENCE_SECONDS = 45.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Gates:
    """The gate's files, and what a delegate has to be told."""

    folder: Path
    options: tuple[str, ...]

    async def connector(self, client: Client) -> str:
        """A connector of this kind; its reference."""
        await client.account.sync()
        account = client.account
        keyring = next(iter(account.book.keyrings))
        await client.publisher.publish(
            lambda now: [
                ConnectorDocument(
                    v=1,
                    acct=account.id,
                    id=new_id(),
                    rev=1,
                    iat=now,
                    scope="account",
                    identifier="gated",
                    name="gated",
                    type="Gated",
                    keyring=keyring,
                    spec={"folder": str(self.folder)},
                )  # fmt: skip
            ]
        )
        return "account.gated"

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Calls wait inside."""
        shut = self.folder / "shut"
        shut.touch()
        try:
            yield
        finally:
            shut.unlink(missing_ok=True)

    def waiting(self) -> set[tuple[int, str]]:
        """(process id, operation) of the calls that stand at the gate, or stood there when their process ended."""
        return {(int(pid), op) for pid, op in (path.name.split("-") for path in self.folder.glob("[0-9]*-*"))}

    def clear(self) -> None:
        """Open, and nobody remembered."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    async def arrived(self, op: str, but: int = 0) -> int:
        """Waits until some process other than `but` stands at the gate to do `op`; its id."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = [pid for pid, what in self.waiting() if what == op and pid != but]
                if found:
                    return found[0]
                await asyncio.sleep(POLL_SECONDS)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    """Makes the kind known to every delegate that is started from now on."""
    package = folder / "packages" / "gated_kind-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: gated-kind\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[privyseal.secret_managers]\nGated = tests.fakes.gated_kind:gated\n")
    policy, gate = folder / "policy.toml", folder / "gate"
    policy.write_text('kinds = ["Local", "Gated"]\n')
    gate.mkdir()
    paths = [str(package.parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return Gates(gate, ("--policy-file", str(policy)))

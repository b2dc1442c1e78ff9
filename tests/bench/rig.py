"""The real thing, for a measurement: a manager and delegates as processes, an account, and clients in this one.

Everything is as a user would have it: the programs' default settings but for addresses, an account founded as `privyseal
init` does it, values stored by an administrator and revealed by a service that holds a `reveal` grant. The database lies in
build/, on the disk of the working tree.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from client import Client
from client.clock import system_clock
from client.founding import Places, begin, complete
from client.home import Home
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.documents.grant import Principal
from shared.names import ACCOUNT_SCOPE
from tests.bench.child import Child, answers, free_port

BUILD = Path("build")
STORING_AT_ONCE = 32
VALUE_BYTES = 40
"""A password's length; the padding to 256 bytes makes all short values alike."""


class Rig:
    """Open it around a measurement; `tls` is (certificate, key) for both of the manager's ports."""

    def __init__(self, tls: tuple[Path, Path] | None = None, options: Sequence[str] = ()) -> None:
        BUILD.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD)).absolute()
        self._tls = tls
        self._options = tuple(options)
        scheme = "http" if tls is None else "https"
        self._ports = (free_port(), free_port())
        self.origin = f"{scheme}://127.0.0.1:{self._ports[0]}"
        self.delegate_origin = f"{scheme}://127.0.0.1:{self._ports[1]}"
        self.manager: Child | None = None
        self.delegates: list[Child] = []
        self.account = ""
        self._administrator = Identity.generate()
        self._reader = Identity.generate()
        self._clients: list[Client] = []

    @property
    def ca_file(self) -> str:
        """The authority of the manager's certificate."""
        return str(self._tls[0]) if self._tls else ""

    @property
    def keyring_file(self) -> Path:
        """The zone's keyring, 0600."""
        return self.folder / "keyring.json"

    @property
    def keyring(self) -> Keyring:
        """The zone's keyring."""
        return Keyring.parse(self.keyring_file.read_bytes())

    async def __aenter__(self) -> Rig:
        try:
            await self.start_manager()
            await self._found()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()
        if error is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _end(self) -> None:
        for client in self._clients:
            await client.close()
        for delegate in self.delegates:
            await delegate.stop()
        if self.manager is not None:
            await self.manager.stop()

    # ---- processes

    async def start_manager(self) -> Child:
        """The manager, ready."""
        arguments = [
            "manager.main",
            *self._settings(),
            *("--listen", f"127.0.0.1:{self._ports[0]}", "--delegate-listen", f"127.0.0.1:{self._ports[1]}"),
            *self._options,
        ]
        if self._tls is not None:
            arguments += ["--tls-certificate", str(self._tls[0]), "--tls-key", str(self._tls[1])]
        self.manager = Child(arguments, self.folder / "manager.log")
        await self.manager.until(lambda: answers(f"{self.origin}/readyz", self.ca_file), "ready")
        return self.manager

    async def start_delegate(
        self, environ: Mapping[str, str] | None = None, program: str = "delegate.main"
    ) -> tuple[Child, float]:
        """A delegate, ready, and the seconds from its start until its /readyz said so."""
        health = free_port()
        arguments = [
            *(program, "--manager", self.delegate_origin, "--keyring-file", str(self.keyring_file)),
            *("--name", f"bench-{len(self.delegates)}", "--health-address", f"127.0.0.1:{health}"),
            # The very purpose is to use all of the CPU.
            *("--cpu-limit-percent", "0", "--memory-limit-percent", "0"),
        ]
        if self.ca_file:
            arguments += ["--ca-file", self.ca_file]
        delegate = Child(arguments, self.folder / f"delegate-{len(self.delegates)}.log", environ)
        self.delegates.append(delegate)
        ready = await delegate.until(lambda: answers(f"http://127.0.0.1:{health}/readyz"), "ready")
        return delegate, ready - delegate.began

    async def restart(self) -> None:
        """Manager and delegates anew, so that nobody has seen any secret's documents."""
        assert self.manager is not None
        count = len(self.delegates)
        for delegate in self.delegates:
            await delegate.stop()
        self.delegates.clear()
        await self.manager.stop()
        await self.start_manager()
        for _ in range(count):
            await self.start_delegate()

    def _settings(self) -> list[str]:
        return ["--database", f"sqlite:///{self.folder / 'manager.db'}"]

    # ---- the account

    async def _found(self) -> None:
        command = [sys.executable, "-m", "manager.main", "account", "add", *self._settings()]
        made = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        home = Home(self.folder / "home")
        founding = begin(
            home,
            "bench",
            self.origin,
            "administrator",
            self._administrator,
            Places(self.folder / "root.pem", self.keyring_file),
            lambda _: None,
            self.ca_file,
            system_clock,
        )
        context = await complete(home, founding, made.stdout.strip(), self._administrator, system_clock)
        self.account = context.account
        administrator = self.administrator()
        await administrator.grants.add(Principal("bench", self._reader.key, "service"), ["reveal"], ACCOUNT_SCOPE)

    def administrator(self) -> Client:
        """A fresh client of the administrator; closed with the rig."""
        return self._client(self._administrator)

    def reader(self) -> Client:
        """A fresh client of the service that may reveal: it knows nothing yet. Closed with the rig."""
        return self._client(self._reader)

    def _client(self, identity: Identity) -> Client:
        home = Home(self.folder / f"home-{len(self._clients)}")
        client = Client(self.origin, self.account, identity, ca_file=self.ca_file, home=home)
        self._clients.append(client)
        return client

    async def store(self, names: Sequence[str]) -> None:
        """Stores a value under each name."""
        client, gate = self.administrator(), asyncio.Semaphore(STORING_AT_ONCE)

        async def one(name: str) -> None:
            async with gate:
                await client.store(f"account.{name}", os.urandom(VALUE_BYTES // 2).hex().encode())

        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(one(name))

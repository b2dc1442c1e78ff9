"""A whole installation on this machine: a real manager and real delegates as child processes, an account, a context.

For trying out, demonstrations and tests; never for production: it keeps the root key beside the data. Promises: listens on
loopback only, ends only its own children, and starts again from a folder that it was given. Must not touch other contexts.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_lowercase
from types import TracebackType

import aiohttp
import msgspec

from client.clock import system_clock
from client.context import Context, Contexts
from client.founding import Founding, Places, begin, complete, identity_for
from client.home import Home, write_private
from client.ports import HeldPorts
from client.program import START_SECONDS, Program, clean_environment, command
from client.sdk import Client
from shared.documents.status import StatusDocument
from shared.errors import Malformed, NotFound, PrivySealError, Unavailable

NAME = "dev"
RENEWED_EVERY_SECONDS = 6 * 3600.0
MOST_DELEGATES = 8
_POLL_SECONDS = 0.03


class Layout(msgspec.Struct):
    """What a folder holds: ports, and the account once it is made."""

    http: int
    grpc: int
    health: list[int]
    account: str = ""


class DevEnvironment:
    """Use as an async context manager; ready inside it.

    `folder` is kept and may be used again, without one it is temporary. Delegates are named `a`, `b`, ... and carry the
    selector `zone:` and their name. `home` is where the context is kept, by default in the folder. Options are appended
    to the programs' command lines; those of a delegate by its name, or of all by `*`. `delegate_environ` are variables of
    every delegate (a cloud's identity).
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        delegates: int = 2,
        name: str = NAME,
        home: Home | None = None,
        manager_options: Sequence[str] = (),
        delegate_options: Mapping[str, Sequence[str]] | None = None,
        delegate_environ: Mapping[str, str] | None = None,
    ) -> None:
        self.is_temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="privyseal-dev-")) if folder is None else folder.absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home = home or Home(self.folder / "home")
        self.name = name
        self.database = self.folder / "manager.db"
        self.keyring = self.folder / "keyring.json"
        self.root_key = self.folder / "root.pem"
        self._names = tuple(ascii_lowercase[: min(max(delegates, 0), MOST_DELEGATES)])
        self._manager_options = tuple(manager_options)
        self._delegate_options = dict(delegate_options or {})
        self._delegate_environ = dict(delegate_environ or {})
        self._ports = HeldPorts()
        self._layout = self._read_layout()
        self._probes: aiohttp.ClientSession | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.manager = self._manager()
        self.delegates = {one: self._delegate(at, one) for at, one in enumerate(self._names)}

    # ---- places

    @property
    def url(self) -> str:
        """Where clients reach the manager."""
        return f"http://127.0.0.1:{self._layout.http}"

    @property
    def delegate_url(self) -> str:
        """Where delegates dial."""
        return f"http://127.0.0.1:{self._layout.grpc}"

    @property
    def account(self) -> str:
        """The account's id."""
        return self._layout.account

    @property
    def logs(self) -> list[Path]:
        """The log files of all programs."""
        return [self.manager.log, *(one.log for one in self.delegates.values())]

    def client(self, *, org: str | None = None, project: str | None = None) -> Client:
        """A new client of the account as its administrator; close it."""
        _, context = Contexts(self.home).find(self.name)
        return Client.of_context(context, self.home, org=org, project=project, passphrase=lambda _: None)

    # ---- life

    async def __aenter__(self) -> DevEnvironment:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Everything up and ready. Raises Unavailable with the log of what failed."""
        # A tight limit: a probe that hangs must not count as an answer.
        self._probes = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))
        self._check_context()
        await self.manager.start()
        await self._found()
        await asyncio.gather(*(one.start() for one in self.delegates.values()))
        await self.ready()
        await self._renew()
        self._renewing = asyncio.create_task(self._keep_renewed(), name="status renewal")

    async def stop(self) -> None:
        """Everything down, delegates first; a temporary folder is removed with its context."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing
        await asyncio.gather(*(one.stop() for one in self.delegates.values()))
        await self.manager.stop()
        self._ports.let_go()
        if self._probes is not None:
            await self._probes.close()
            self._probes = None
        if self.is_temporary:
            self._forget_context()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def ready(self) -> None:
        """Waits until every running program is ready, and the manager knows of every running delegate."""
        for one in (self.manager, *self.delegates.values()):
            if one.running:
                await one.ready()
        wanted = {name for name, one in self.delegates.items() if one.running}
        loop = asyncio.get_running_loop()
        until = loop.time() + START_SECONDS
        async with self.client() as client:
            while not wanted <= await self._connected(client):
                if loop.time() > until:
                    raise Unavailable("delegates_missing", "a delegate doesn't reach the manager", f"see {self.folder}")
                await asyncio.sleep(_POLL_SECONDS)

    @staticmethod
    async def _connected(client: Client) -> set[str]:
        return {str(one["name"]) for one in await client.views.delegates() if one["state"] == "connected"}

    # ---- parts

    def _manager(self) -> Program:
        argv = [
            *command("privyseal-manager", "manager.main"),
            *("--listen", f"127.0.0.1:{self._layout.http}"),
            *("--delegate-listen", f"127.0.0.1:{self._layout.grpc}"),
            *("--database", self._database_url()),
            *("--log-format", "json"),
            *self._manager_options,
        ]
        return Program("the manager", argv, self.folder / "manager.log", lambda: self._answers(self._layout.http))

    def _delegate(self, at: int, name: str) -> Program:
        port = self._layout.health[at]
        argv = [
            *command("privyseal-delegate", "delegate.main"),
            *("--manager", self.delegate_url),
            *("--keyring-file", str(self.keyring)),
            *("--name", name),
            *("--tags", f"zone:{name}"),
            *("--health-address", f"127.0.0.1:{port}"),
            *("--backoff-max-seconds", "1s"),
            *("--log-format", "json"),
            # Whatever else this machine does is no reason to wait here.
            *("--cpu-limit-percent", "0", "--memory-limit-percent", "0"),
            *self._delegate_options.get("*", ()),
            *self._delegate_options.get(name, ()),
        ]
        log = self.folder / f"delegate-{name}.log"
        return Program(f"the delegate {name}", argv, log, lambda: self._answers(port), self._delegate_environ)

    def _database_url(self) -> str:
        return f"sqlite:///{self.database}"

    async def _answers(self, port: int) -> bool:
        if self._probes is None:
            return False
        try:
            async with self._probes.get(f"http://127.0.0.1:{port}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    # ---- the account

    async def _found(self) -> None:
        """The account, made when the folder is new; the context, in any case."""
        if not self._layout.account:
            identity = identity_for(self.home, self.name, lambda _: None, lambda: None)
            founding = self._founding()
            if founding is None:
                founding = await asyncio.to_thread(
                    begin,
                    self.home,
                    self.name,
                    self.url,
                    self.name,
                    identity,
                    Places(self.root_key, self.keyring),
                    self._keep_recovery,
                    "",
                    system_clock,
                )
            await complete(self.home, founding, await self._token(), identity, system_clock, use=False, replace=True)
            self._layout.account = founding.account
        self._write_layout()
        Contexts(self.home).put(self.name, Context(self.url, self._layout.account, self.name), use=False, replace=True)

    def _check_context(self) -> None:
        """A context of that name is ours only when its manager is on this machine, over plain text."""
        with suppress(NotFound):
            if not Contexts(self.home).find(self.name)[1].manager.startswith("http://"):
                raise Malformed(
                    "context_exists", f"the context {self.name} is not of this kind", "choose another --name"
                )

    def _founding(self) -> Founding | None:
        """A founding of this folder that was interrupted; one of another folder is forgotten."""
        raw = self.home.read("founding", f"{self.name}.json")
        if raw is None:
            return None
        with suppress(msgspec.MsgspecError):
            founding = msgspec.json.decode(raw, type=Founding)
            if founding.root_path == str(self.root_key) and founding.manager == self.url:
                return founding
        self.home.path("founding", f"{self.name}.json").unlink()
        return None

    def _keep_recovery(self, recovery: str) -> None:
        write_private(self.folder / "recovery.txt", f"{recovery}\n".encode())

    async def _token(self) -> str:
        """A one-time token, as an operator gets it."""
        argv = [*command("privyseal-manager", "manager.main"), "account", "add", "--database", self._database_url()]
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(os.environ),
        )
        out, errors = await process.communicate()
        if process.returncode:
            reason = errors.decode("utf-8", "replace").strip()
            raise Unavailable(
                "program_failed", f"privyseal-manager account add failed: {reason}", "see the manager's log"
            )
        return out.decode("ascii").strip()

    async def _renew(self) -> StatusDocument:
        """A fresh status when the old one is older than a day."""
        async with self.client() as client:
            await client.account.sync(force=True)
            status = client.publisher.status()
            if client.account.clock() - status.document.iat > 86_400:
                status = await client.publisher.renew()
            return status.document

    async def _keep_renewed(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_EVERY_SECONDS)
            # The manager may be down on purpose; next time it is up again.
            with suppress(PrivySealError):
                await self._renew()

    def _forget_context(self) -> None:
        contexts = Contexts(self.home)
        with suppress(NotFound):
            if contexts.find(self.name)[1].account == self._layout.account:
                contexts.remove(self.name)
        if self._layout.account:
            for ending in ("json", "lock"):
                self.home.path("seen", f"{self._layout.account}.{ending}").unlink(missing_ok=True)

    # ---- the folder

    def _read_layout(self) -> Layout:
        path = self.folder / "dev.json"
        kept: Layout | None = None
        with suppress(OSError, msgspec.MsgspecError):
            kept = msgspec.json.decode(path.read_bytes(), type=Layout)
        wanted = len(self._names)
        if kept is not None and self._ports.hold((kept.http, kept.grpc, *kept.health)):
            kept.health += self._ports.take(max(0, wanted - len(kept.health)))
            return kept
        http, grpc, *health = self._ports.take(2 + wanted)
        return Layout(http, grpc, health, kept.account if kept is not None else "")

    def _write_layout(self) -> None:
        write_private(self.folder / "dev.json", msgspec.json.encode(self._layout) + b"\n")

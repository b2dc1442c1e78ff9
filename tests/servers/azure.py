"""Key Vault, Entra ID and a machine's managed identity on loopback, behind one TLS port, for Azure's own libraries.

    with Azure() as azure:
        azure.vault.put("db", "hunter2")
        azure.endpoints                  # what a delegate's azure_endpoints say
        azure.authority                  # PEM file: SSL_CERT_FILE of who calls

Promises: nothing is answered without a token that this Entra ID gave (401 with a challenge, as "Authentication, requests and
responses" describes); each request is noted; faults come when they are told to. Must not listen beyond loopback.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.authority import Authority
from tests.fakes.azure_vault import ALL_RIGHTS, AzureVault, Refused
from tests.fakes.entra import App, Entra, Rejected
from tests.servers.answering import Handler, Server
from tests.servers.https import server_context

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11111111-2222-4333-8444-555555555555"
CLIENT_SECRET = "Kx8Q~notARealClientSecret.0123456789abcdef"
VAULT = "privyseal-test"
LONGEST_WAIT = 30.0


@dataclass
class Fault:
    """What the next `times` requests get whose method and path `hits` says yes to."""

    hits: Callable[[str, str], bool]
    times: int
    status: int
    body: bytes
    headers: dict[str, str]
    hangs: bool = False


class Azure:
    """One tenant with one app registration, one vault where it may do everything, and one port."""

    def __init__(self, vault: str = VAULT) -> None:
        self.entra = Entra(TENANT, apps={CLIENT: App(CLIENT, {CLIENT_SECRET})})
        self.vault = AzureVault(vault, TENANT, rights={CLIENT: ALL_RIGHTS})
        self.challenge = (
            f'Bearer authorization="https://{self.entra.host}/{TENANT}", resource="https://vault.azure.net"'
        )
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="azure-")
        self.authority = Path(self._folder.name) / "authority.pem"
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def endpoints(self) -> str:
        """All three at this port."""
        return f"vault={self.url},login={self.url},identity={self.url}"

    def __enter__(self) -> Self:
        authority = Authority("Azure on loopback")
        self.authority.write_bytes(authority.certificate)
        context = server_context(authority)
        # The handshake is its thread's: somebody who never ends it keeps nobody waiting.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._folder.cleanup()

    def fail(
        self,
        where: str,
        status: int = 503,
        body: Any = None,
        times: int = 1,
        method: str = "",
        hangs: bool = False,
        **headers: str,
    ) -> None:
        """The next requests to paths that begin so are answered so, or (`hangs`) not before `released`."""
        told = json.dumps(body or {"error": {"code": "InternalServerError", "message": "no"}}).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        hits = _hits(where, method)
        self.faults.append(Fault(hits, times, status, told, given, hangs))

    def calls(self, where: str = "/secrets/") -> list[tuple[str, str]]:
        """Those that carried a token, to paths that begin so."""
        return [one for one in self.requests if one[1].startswith(where)]

    def answered(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        with self._lock:
            fault = next((one for one in self.faults if one.times > 0 and one.hits(method, path)), None)
            if fault is not None:
                fault.times -= 1
        if fault is not None:
            if fault.hangs:
                self.released.wait(LONGEST_WAIT)
            return fault.status, fault.headers, fault.body
        with self._lock:
            try:
                status, told = self._routed(method, path, query, headers, body)
            except (Refused, Rejected) as why:
                status, told = why.status, why.body
        extra = {"WWW-Authenticate": self.challenge} if status == 401 and not path.endswith("/token") else {}
        return status, extra, b"" if told is None else json.dumps(told).encode()

    def _routed(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> tuple[int, Any]:
        if path == "/metadata/identity/oauth2/token":
            return self.entra.metadata(headers, query)
        if path == "/msi/token":
            return self.entra.app_service(headers, query)
        if path.endswith("/oauth2/v2.0/token") and method == "POST":
            return self.entra.token(path.split("/")[1], dict(parse_qsl(body.decode())))
        who = self.entra.principal(headers.get("Authorization", "").removeprefix("Bearer "))
        if who is None:
            raise Refused(401, "Unauthorized", message="AKV10000: Request is missing a Bearer or PoP token.")
        self.requests.append((method, path))
        return self.vault.answer(who, method, path, query, json.loads(body) if body else {})


def _hits(where: str, method: str) -> Callable[[str, str], bool]:
    return lambda asked, path: path.startswith(where) and method in {"", asked}


def _server(azure: Azure) -> Server:
    class Answering(Handler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query))
            status, headers, told = azure.answered(self.command, parts.path, query, self.headers, body)
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(told)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told)

    return Server(Answering)


@contextmanager
def trusted(azure: Azure, setenv: Callable[[str, str], None]) -> Iterator[None]:
    """SSL_CERT_FILE is that server's authority."""
    setenv("SSL_CERT_FILE", str(azure.authority))
    yield

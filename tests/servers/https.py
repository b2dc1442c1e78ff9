"""A provider's REST interface on loopback, over TLS: what answers is the fake that is given.

    with Https(fake) as site:             # fake.answer(Request) -> Reply
        site.url                          # https://127.0.0.1:PORT
        site.authority.certificate        # PEM: whom a client has to trust
        site.fail("/api", Reply(503), times=2)

Promises: real TLS with a certificate of `authority`; with `clients`, another authority, a client's certificate is asked for
and verified in the handshake, and `Request.certificate` is what the handshake proved. Each request is noted; faults come when
they are told to. Must not listen beyond loopback, nor know any provider.
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509

from tests.fakes.authority import Authority
from tests.servers.answering import Handler, Server

LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class Request:
    """`path` is as it was sent, still encoded; `query` is decoded; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    certificate: x509.Certificate | None = None
    raw_query: str = ""
    peer: str = "127.0.0.1"


@dataclass(frozen=True)
class Reply:
    """An answer; `announced` is the length that its header tells, the true one unless given; `hangs` until the site ends."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    hangs: bool = False


def told(status: int, what: Any) -> Reply:
    """JSON."""
    return Reply(status, json.dumps(what).encode(), {"Content-Type": "application/json"})


class Provider(Protocol):
    """What answers; it is called in one thread at a time."""

    def answer(self, request: Request) -> Reply: ...


@dataclass
class _Fault:
    begins: str
    reply: Reply
    times: int


class Https:
    """One port. `required`: whether the handshake fails for a client that shows no certificate."""

    def __init__(self, provider: Provider, *, clients: Authority | None = None, required: bool = False) -> None:
        self.authority = Authority("authority of the site")
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._provider = provider
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._context = server_context(self.authority, clients, required)
        self._server = _server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def trust(self) -> str:
        """The authority as a connector's caCertificate."""
        return self.authority.certificate.decode()

    def __enter__(self) -> Self:
        # The handshake is its thread's: somebody who never ends it keeps nobody waiting.
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(self, begins: str, reply: Reply, times: int = 1) -> None:
        """The next requests to paths that begin so are answered so."""
        self._faults.append(_Fault(begins, reply, times))

    def forgive(self) -> None:
        """No more faults."""
        self._faults.clear()

    def calls(self, begins: str = "/") -> list[Request]:
        """Those to paths that begin so, failed ones included."""
        return [one for one in self.requests if one.path.startswith(begins)]

    def answered(self, request: Request) -> Reply:
        """The next fault for that path, or what the provider answers."""
        with self._lock:
            self.requests.append(request)
            fault = next((one for one in self._faults if one.times > 0 and request.path.startswith(one.begins)), None)
            if fault is None:
                return self._provider.answer(request)
            fault.times -= 1
        if fault.reply.hangs:
            self.released.wait(LONGEST_WAIT)
        return fault.reply


def server_context(authority: Authority, clients: Authority | None = None, required: bool = False) -> ssl.SSLContext:
    """Of a server with a certificate of `authority`, which asks for one of `clients` where there are some."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="https-") as folder:
        both = Path(folder) / "server.pem"
        both.write_bytes(b"".join(authority.issue()))
        context.load_cert_chain(both)
    if clients is not None:
        context.load_verify_locations(cadata=clients.certificate.decode())
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _server(site: Https) -> Server:
    class Answering(Handler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            shown = self.connection.getpeercert(binary_form=True)
            reply = site.answered(
                Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                    x509.load_der_x509_certificate(shown) if shown else None,
                    parts.query,
                    str(self.client_address[0]),
                )
            )
            self.send_response(reply.status)
            length = len(reply.body) if reply.announced is None else reply.announced
            for name, value in {"Content-Length": str(length), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = self.close_connection or reply.announced is not None

    return Server(Answering)

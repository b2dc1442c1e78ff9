"""Vault's HTTP API by its own client library, held to our rules: whom it trusts, how long it waits, what it believes of its
surroundings.

Promises: certificates are verified, against the connector's authorities alone where it names some; redirects aren't followed;
an answer is read within its time and up to a limit; of the environment only the proxy variables count (no token, address,
certificate or password from there). A client key touches no disk. Everything here blocks: it is called in threads.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from hvac import Client  # type: ignore[import-untyped]
from hvac.adapters import RawAdapter  # type: ignore[import-untyped]
from hvac.exceptions import VaultError  # type: ignore[import-untyped]
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ReadTimeoutError

from delegate.credentials.tls import client_context
from shared.connectors.vault import VaultConnection
from shared.crypto.plaintext import Plaintext

CONNECT_SECONDS = 5.0
CONNECTIONS = 16
"""Open at once to one server, for one connector; as many threads wait for them."""
LARGEST_ANSWER = 16 * 1024 * 1024
_PIECE = 65_536

T = TypeVar("T")


class Garbled(Exception):
    """What answers doesn't speak as Vault does."""


class TooLong(Exception):
    """An answer past the limit."""


class Refused(VaultError):  # type: ignore[misc]
    """An answer that isn't one of success. `errors` are Vault's own words: to be compared, never to be passed on."""

    def __init__(self, status: int, errors: tuple[str, ...]) -> None:
        super().__init__("refused", method="", url="")
        self.status = status
        self.said = " ".join(errors)


class _Errors(msgspec.Struct, frozen=True):
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A successful answer, or one about a version that is deleted (404 with metadata)."""

    body: bytes

    def read(self, form: type[T]) -> T:
        """As that struct. Raises Garbled."""
        try:
            return msgspec.json.decode(self.body, type=form)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise Garbled from None


class VaultHttp:
    """Connections to one server. Constructing opens nothing."""

    def __init__(self, settings: VaultConnection, key: Plaintext | None, seconds: float) -> None:
        self._settings = settings
        self._key = key
        self._seconds = seconds
        self._opening = threading.Lock()
        self._session: Session | None = None

    def client(self, token: str) -> Client:
        """The library's client, which asks with that token, "" for none. Raises Malformed for an unusable certificate."""
        with self._opening:
            if self._session is None:
                self._session = self._opened()
        # An empty token and URL would be looked for in the environment; our adapter takes no certificate from there.
        return Client(
            url=self._settings.vault_url.rstrip("/"),
            token=token,
            verify=True,
            cert=("", ""),
            timeout=(min(CONNECT_SECONDS, self._seconds), self._seconds),
            allow_redirects=False,
            session=self._session,
            adapter=_Adapter,
            namespace=self._settings.namespace or None,
        )

    def close(self) -> None:
        """Close the connections; a later call opens others."""
        with self._opening:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _opened(self) -> Session:
        session = Session()
        # netrc, and certificate files of the environment, would speak for others.
        session.trust_env = False
        session.proxies.update(get_environ_proxies(self._settings.vault_url))
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": "privyseal"})
        transport = _Transport(self._context(), self._seconds)
        session.mount("https://", transport)
        session.mount("http://", transport)
        return session

    def _context(self) -> ssl.SSLContext:
        settings, key = self._settings, self._key
        shown = (settings.client_certificate.encode(), key.reveal()) if key is not None else None
        return client_context(settings.ca_certificate, shown)


class _Adapter(RawAdapter):  # type: ignore[misc]
    """Gives `Answer`s, and refusals as `Refused`."""

    def request(
        self, method: str, url: str, headers: Any = None, raise_exception: bool = True, **kwargs: Any
    ) -> Answer:
        """As the library's own, with another form of answer."""
        kwargs["cert"] = None
        response: Response = super().request(method, url, headers=headers, raise_exception=False, **kwargs)
        body = response.content
        if response.status_code == 204:
            return Answer(b"{}")
        if response.status_code == 200 or (response.status_code == 404 and _is_deleted(body)):
            return Answer(body)
        try:
            said = msgspec.json.decode(body, type=_Errors).errors
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            said = ()
        raise Refused(response.status_code, said)


class _Transport(HTTPAdapter):
    """One TLS context for all connections, and answers that are read here, within their time."""

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        self._context = context
        self._seconds = seconds
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """With our context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """With our context, for what lies behind the proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: PreparedRequest, *_: Any) -> Any:
        """The library would add authorities of its own to our context."""
        host, _attributes = super().build_connection_pool_key_attributes(request, True)
        return host, {}

    def cert_verify(self, *_: Any) -> None:
        """Our context verifies; the library would add authorities of its own."""

    def send(self, request: PreparedRequest, stream: bool = False, *args: Any, **kwargs: Any) -> Response:
        """The answer with its whole body. Raises what the library raises, and TooLong."""
        ends = time.monotonic() + self._seconds
        response = super().send(request, True, *args, **kwargs)
        body = bytearray()
        try:
            while piece := response.raw.read1(_PIECE, decode_content=False):
                body += piece
                if len(body) > LARGEST_ANSWER:
                    raise TooLong
                if time.monotonic() > ends:
                    raise ReadTimeoutError(response.raw, "", "slow")
        except BaseException:
            response.raw.close()
            raise
        response._content, response._content_consumed = bytes(body), True
        # Redirects aren't followed, and the library would stumble over one that leads nowhere.
        response.headers.pop("Location", None)
        return response


class _Timed(io.RawIOBase):
    """What comes through a socket, until its time is over: its own timeout is one for each piece of an answer."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ends = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As the socket's. Raises TimeoutError."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Headers and body together within the time of one try: whoever lets them trickle would keep a thread for years."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock))


class _Connection(HTTPConnection):
    response_class = _TimedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


def path(*parts: str) -> str:
    """The library's form of a path, each part quoted; a slash within a part separates."""
    return "/v1/" + "/".join(quote(part.strip("/").encode()) for part in parts if part.strip("/"))


def _is_deleted(body: bytes) -> bool:
    """Whether it tells of a version of a KV secret that is deleted or destroyed."""
    try:
        told = msgspec.json.decode(body, type=Mapping[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    data = told.get("data")
    return isinstance(data, dict) and isinstance(data.get("metadata"), dict)

"""HTTPS for kinds that speak a provider's REST interface without a library of its own, held to our rules.

Promises, for every request: it goes to the one origin that was given, if the local policy allows that host; certificates are
verified; redirects aren't followed, cookies not kept, nothing is unpacked; an answer is read within its time and up to a
limit; of the environment only the proxy variables count. An error repeats nothing that was sent or answered. Must not know
any provider, nor try again: `Tries` does that for what is harmless twice.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from delegate.credentials.tls import client_context
from delegate.policy import LocalPolicy
from shared.errors import Denied, Malformed, PrivySealError, Unavailable

CONNECT_SECONDS = 5.0
CONNECTIONS = 16
"""Open at once, for one connector."""
LARGEST_ANSWER = 1024 * 1024
LARGEST_PIECE = 512 * 1024
"""Bytes of a request that are sent in one piece."""

_LOOPBACK = re.compile(r"(127(\.[0-9]{1,3}){3}|::1|localhost)\Z")
_PATH = re.compile(r"/(?!/)([A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*\Z")
_UP = re.compile(r"(?i)/(\.|%2e){1,2}(/|\Z)")
_FIELD = re.compile(r"[\x20-\x7e]*\Z")

T = TypeVar("T")


def encoded(*parts: str) -> str:
    """A path of these parts, each percent-encoded, so that no part can end or leave it. Raises Malformed for `.`, `..` and ""."""
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise Malformed(
            "path_malformed",
            "a part of a path at the provider is empty, . or .., or has control characters",
            "look at the reference and at the connector's settings",
        )
    return "".join("/" + quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """Status, header fields by their names in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, form: type[T]) -> T | None:
        """The body as that struct, None where it isn't one."""
        try:
            return msgspec.json.decode(self.body, type=form)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None


class Rest:
    """Connections to one origin (scheme, host, port). Constructing opens nothing; raises Malformed for an unusable origin.

    `name` is what errors call the provider, `code` what their codes begin with.
    """

    def __init__(
        self,
        origin: str,
        policy: LocalPolicy,
        seconds: float,
        *,
        authorities: str = "",
        certificate: tuple[bytes, bytes] | None = None,
        largest: int = LARGEST_ANSWER,
        name: str = "the provider",
        code: str = "rest",
    ) -> None:
        self._host = _host_of(origin)
        self._origin = origin.rstrip("/")
        self._policy = policy
        self._seconds = seconds
        self._authorities = authorities
        self._certificate = certificate
        self._largest = largest
        self._name = name
        self._code = code
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """The name or address that is called."""
        return self._host

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        about: str = "a call",
    ) -> Answer:
        """One request; `path` is encoded and begins with /, `query` isn't encoded yet, `about` names the request in errors.

        Raises Denied for a host that the local policy refuses and for a redirect, Malformed for a path, header or certificate
        that can't be sent and for an answer that is too long, Unavailable for all that went wrong on the way.
        """
        self._policy.check_host(self._host)
        self._check(path, headers or {}, about)
        url = self._origin + path
        if query:
            url += "?" + "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items())
        try:
            async with self._opened().request(
                method,
                URL(url, encoded=True),
                headers={"Accept-Encoding": "identity", "User-Agent": "privyseal", **(headers or {})},
                # The library warns of more than that in one piece: it would be copied at once, on the loop.
                data=BytesIO(body) if body is not None and len(body) > LARGEST_PIECE else body,
                proxy=_proxy_of(url),
                allow_redirects=False,
            ) as response:
                return await self._read(response, about)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error, about) from None

    def slow(self, about: str) -> PrivySealError:
        """The error for a call without an answer in time: for `Tries`."""
        return self._unavailable(
            "slow",
            f"{self._name} didn't answer {about} in time",
            "try again; if it stays so, look at its load and at the network between the delegate and it",
        )

    def garbled(self, about: str) -> PrivySealError:
        """The error for an answer that isn't one of the provider."""
        return self._unavailable(
            "garbled",
            f"what answers {about} at {self._host} doesn't speak as {self._name} does",
            "look at the connector's URL and at what stands between the delegate and the provider",
        )

    def parsed(self, answer: Answer, form: type[T], about: str) -> T:
        """An answer as that struct. Raises Unavailable (`garbled`) for one of another form."""
        read = answer.read(form)
        if read is None:
            raise self.garbled(about)
        return read

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = client_context(self._authorities, self._certificate)
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=CONNECTIONS, ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                # netrc would speak for others.
                trust_env=False,
                timeout=aiohttp.ClientTimeout(
                    total=self._seconds, sock_connect=min(CONNECT_SECONDS, self._seconds), ceil_threshold=60
                ),
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse, about: str) -> Answer:
        if 300 <= response.status < 400:
            raise Denied(
                f"{self._code}_redirected",
                f"what answers {about} at {self._host} wants to redirect the call, and redirects aren't followed",
                "give the connector the address that really answers, and look at what stands before it",
            )
        # What is packed could be of any size.
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self.garbled(about)
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._largest:
                response.close()
                raise Malformed(
                    "value_too_large",
                    f"the answer of {self._name} to {about} is longer than {self._largest:,} bytes",
                    "refer to less",
                )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, bytes(body))

    def _check(self, path: str, headers: Mapping[str, str], about: str) -> None:
        if not _PATH.match(path) or _UP.search(path):
            raise Malformed(
                "path_malformed",
                f"the path of {about} can't be sent as it is",
                "look at the reference and at the connector's settings: no empty parts, no . and .., no control characters",
            )
        if not all(_FIELD.match(name) and _FIELD.match(value) for name, value in headers.items()):
            raise Malformed(
                "header_malformed",
                f"a header field of {about} has characters that can't be sent",
                "look at the connector's credentials: printable ASCII on one line",
            )

    def _failure(self, error: Exception, about: str) -> PrivySealError:
        match error:
            case TimeoutError():
                return self.slow(about)
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                return self._unavailable(
                    "unreachable",
                    f"the proxy on the way to {self._name} can't be reached or refuses, at {about}",
                    "look at HTTPS_PROXY and NO_PROXY of the delegate",
                )
            case _ if _is_tls(error):
                return self._unavailable(
                    "untrusted",
                    f"TLS with {self._name} fails at {about}: its certificate isn't trusted or has another name, or it refuses "
                    "the connector's",
                    "give the authority that issued its certificate: caCertificate; certificates are always verified",
                )
            case aiohttp.ClientConnectorError():
                return self._unavailable(
                    "unreachable",
                    f"{self._name} can't be reached for {about}, at {self._host}",
                    "look at the connector's URL and at the network between the delegate and the provider",
                )
            case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
                return self._unavailable(
                    "cut",
                    f"the connection to {self._name} ended before its whole answer to {about}",
                    "try again; a server that refuses the client certificate, or wants one, may also break off so",
                )
        return self.garbled(about)

    def _unavailable(self, what: str, detail: str, hint: str) -> Unavailable:
        return Unavailable(f"{self._code}_{what}", detail, hint)


class _Connector(aiohttp.TCPConnector):
    """Ends a connection that was given up at once: TLS would wait half a minute for the farewell of who doesn't answer."""

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        given_up = should_close or protocol.should_close
        if given_up:
            protocol.abort()
        super()._release(key, protocol, should_close=given_up)


def _host_of(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    else:
        if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
            host = ""
        if parts.scheme != "https" and not (parts.scheme == "http" and _LOOPBACK.match(host)):
            host = ""
    if not host:
        raise Malformed(
            "origin_malformed",
            "the provider's address isn't https://HOST or https://HOST:PORT",
            "look at the connector's URL; http:// is for loopback only",
        )
    return host


def _is_tls(error: Exception) -> bool:
    """Also where a server refuses our certificate only once it reads: TLS 1.3 tells that late."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return True
    under = [getattr(error, "os_error", None), error.__cause__, error.__context__]
    return any(isinstance(one, ssl.SSLError) for one in under)


def _proxy_of(url: str) -> str | None:
    """The environment's for that address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)

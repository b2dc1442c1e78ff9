"""HTTP to the manager: proves who asks, retries what may be retried, and turns problems into errors.

Promises: plain http only to this machine, no redirect is followed, nothing is kept that the manager claims, and every wait
ends. Of the environment only the proxy counts. A problem that comes back is the manager's word, unsigned, and says so. Must
not judge documents: that is the account's business.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from multidict import CIMultiDictProxy
from yarl import URL

from client.clock import Clock
from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.errors import Expired, Malformed, PrivySealError, Unavailable, from_problem
from shared.names import opaque_id

TOKEN_SECONDS = 300
TOKEN_REUSED_SECONDS = 240
ATTEMPTS = 4
LARGEST_BODY_BYTES = 64 * 1024 * 1024
PROTOBUF = "application/x-protobuf"
_PAUSE_SECONDS = 0.15
_PIECE_BYTES = 256 * 1024
_LONGEST_PAUSE_SECONDS = 5.0
_LONGEST_ADVICE_SECONDS = 60
PATIENCE_SECONDS = 90.0
"""All pauses of one request together."""

_LONGEST_REPLIES = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that isn't a problem."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The object in the body. Raises Unavailable when there is none: the manager, or something before it, is faulty."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise _nonsense() from None


class Transport:
    """One manager, asked as one principal (or, with a one-time token, as an operator's guest)."""

    def __init__(
        self,
        origin: str,
        account: str,
        identity: Identity | None,
        clock: Clock,
        *,
        ca_file: str = "",
        token: str = "",
        connect_seconds: float = 10.0,
        reply_seconds: float = 30.0,
    ) -> None:
        self.origin = origin
        self.account = account
        self._identity = identity
        self._clock = clock
        self._ca_file = ca_file
        self._one_time = token
        self._connect_seconds = connect_seconds
        self._reply_seconds = reply_seconds
        self._token = ("", 0)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self._proxy_headers: dict[str, str] = {}

    async def close(self) -> None:
        """Ends its connections, for good: what is still being asked elsewhere makes none of its own."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        wait_seconds: float = 0.0,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Reply:
        """Asks, and answers 2xx or 304. `path` begins at the origin; `wait_seconds` is how long the manager may take on purpose.

        `repeatable` says that asking twice is harmless (by default: GET and DELETE are); then it is asked again after a lost
        connection or a retryable problem, four times at most: with jittered pauses, no shorter than the manager says and no
        longer than `patience_seconds` in all. What never left is tried again in any case. Raises the problem, Unavailable, Expired.
        """
        again = method in {"GET", "DELETE"} if repeatable is None else repeatable
        body = msgspec.json.encode(json) if json is not None else data
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(method, path, body, json is not None, query, headers, wait_seconds)
            except PrivySealError as why:
                pause = pause_after(why, attempt)
                patience_seconds -= pause
                is_over = self._is_closed or attempt == ATTEMPTS or patience_seconds < 0
                if is_over or not ((again or is_unsent(why)) and why.retryable):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        is_json: bool,
        query: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None,
        wait_seconds: float,
    ) -> Reply:
        sent = {"Authorization": self.authorization(), **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json" if is_json else PROTOBUF
        timeout = aiohttp.ClientTimeout(
            # An answer that comes drop by drop would pass every other limit.
            total=_LONGEST_REPLIES * self._reply_seconds + wait_seconds,
            connect=self._connect_seconds,
            sock_read=self._reply_seconds + wait_seconds,
        )
        try:
            session = self._open()
            async with session.request(
                method,
                self.origin + path,
                # aiohttp warns of large bodies at once; from a buffer it sends them piece by piece.
                data=io.BytesIO(body) if body is not None and len(body) > _PIECE_BYTES else body,
                params=query,
                headers=sent,
                proxy_headers=self._proxy_headers,
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                content = await self._content(response)
                if response.status < 300 or response.status == 304:
                    return Reply(response.status, response.headers, content)
                raise _problem(response, content)
        except aiohttp.ClientSSLError as why:
            raise Unavailable(
                "tls_failed",
                f"the manager at {self.origin} doesn't prove who it is: {_reason(why)}",
                "check the URL; give its certificate authority with --ca-file",
            ) from None
        except TimeoutError:
            raise Unavailable(
                "manager_silent", f"the manager at {self.origin} doesn't answer in time", "try again later"
            ) from None
        except (aiohttp.ClientError, OSError) as why:
            raise Unavailable(
                "manager_unreachable",
                f"the manager at {self.origin} can't be reached: {_reason(why)}",
                "check the URL, the network and whether the manager is running",
                **({"unsent": True} if isinstance(why, aiohttp.ClientConnectorError) else {}),
            ) from None

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > LARGEST_BODY_BYTES:
            raise _nonsense()
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > LARGEST_BODY_BYTES:
                raise _nonsense()
            parts.append(part)
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise Unavailable("client_closed", "this client was closed", "open another")
        if self._session is None or self._session.closed:
            secure = self.origin.startswith("https:")
            context: ssl.SSLContext | bool = _verifying(self._ca_file) if secure else True
            # Proxies of the environment are for other machines.
            proxy, self._proxy_headers = _proxy(self.origin) if secure else (None, {})
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=256),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
                headers={"User-Agent": "privyseal"},
                proxy=proxy,
                # It would also take a password for the manager from a .netrc, in place of our token.
                trust_env=False,
            )
        return self._session

    def authorization(self) -> str:
        """The header by which it calls: a token that is made anew every four minutes."""
        if self._one_time:
            return f"Token {self._one_time}"
        if self._identity is None:
            raise Malformed(
                "identity_missing", "no identity is chosen to ask the manager with", "privyseal identity new"
            )
        now = self._clock()
        token, since = self._token
        if not token or not since <= now < since + TOKEN_REUSED_SECONDS:
            token = bearer(self._identity, self.account, self.origin, now)
            self._token = (token, now)
        return f"Bearer {token}"


def bearer(identity: Identity, account: str, origin: str, now: int) -> str:
    """A self-signed bearer token (RFC 7519, EdDSA of RFC 8037), good for five minutes at one manager for one account."""
    header = msgspec.json.encode({"alg": "EdDSA", "kid": identity.kid, "typ": "JWT"}, order="sorted")
    claims = msgspec.json.encode(
        {
            "sub": identity.kid,
            "acct": account,
            "aud": origin,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "jti": opaque_id(os.urandom(16)),
        },
        order="sorted",
    )
    signing_input = f"{b64u(header)}.{b64u(claims)}"
    return f"{signing_input}.{b64u(identity.sign(signing_input.encode()))}"


def _problem(response: aiohttp.ClientResponse, content: bytes) -> PrivySealError:
    """The manager's claim of what is wrong; `facts["unsigned"]` marks it as such."""
    try:
        told = msgspec.json.decode(content, type=dict[str, Any]) if "json" in response.content_type else {}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        told = {}
    if not told.get("code"):
        busy = response.status in {408, 425, 429, 500, 502, 503, 504}
        return (Unavailable if busy else Malformed)(
            "manager_faulty",
            f"the manager, or something before it, answered with HTTP status {response.status} and no reason",
            "check the URL and the manager's log",
        )
    # Ours, from the header: not for a problem to set.
    told.pop("retry_after", None)
    told.setdefault("detail", "it doesn't say why")
    shown = {"detail": f"the manager says: {_clean(told['detail'])}", "hint": _clean(told.get("hint", ""))}
    error = from_problem({**told, **shown, "code": _clean(told["code"])[:64]})
    if told.get("title") == "internal" or response.status == 500:
        error = Unavailable(error.code, error.detail, error.hint)
    error.facts["unsigned"] = True
    after = whole_number(response.headers.get("Retry-After", ""))
    if after is not None:
        error.facts["retry_after"] = min(after, _LONGEST_ADVICE_SECONDS)
    return error


def is_unsent(why: PrivySealError) -> bool:
    """Whether no connection came about, so that whatever was to be sent has happened nowhere. Ours to say, no manager's."""
    return bool(why.facts.get("unsent")) and not why.facts.get("unsigned")


def pause_after(why: PrivySealError, attempt: int) -> float:
    """Seconds before the next attempt, after the one of that number: a little longer than advised, so that not all who were
    sent away together come back together."""
    jitter = random.random()  # noqa: S311 (no secret)
    own = min(_PAUSE_SECONDS * 2.0**attempt * (0.5 + jitter), _LONGEST_PAUSE_SECONDS)
    advised = why.facts.get("retry_after")
    if not isinstance(advised, int) or advised <= 0:
        return own
    return max(own, min(advised, _LONGEST_ADVICE_SECONDS) * (1 + jitter / 4))


def whole_number(text: str) -> int | None:
    """The number in a header, None for anything else: `isdigit` also knows digits that are none to `int`."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _verifying(ca_file: str) -> ssl.SSLContext:
    # Not `create_default_context`: it writes the session's keys to wherever SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file:
            context.load_verify_locations(cafile=ca_file)
        else:
            context.load_default_certs()
    except OSError:
        raise Malformed(
            "ca_file_unreadable", "the file of certificate authorities can't be read", "check --ca-file"
        ) from None
    return context


def _proxy(origin: str) -> tuple[URL | None, dict[str, str]]:
    """The environment's proxy for `origin`, unless PRIVYSEAL_NO_PROXY or NO_PROXY says otherwise, and what it is told.

    Raises Malformed.
    """
    told = getproxies().get("https")
    if not told or os.environ.get("PRIVYSEAL_NO_PROXY") is not None or proxy_bypass(urlsplit(origin).netloc):
        return None, {}
    try:
        url = URL(told if "://" in told else f"http://{told}")
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError
        if not url.user:
            return url, {}
        return url.with_user(None), {"Proxy-Authorization": aiohttp.encode_basic_auth(url.user, url.password or "")}
    except ValueError:
        raise Malformed(
            "proxy_malformed", "the proxy's URL is malformed", "check HTTPS_PROXY; write http://HOST:PORT"
        ) from None


def _clean(text: object) -> str:
    """A claim, fit to be shown on a terminal."""
    return "".join(character for character in str(text)[:2000] if character.isprintable())


def _reason(why: BaseException) -> str:
    """What the system says about a connection, without addresses' details."""
    inner = getattr(why, "os_error", None) or getattr(why, "certificate_error", None) or why
    if (
        isinstance(inner, OSError)
        and isinstance(inner.errno, int)
        and inner.errno > 0
        and not isinstance(inner, ssl.SSLError)
    ):
        return os.strerror(inner.errno).lower()
    return _clean(getattr(inner, "verify_message", "") or type(inner).__name__)


def _nonsense() -> Unavailable:
    return Unavailable("manager_faulty", "the manager answered with something that is no answer", "check the URL")


def origin_host(origin: str) -> str:
    """The host of an origin, for a context's name."""
    return urlsplit(origin).hostname or origin


def expired(what: str, seconds: float) -> Expired:
    """The error for a wait that ended without an answer."""
    return Expired(
        "wait_over", f"{what} wasn't answered within {seconds:.0f} seconds", "look at it with privyseal task list"
    )

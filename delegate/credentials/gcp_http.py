"""The few HTTPS requests that make somebody somebody at Google: token endpoints, and what the delegate's own identity needs.

Promises, for every request: certificates are verified; redirects aren't followed; an answer is read within its time and up to
a limit; of the environment only the proxy variables count, and not for the metadata server; the local policy allows the host,
but for the metadata server of the delegate's own machine, which only the delegate's own identity asks. `ask`
blocks: it is called by `run`, in threads of these connections.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from google.auth.exceptions import TransportError
from google.auth.transport import Request, Response
from requests import Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from delegate.policy import LocalPolicy
from shared.errors import Unavailable

CONNECT_SECONDS = 5.0
LARGEST_ANSWER = 1024 * 1024
THREADS = 2
"""Of one identity; it asks for one token at a time, and a try that was given up may still hold the other."""
_PIECE = 65_536
_METADATA = frozenset({"metadata.google.internal", "169.254.169.254", "fd20:ce::254"})

P = ParamSpec("P")
R = TypeVar("R")


class Slow(Exception):
    """No whole answer within its time."""


class TooLong(Exception):
    """An answer past the limit."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """Status, header fields and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class GcpHttp:
    """Connections of one identity. Constructing opens nothing."""

    def __init__(self, policy: LocalPolicy, seconds: float) -> None:
        self._policy = policy
        self._seconds = seconds
        self._opening = threading.Lock()
        self._session: Session | None = None
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`call(*args)`, which asks, in a thread of these connections: whoever doesn't answer holds nobody else's."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gcp")
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        *,
        own: bool = False,
        seconds: float | None = None,
    ) -> Answer:
        """One request. `own`: for the delegate's own identity.

        Raises Denied for a host that the local policy refuses, Slow, TooLong, RequestException, HTTPError.
        """
        host = urlsplit(url).hostname or ""
        machine = own and host in _METADATA
        if not machine:
            self._policy.check_host(host)
        seconds = min(self._seconds, seconds or self._seconds)
        ends = time.monotonic() + seconds
        with self._opened().request(
            method,
            url,
            data=body,
            headers=dict(headers or {}),
            timeout=(min(CONNECT_SECONDS, seconds), seconds),
            # Behind a proxy somebody else's identity would be asked for, in plain text.
            proxies={} if machine else get_environ_proxies(url),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = bytearray()
            while piece := response.raw.read1(_PIECE, decode_content=False):
                content += piece
                if len(content) > LARGEST_ANSWER:
                    raise TooLong
                if time.monotonic() > ends:
                    raise Slow
            return Answer(response.status_code, dict(response.headers), bytes(content))

    def close(self) -> None:
        """Close connections and threads; a later call opens others."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        with self._opening:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _opened(self) -> Session:
        with self._opening:
            if self._session is None:
                session = Session()
                # netrc, and certificate files of the environment, would speak for others.
                session.trust_env = False
                session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
                session.headers.update({"Accept-Encoding": "identity", "User-Agent": "privyseal"})
                session.mount("https://", _Transport())
                self._session = session
            return self._session


class _Transport(HTTPAdapter):
    """Believes the system's authorities (and SSL_CERT_FILE) beside the library's."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """With the system's context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=ssl.create_default_context())

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """With the system's context, for what lies behind the proxy."""
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=ssl.create_default_context())


class OwnRequests(Request):
    """The same in the form in which Google's library asks, for the delegate's own identity."""

    def __init__(self, http: GcpHttp) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Response:
        """Raises Denied, Unavailable, and the library's TransportError for all that went wrong on the way."""
        try:
            answer = self._http.ask(method, url, headers, body, own=True, seconds=timeout)
        except (RequestException, HTTPError, Slow, TooLong) as error:
            raise TransportError(type(error).__name__) from None  # type: ignore[no-untyped-call]
        if answer.status >= 500 or answer.status == 429:
            # The library would ask again by itself and sleep in between, in a thread that the delegate's end waits for.
            raise Unavailable("gcp_unavailable", "what gives the delegate's own Google identity fails", "try again")
        return _Given(answer)


class _Given(Response):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self._answer.headers.items()}

    @property
    def data(self) -> bytes:
        return self._answer.body

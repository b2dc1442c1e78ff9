"""HTTP for Azure's own libraries, held to our rules: where they may call, whom they trust, that nothing leads them elsewhere.

Promises, for every request of the libraries, those for tokens included: its origin is one of those that were given, or it isn't
made; the local policy allows the host that is really called; redirects aren't followed; certificates are verified, against the
system's authorities or those of SSL_CERT_FILE; an answer is read up to a limit; of the environment only the proxy variables
count, and not for this machine's own identity. Addresses in documents and answers count for nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport

from delegate.policy import LocalPolicy
from shared.errors import Denied, Overloaded, Unavailable

CONNECTIONS = 16
"""Open at once, for one connector."""
LARGEST_ANSWER = 1024 * 1024
"""Bytes; a value has at most 25,000, and a page of versions 25 of them without values."""


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, in lower case; https's own port, which Key Vault's links to further pages have, left out."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.removesuffix(':443') if parts.scheme == 'https' else parts.netloc}".lower()


class AzureHttp(AioHttpTransport):  # type: ignore[misc]
    """`routes`: origins as the libraries know them, and where each is really asked.

    `own`: those among them that this machine or its host has for its identity. The policy isn't asked for them: no document
    names them, and what they give is asked for by connectors that name this delegate.
    """

    session: aiohttp.ClientSession | None

    def __init__(self, routes: Mapping[str, str], policy: LocalPolicy, own: Collection[str] = ()) -> None:
        super().__init__()
        self._routes = routes
        self._policy = policy
        self._own = own

    async def open(self) -> None:
        """Opens connections, again after a `close`."""
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=ssl.create_default_context()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                # netrc would speak for others.
                trust_env=False,
                response_class=_Bounded,
            )
        await super().open()

    async def send(self, request: Any, **config: Any) -> Any:
        """As the library's. Raises Denied, and Overloaded and Unavailable in place of what the library would make of those."""
        origin = origin_of(request.url)
        target = self._routes.get(origin)
        if target is None:
            raise Denied(
                "azure_astray",
                "Azure's library was led to a host that is neither the connector's vault nor its login",
                "look at what stands between the delegate and Azure, and at the delegate's azure_endpoints",
            )
        host = urlsplit(target).hostname or ""
        if origin not in self._own:
            self._policy.check_host(host)
        url = request.url
        request.url = target + url[len("://".join(urlsplit(url)[:2])) :]
        # What is packed could be of any size.
        request.headers["Accept-Encoding"] = "identity"
        # Behind a proxy somebody else's identity would be asked for, in plain text.
        config["proxy"] = None if origin in self._own else _proxy_of(target)
        try:
            response: Any = await super().send(request, **config)
        finally:
            # What a challenge asks for is judged by the origin that the library knows.
            request.url = url
        if response.status_code == 429:
            raise Overloaded(
                "azure_throttled",
                f"Azure takes no more calls for now, at {host}",
                "try again later; Key Vault's limits are for each vault and ten seconds; calls_per_minute keeps a connector below "
                "them",
            )
        if response.status_code >= 500:
            raise Unavailable("azure_unavailable", f"Azure fails at {host}", "try again; see Azure's status page")
        if 300 <= response.status_code < 400:
            raise Denied(
                "azure_redirected",
                f"what answers at {host} wants to redirect the call, and redirects aren't followed",
                "look at the delegate's azure_endpoints and proxy",
            )
        return response


class _Bounded(aiohttp.ClientResponse):
    """Reads no more than the limit, and nothing that is packed."""

    async def read(self) -> bytes:
        """Raises Unavailable for what isn't so."""
        if self._body is None:
            body = bytearray()
            try:
                if self.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise _garbled(self.url.host or "")
                async for piece in self.content.iter_any():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        raise _garbled(self.url.host or "")
            except BaseException:
                self.close()
                raise
            self._body = bytes(body)
        return await super().read()


def _proxy_of(url: str) -> str | None:
    """The environment's for that address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _garbled(host: str) -> Unavailable:
    return Unavailable(
        "azure_garbled",
        f"what answers at {host} doesn't speak as Azure does: its answer is too long, or packed",
        "look at what stands between the delegate and Azure, and at the delegate's azure_endpoints",
    )

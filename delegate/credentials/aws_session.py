"""AWS's own client library, held to our rules: where it may call, what it believes of its surroundings, how long it waits.

Promises, for every request of every client that a session makes, those of the library's own credential chain included: the
host is the one that the library knows for the region, or the one that the delegate's own configuration gives; the local
policy allows it; redirects aren't followed; certificates are verified. Addresses in AWS's own files and variables
(`endpoint_url`, `AWS_ENDPOINT_URL...`) are ignored. A session that isn't the delegate's own reads no AWS file and finds no
credentials but those that it is given.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from delegate.secret_managers.interface import Surroundings

CONNECT_SECONDS = 5.0
CONNECTIONS = 32
"""Open at once to one service, for one connector."""

_NO_FILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Variables of a session: key in the file, environment variable, default, conversion."""


class AwsSession(AioSession):  # type: ignore[misc]
    """Makes clients for one region.

    `own`: with the delegate's own profile and credential chain. Otherwise it signs with `credentials`, or nothing at all.
    """

    def __init__(
        self, region: str, surroundings: Surroundings, *, own: bool = False, credentials: AioCredentials | None = None
    ) -> None:
        super().__init__(session_vars=None if own else _NO_FILES)
        self._endpoints = surroundings.endpoints
        self._policy = surroundings.policy
        self.register_component("data_loader", _descriptions())
        if not own:
            self.register_component("credential_provider", _Given(credentials))
        self.set_config_variable("region", region)
        self.set_config_variable("sts_regional_endpoints", "regional")
        self.set_config_variable("ec2_metadata_v1_disabled", True)
        self.set_default_client_config(
            AioConfig(
                connect_timeout=min(CONNECT_SECONDS, surroundings.call_seconds),
                read_timeout=surroundings.call_seconds,
                max_pool_connections=CONNECTIONS,
                # `delegate.tries` counts them, and only there.
                retries={"total_max_attempts": 1, "mode": "standard"},
                defaults_mode="legacy",
                ignore_configured_endpoint_urls=True,
                http_session_cls=_Http,
                warm_up_loader_caches=True,
            )
        )
        self.register("before-send", self._check_host)

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """A client, as an async context manager; its endpoint is never the caller's."""
        kwargs["endpoint_url"] = self._endpoints.url(service_name)
        return super().create_client(service_name, *args, **kwargs)

    def _check_host(self, request: Any, **_: Any) -> None:
        host = urlsplit(request.url).hostname or ""
        self._policy.check_host(host)


class _Given:
    """A credential chain of one link, or none."""

    def __init__(self, credentials: AioCredentials | None) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> AioCredentials | None:
        return self._credentials


class _Http(AIOHTTPSession):  # type: ignore[misc]
    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Straight(await super()._get_session(proxy_url))


class _Straight:
    """An HTTP session that goes where it was sent: the library would follow a redirect, its session token with it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **kwargs: Any) -> Any:
        return await self._session.request(method, **kwargs, allow_redirects=False)


@cache
def _descriptions() -> Loader:
    """The library's own descriptions of services: megabytes that never change, so that connectors share them."""
    return create_loader()

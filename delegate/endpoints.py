"""Endpoints: where a cloud's services are asked in place of their ordinary addresses (an emulator, a private endpoint).

Promises: only the delegate's own configuration says so, never a document, or an author of connectors could have credentials
sent to himself. Must not ask a name server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from shared.errors import Malformed

ALL = "*"
_SERVICE = re.compile(r"[a-z][a-z0-9\-]{0,63}\Z")
_URL = re.compile(r"(https?)://([A-Za-z0-9.\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[1-9][0-9]{0,4})?/?\Z")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """URLs by the service's name, `*` for all that have none of their own."""

    urls: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def parse(text: str, option: str) -> Endpoints:
        """From `URL` or `SERVICE=URL,SERVICE=URL`; `option` is named in errors. Raises Malformed."""
        urls: dict[str, str] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            service, equals, url = part.partition("=") if "://" not in part.partition("=")[0] else (ALL, "=", part)
            if not equals or not (service == ALL or _SERVICE.match(service)) or service in urls or not _is_url(url):
                raise Malformed(
                    "setting_malformed",
                    f"{option} is malformed",
                    "write https://HOST[:PORT], or SERVICE=https://HOST[:PORT] with commas between; http:// on loopback",
                    setting=option,
                )
            urls[service] = url.rstrip("/")
        return Endpoints(urls)

    def url(self, service: str) -> str | None:
        """Where that service is asked, None for where it ordinarily is."""
        return self.urls.get(service, self.urls.get(ALL))


def _is_url(text: str) -> bool:
    """Scheme, host and port and nothing else, so that nobody's parser sees another host in it."""
    found = _URL.match(text)
    if found is None or int((found[3] or ":1")[1:]) > 65_535:
        return False
    return found[1] == "https" or _is_loopback(found[2].strip("[]"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

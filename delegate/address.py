"""Where the manager is: its URL, and whether the way there is safe and through a proxy.

Plain text is for one machine: an `http` URL that doesn't name loopback is refused. Must not look up a name or open a
connection; a loopback name other than `localhost` is therefore no loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from shared.errors import Malformed

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A manager's gRPC port. `origin` is what a hello is signed for: lower case, the scheme's own port left out."""

    host: str
    port: int
    tls: bool

    @staticmethod
    def parse(url: str) -> Address:
        """`https://HOST[:PORT]`, or `http://` on loopback. Raises Malformed."""
        parts = _split(url, "manager")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password:
            raise Malformed(
                "manager_malformed", "the manager's URL has more than a host and a port", "write https://HOST:PORT"
            )
        address = Address(parts.hostname or "", parts.port or PORTS[parts.scheme], parts.scheme == "https")
        if not address.tls and not address.is_loopback:
            raise Malformed(
                "manager_insecure",
                "the manager's URL is plain text to another machine",
                "write https://; plain text is for 127.0.0.1 and localhost only",
            )
        return address

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def target(self) -> str:
        """HOST:PORT, as gRPC takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without its scheme's own port."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://" + (self.target.rpartition(":")[0] if self.port == PORTS[scheme] else self.target)

    def proxy(self, setting: str | None, environ: Mapping[str, str]) -> str | None:
        """The proxy's URL: the setting, else HTTPS_PROXY; none for loopback in plain text or what NO_PROXY names.

        Raises Malformed for a proxy that isn't reached by HTTP, which is all that gRPC speaks to one.
        """
        url = setting or environ.get("HTTPS_PROXY") or environ.get("https_proxy")
        if not url or not self.tls or self._goes_direct(environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
            return None
        parts = _split(url if "://" in url else f"http://{url}", "proxy")
        if parts.scheme != "http":
            raise Malformed(
                "proxy_malformed",
                "the proxy's URL is not http",
                "write http://HOST:PORT; TLS to the manager goes through it",
            )
        user = parts.netloc.rpartition("@")[0]
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"http://{user}{'@' if user else ''}{host}:{parts.port or 80}"

    def _goes_direct(self, no_proxy: str) -> bool:
        for entry in (part.strip().lower() for part in no_proxy.split(",")):
            name = entry.removeprefix("*").lstrip(".")
            if entry == "*" or (name and (self.host == name or self.host.endswith("." + name))):
                return True
        return False


def _split(url: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in PORTS or not parts.hostname:
        raise Malformed(
            f"{what}_malformed", f"the {what}'s URL is malformed", "write https://HOST:PORT or http://HOST:PORT"
        )
    return parts

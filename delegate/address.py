"""Where the manager is, and whether the way there goes through a proxy.

Must not look up a name or open a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from shared.errors import Malformed
from shared.origin import Origin


@dataclass(frozen=True, slots=True)
class Address:
    """A manager's gRPC port; a hello is signed for its origin."""

    place: Origin

    @staticmethod
    def parse(url: str) -> Address:
        """`https://HOST[:PORT]`, or `http://` on loopback. Raises Malformed."""
        return Address(Origin.parse(url, "manager's URL"))

    @property
    def tls(self) -> bool:
        """Whether the stream is encrypted."""
        return self.place.scheme == "https"

    @property
    def target(self) -> str:
        """HOST:PORT, as gRPC takes it."""
        return self.place.address

    @property
    def origin(self) -> str:
        """The URL in its one form."""
        return str(self.place)

    def proxy(self, setting: str | None, environ: Mapping[str, str]) -> str | None:
        """The proxy's URL: the setting, else HTTPS_PROXY unless PROXY_MANAGER is false; none for loopback in plain text or
        what NO_PROXY names.

        NO_PROXY has hosts (with all below them), addresses, or networks such as 10.0.0.0/8, each with or without `:PORT`,
        and commas or blanks between; `*` is everything. Raises Malformed for a proxy that isn't reached by HTTP, which is all
        that gRPC speaks to one.
        """
        url = setting
        if not url and environ.get("PROXY_MANAGER", "").strip().lower() != "false":
            url = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
        if not url or not self.tls or self._goes_direct(environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
            return None
        parts = _split(url if "://" in url else f"http://{url}")
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
        for entry in no_proxy.replace(",", " ").lower().split():
            name, port = _entry(entry)
            if port in {None, self.place.port} and (name == "*" or _covers(name, self.place.host)):
                return True
        return False


def _entry(entry: str) -> tuple[str, int | None]:
    """The host or network of an entry of NO_PROXY, and the port that it is for; None for any."""
    bare, colon, port = entry.rpartition(":")
    # What has more colons is an IPv6 address, unless it stands in brackets.
    if not colon or not (port.isascii() and port.isdecimal()) or (":" in bare and not bare.endswith("]")):
        return entry, None
    return bare, int(port)


def _covers(name: str, host: str) -> bool:
    """Whether an entry means this host: by an address, its network, or a name that is the host's or above it."""
    bare = name.removeprefix("[").removesuffix("]").replace("]/", "/")
    try:
        address = ip_address(host)
    except ValueError:
        below = bare.removeprefix("*").lstrip(".")
        return bool(below) and (host == below or host.endswith("." + below))
    try:
        return address in ip_network(bare, strict=False)
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if not parts.scheme or not parts.hostname:
        raise Malformed("proxy_malformed", "the proxy's URL is malformed", "write http://HOST:PORT")
    return parts

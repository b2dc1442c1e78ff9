"""An origin: the URL of one of the manager's ports, in the one form that tokens and proofs are made for.

Lower case, the scheme's own port left out, no path. Plain text is for this machine only; a name other than `localhost` may
be answered by anybody, so it isn't this machine whatever it resolves to.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.errors import Malformed

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme (http or https), host without brackets, port."""

    scheme: str
    host: str
    port: int

    @staticmethod
    def parse(url: str, what: str) -> Origin:
        """`https://HOST[:PORT]`, or `http://` on loopback; `what` names the setting. Raises Malformed."""
        hint = "write https://HOST or https://HOST:PORT"
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        # urlsplit lets white space and control characters stand in a host.
        if parts.scheme not in PORTS or not host or not host.isprintable() or " " in host or port == 0:
            raise Malformed("url_malformed", f"the {what} is malformed", hint)
        if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
            raise Malformed("url_malformed", f"the {what} has more than a host and a port", hint)
        origin = Origin(parts.scheme, host, port or PORTS[parts.scheme])
        if origin.scheme == "http" and not is_loopback(host):
            detail = f"the {what} is plain text to another machine"
            raise Malformed("url_insecure", detail, "write https://; plain text is for 127.0.0.1 and localhost only")
        return origin

    @property
    def address(self) -> str:
        """HOST:PORT, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        own = self.port == PORTS[self.scheme]
        return f"{self.scheme}://{self.address.rpartition(':')[0] if own else self.address}"


def is_loopback(host: str) -> bool:
    """Whether that host is this machine, whatever a name server says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

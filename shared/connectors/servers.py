"""What connectors to a server of the customer's own have in common: its URL, certificates as text, audiences of ID tokens."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from shared.connectors.fields import Refused

Line = Annotated[str, Meta(max_length=2048, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
"""A line; empty counts as absent."""
Pem = Annotated[str, Meta(max_length=65_536, pattern=r"^[\x20-\x7e\r\n]*$")]

SECRET = "the reference of a secret: account.NAME, org.NAME or NAME"  # noqa: S105 (a form, no secret)
PEM = "certificates in PEM, as text"

_LOOPBACK = re.compile(r"(127(\.[0-9]{1,3}){3}|::1|localhost)\Z")
_PATH = re.compile(r"(/[A-Za-z0-9_\-.~]+)*/?\Z")
_CLOUDS = re.compile(r"(?i)amazonaws\.com|googleapis\.com|azureadtokenexchange")
"""In the audiences by which AWS, Google and Azure take ID tokens."""


def parts_of(url: str) -> tuple[str, str]:
    """Origin (scheme, host and port) and base path of a checked URL, both without a slash at the end."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


def check_url(place: str, url: str) -> None:
    """Whether it is `https://HOST[:PORT][/PATH]`, or `http://` for loopback. Raises Refused."""
    try:
        parts = urlsplit(url)
        legal = _is_legal(parts)
    except ValueError:
        legal = False
    if not legal:
        raise Refused(
            place, "give https://HOST, with a port or path where it needs one, without user, query or fragment"
        )
    if parts.scheme == "http" and not _LOOPBACK.match(parts.hostname or ""):
        raise Refused(
            place, "credentials and values don't travel in the clear: give https://, http:// only for loopback"
        )


def check_pem(place: str, pem: str) -> None:
    """Whether it is empty or certificates without a key. Raises Refused."""
    if "PRIVATE KEY-----" in pem:
        raise Refused(
            place, "there is a private key in it: keep the key as a secret, and replace it, since this was text"
        )
    if pem and not ("-----BEGIN CERTIFICATE-----" in pem and "-----END CERTIFICATE-----" in pem):
        raise Refused(place, f"give {PEM}")


def check_audience(place: str, audience: str) -> None:
    """Whether no cloud takes tokens for it: they go to a host of the connector's choice. Raises Refused."""
    if _CLOUDS.search(audience):
        raise Refused(place, "this is a cloud's own audience: whoever runs the server could take the token there")


def _is_legal(parts: SplitResult) -> bool:
    # `port` raises ValueError for one that is none.
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and parts.port != 0
        and not (parts.username or parts.password or parts.query or parts.fragment)
        and not set(parts.netloc) & set("\\ @")
        and _PATH.match(parts.path) is not None
        and not {".", ".."} & set(parts.path.split("/"))
    )

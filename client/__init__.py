"""The client: seals and opens at the two edges, and believes only what it has verified. `Client` is the public SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.sdk import Client as Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    # Late, so that `privyseal --help` doesn't load an HTTP client and ciphers.
    if name == "Client":
        from client.sdk import Client

        return Client
    raise AttributeError(name)

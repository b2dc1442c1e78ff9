"""Logins: SSHKeys with the values that they name, and whether one works at a host.

Promises: what can log in to a host is held in one value that goes to what connects, and nowhere else; SSH is loaded by the
first that connects. Must not connect to a host that no signed document names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from delegate.secret_managers.interface import Surroundings
from shared.crypto.plaintext import Plaintext
from shared.ssh import pack


def pack_login(spec: Mapping[str, Any], values: Mapping[str, Plaintext]) -> Plaintext:
    """An SSHKey with the values of the secrets that it names (`shared.ssh`). Raises Malformed."""
    return Plaintext(pack(spec, {reference: value.reveal() for reference, value in values.items()}))


async def check_login(login: Plaintext, address: str, surroundings: Surroundings) -> None:
    """Logs in at HOST or HOST:PORT and runs nothing. Raises Malformed, Denied, Unavailable."""
    raise NotImplementedError

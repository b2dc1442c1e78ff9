"""Credentials that were refused and must not be shown again: where a provider locks who is wrong too often, once is enough.

Promises: nothing is kept of a credential but a MAC under a key of this process; at most so many. One instance for a delegate,
so that it outlives the secret managers that are made of a connector.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict

MOST = 10_000


class RefusedCredentials:
    """The refused ones, by what they were for."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    def add(self, place: str, credential: bytes) -> None:
        """This credential is wrong at that place."""
        self._refused[self._name(place, credential)] = None
        while len(self._refused) > MOST:
            self._refused.popitem(last=False)

    def has(self, place: str, credential: bytes) -> bool:
        """Whether it is known to be wrong there."""
        return self._name(place, credential) in self._refused

    def _name(self, place: str, credential: bytes) -> bytes:
        return hmac.digest(self._key, len(place.encode()).to_bytes(4, "big") + place.encode() + credential, "sha256")

"""Where a ciphertext belongs: the one canonical, length-prefixed form that binds it at every layer.

It is the HPKE info of sealed inputs and answers, the AAD and key-derivation input of records, and (hashed) a KMS's
encryption context. A ciphertext that is moved, in the database or on the wire, no longer opens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.canonical import b64u, lp, sha256


@dataclass(frozen=True, slots=True)
class Aad:
    """The place: `version` is the digest of the store task (of the task, for an answer), empty in a value's input.

    A command's input is bound to its task alone: `version` is the task's `jti`.
    """

    purpose: Literal["store", "answer", "exec"]
    account: str
    keyring: str
    scope: str = ""
    secret: str = ""
    n: int = 0
    version: str = ""
    connector: str = ""

    def encode(self, label: bytes) -> bytes:
        """LP(label), then LP of each field in order; n as eight bytes, most significant first."""
        return lp(
            label,
            self.purpose.encode(),
            self.account.encode(),
            self.keyring.encode(),
            self.scope.encode(),
            self.secret.encode(),
            self.n.to_bytes(8, "big"),
            self.version.encode(),
            self.connector.encode(),
        )

    def encryption_context(self, label: bytes) -> dict[str, str]:
        """What a KMS may log: account id, secret id and a hash of the whole, never a name."""
        return {
            "privyseal:account": self.account,
            "privyseal:secret": self.secret,
            "privyseal:aad": b64u(sha256(self.encode(label))),
        }

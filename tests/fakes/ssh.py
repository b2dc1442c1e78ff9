"""What tests of SSH say in one word: an SSHKey's spec, a target for it, a program, and an error's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delegate.policy import LocalPolicy
from delegate.ssh import SshTarget, bundle_of
from shared.crypto.plaintext import Plaintext

HOST = "127.0.0.1"
SHELL = ("bash", "--noprofile", "--norc", "-c", 'eval "$(cat)"')


@dataclass(frozen=True)
class Words:
    """A program; by default a shell that runs its input."""

    stdin: bytes = b""
    argv: tuple[str, ...] = SHELL


@dataclass(frozen=True)
class Way:
    """How a target logs in, and what it knows; `target` makes it."""

    port: int
    user: str
    key: Path | bytes | None = None
    passphrase: str | None = None
    key_path: Path | None = None
    password: str | bytes | None = None
    known: Sequence[str] = ()
    known_file: Path | None = None
    policy: str = ""
    seconds: float = 10.0
    host: str = HOST
    more: Mapping[str, Any] = field(default_factory=dict)

    def target(self) -> SshTarget:
        """Raises what `SshTarget` raises."""
        spec: dict[str, Any] = {"userName": self.user}
        values: dict[str, bytes] = {}
        if self.password is not None:
            kind = "Password"
            spec["password"] = "account.word"
            values["account.word"] = self.password.encode() if isinstance(self.password, str) else self.password
        elif self.key_path is not None:
            kind = "KeyPath"
            spec["keyPath"] = str(self.key_path)
        else:
            assert self.key is not None
            kind = "KeyReference"
            spec["key"] = "account.key"
            values["account.key"] = self.key if isinstance(self.key, bytes) else self.key.read_bytes()
        if self.passphrase is not None:
            spec["encryptedPassphrase"] = "org.passphrase"
            values["org.passphrase"] = self.passphrase.encode()
        whole = {
            "port": self.port,
            "auth": {"type": "SSH", "spec": {"credentialType": kind, "spec": spec}},
            "knownHosts": list(self.known),
        }
        return SshTarget(
            self.host,
            bundle_of(whole, {name: Plaintext(value) for name, value in values.items()}),
            LocalPolicy.parse(self.policy, []),
            self.seconds,
            "" if self.known_file is None else str(self.known_file),
        )

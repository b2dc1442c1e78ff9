"""Identities on disk: PKCS#8 PEM files, 0600, with a passphrase where their owner wants one.

Promises: a private key leaves its file only into an `Identity`, which never shows it. Must not ask anybody anything:
where a passphrase comes from is the caller's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from client.home import Home, read_private
from shared.crypto.identity import Identity
from shared.errors import Denied, Malformed, NotFound
from shared.names import check_name

FOLDER = "identities"
Passphrase = Callable[[str], bytes | None]
"""Given the name of a locked identity: its passphrase, or None when nobody can be asked."""


def passphrase_from(environ: Mapping[str, str]) -> bytes | None:
    """The passphrase in the file that PRIVYSEAL_PASSPHRASE_FILE names, without its line end."""
    path = environ.get("PRIVYSEAL_PASSPHRASE_FILE")
    return read_private(Path(path), "passphrase file").rstrip(b"\r\n") if path else None


class Identities:
    """All identities of one home, by name."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def names(self) -> list[str]:
        """Sorted."""
        folder = self._home.path(FOLDER)
        return sorted(path.stem for path in folder.glob("*.pem")) if folder.is_dir() else []

    def path(self, name: str) -> Path:
        """Where an identity of that name lies. Raises Malformed for a name that can't be one."""
        if check_name(name, "identity").startswith("."):
            raise Malformed("name_malformed", "an identity's name doesn't start with a point", "choose another name")
        return self._home.path(FOLDER, f"{name}.pem")

    def new(self, name: str, passphrase: bytes | None) -> Identity:
        """Makes and keeps one. Raises Malformed when there is one of that name already."""
        identity = Identity.generate()
        path = self.path(name)
        if path.exists():
            raise Malformed("identity_exists", f"there is an identity {name} already", "choose another name")
        self._home.write(identity.pem(passphrase), FOLDER, path.name, once=True)
        # Beside it, so that the key can be shown without the passphrase.
        self._home.write(f"{identity.key}\n".encode(), FOLDER, f"{name}.pub")
        return identity

    def public(self, name: str) -> str | None:
        """The public key in base64url, if it was kept beside the private one."""
        raw = self._home.read(FOLDER, f"{self.path(name).stem}.pub")
        return raw.decode("ascii", "replace").strip() if raw else None

    def load(self, name: str, passphrase: Passphrase) -> Identity:
        """Raises NotFound, Denied for a file that others may read or a wrong passphrase."""
        path = self.path(name)
        if not path.exists():
            known = ", ".join(self.names()) or "none"
            raise NotFound(
                "identity_unknown", f"there is no identity {name}; known are: {known}", "privyseal identity new"
            )
        return load(path, name, passphrase)


def load(path: Path, name: str, passphrase: Passphrase) -> Identity:
    """The identity in a PEM file. Raises NotReady, Denied, Malformed."""
    pem = read_private(path, "identity")
    if b"ENCRYPTED" not in pem.split(b"\n", 1)[0]:
        return Identity.from_pem(pem, None)
    given = passphrase(name)
    if given is None:
        raise Denied(
            "passphrase_needed",
            f"the identity {name} is locked with a passphrase and nobody can be asked for it",
            "put it in a file (0600) and set PRIVYSEAL_PASSPHRASE_FILE",
        )
    return Identity.from_pem(pem, given)


def from_environment(name: str) -> bytes | None:
    """A `Passphrase` for programs: the environment's file or nothing."""
    return passphrase_from(os.environ)

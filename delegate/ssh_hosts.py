"""The key that a host shows over SSH, held against what is known of that host beforehand.

Promises: a key is believed if a line of the SSHKey or of the delegate's own file names it for the name that is dialled, or names the
authority that signed it, and no line revokes it; RSA below 2,048 bits is never believed. Who is refused is told the fingerprint that
was shown. Must not learn a key by having seen it.
"""

from __future__ import annotations

import asyncio

import asyncssh

from delegate.files import read_text
from delegate.ssh import Login
from shared.errors import Denied, Malformed, PrivySealError
from shared.known_hosts import KEY_TYPES, Known, Line, fingerprint, is_weak, matching, parse, parse_file, type_of

_SIGNED_BY = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_CERTIFICATE = "-cert-v01@openssh.com"


async def known_of(login: Login) -> Known:
    """What the lines of the SSHKey and of the delegate's own file, read anew, say of the host. Raises NotFound, Denied, Malformed."""
    return matching(await _lines(login), login.host, login.port)


def host_key_algorithms(known: Known) -> list[str]:
    """Certificates where an authority is known, then the types of the keys that are known, then all others, to tell what is shown."""
    every = [*dict.fromkeys([*(type_of(key) for key in known.keys), *KEY_TYPES])]
    plain = [name for one in every for name in _SIGNED_BY.get(one, (one,))]
    return [*(f"{name}{_CERTIFICATE}" for name in plain if known.authorities), *plain]


class HostJudge(asyncssh.SSHClient):
    """Judges the host's key. `refusal` is what it found wrong, and `signed` whether an authority that is known had signed it."""

    def __init__(self, login: Login, known: Known) -> None:
        self.refusal: PrivySealError | None = None
        self.signed = False
        self.trusted = False
        self._login, self._known = login, known
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        shown = key.public_data
        self.refusal = self._bad(shown)
        if self.refusal is None and shown not in self._known.keys:
            self.refusal = (
                _changed(self._login, shown) if self._known.keys else _unknown(self._login, shown, self._known)
            )
        return self.refusal is None

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        shown = key.public_data
        self.refusal = self._bad(shown)
        if self.refusal is None and shown not in self._known.authorities:
            self.refusal = _unknown_authority(self._login, shown)
        self.signed = self.refusal is None
        return self.signed

    def begin_auth(self, username: str) -> None:
        """The last moment before anything of the credential leaves; only here a certificate's own key is seen."""
        key = None if self._connection is None else self._connection.get_server_host_key()
        self.refusal = _unknown(self._login, b"", self._known) if key is None else self._bad(key.public_data)
        if self.refusal is not None:
            raise asyncssh.HostKeyNotVerifiable("refused")
        self.trusted = True

    def _bad(self, shown: bytes) -> PrivySealError | None:
        if shown in self._known.revoked:
            return _revoked(self._login, shown)
        return _weak_host(self._login, shown) if is_weak(shown) else None


async def _lines(login: Login) -> tuple[Line, ...]:
    """The lines of the SSHKey, then those of the delegate's own file, read anew for each connection."""
    lines = tuple(parse(text) for text in login.known_hosts)
    if not login.known_hosts_file:
        return lines
    text = await asyncio.to_thread(read_text, login.known_hosts_file, "ssh_known_hosts")
    try:
        return (*lines, *parse_file(text))
    except ValueError as why:
        raise Malformed(
            "ssh_known_hosts_malformed",
            f"the file ssh_known_hosts of the delegate is malformed: {why}",
            "mend that line; ssh-keyscan prints lines as they must be",
        ) from None


def _unknown(login: Login, shown: bytes, known: Known) -> PrivySealError:
    signed = ", and it has none that a known authority signed" if known.authorities else ""
    return Denied(
        "ssh_host_unknown",
        f"the host {login.host} at port {login.port} isn't known{signed}: it shows a key of the type {_type(shown)} with the "
        f"fingerprint {fingerprint(shown)}",
        "compare that with the host's own (ssh-keygen -lf on its public key), then add the key to knownHosts of the SSHKey or to "
        "the delegate's file ssh_known_hosts",
        fingerprint=fingerprint(shown),
    )


def _changed(login: Login, shown: bytes) -> PrivySealError:
    return Denied(
        "ssh_host_changed",
        f"the host {login.host} at port {login.port} shows another key than the known one: of the type {_type(shown)} with the "
        f"fingerprint {fingerprint(shown)}",
        "somebody may stand between; if the host was set up anew, compare the fingerprint there and replace the line in knownHosts "
        "of the SSHKey or in the delegate's file ssh_known_hosts",
        fingerprint=fingerprint(shown),
    )


def _unknown_authority(login: Login, shown: bytes) -> PrivySealError:
    return Denied(
        "ssh_host_unknown",
        f"the certificate of the host {login.host} at port {login.port} is by an authority that isn't known, with the fingerprint "
        f"{fingerprint(shown)}",
        "compare it, then add a line @cert-authority to knownHosts of the SSHKey or to the delegate's file ssh_known_hosts",
        fingerprint=fingerprint(shown),
    )


def _revoked(login: Login, shown: bytes) -> PrivySealError:
    return Denied(
        "ssh_host_revoked",
        f"the host {login.host} at port {login.port} shows a key that is revoked: {fingerprint(shown)}",
        "give the host a new key; somebody may have the old one",
        fingerprint=fingerprint(shown),
    )


def _weak_host(login: Login, shown: bytes) -> PrivySealError:
    return Denied(
        "ssh_host_weak",
        f"the host {login.host} at port {login.port} shows an RSA key of fewer than 2,048 bits: {fingerprint(shown)}",
        "give the host a better one: ssh-keygen -A, and HostKey in its sshd_config",
        fingerprint=fingerprint(shown),
    )


def _type(key: bytes) -> str:
    found = type_of(key)
    return found if found in KEY_TYPES else "another kind"

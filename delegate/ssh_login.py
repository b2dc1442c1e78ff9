"""Logging in over SSH: the host's key, then one credential, then nothing else.

Promises: nothing of a credential leaves before the host has shown a key that its lines in known_hosts name, or one that an authority
in them signed; one credential is tried, once; algorithms are those that are strong today. No agent, no settings or keys of the
delegate's user, no forwarding, no Kerberos, no proxy. Must not repeat a value, nor what a host sends as text.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncssh

from delegate.ssh import Key, KeyFile, Login, Password
from delegate.ssh_hosts import HostJudge, host_key_algorithms, known_of
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, PrivySealError, Unavailable
from shared.known_hosts import KEY_TYPES, is_weak, type_of

KEEPALIVE_SECONDS = 10.0
KEEPALIVES = 3
CLOSE_SECONDS = 1.0
LARGEST_KEY = 64 * 1024

KEX = (
    "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,curve448-sha512,ecdh-sha2-nistp521,"
    "ecdh-sha2-nistp384,ecdh-sha2-nistp256,diffie-hellman-group18-sha512,diffie-hellman-group16-sha512,"
    "diffie-hellman-group14-sha256"
)
"""The library's own without SHA-1, RSA key transport, and groups that the host chooses."""
CIPHERS = "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr"
MACS = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"
SIGNATURES = (
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"  # no SHA-1
)
Connection = asyncssh.SSHClientConnection


@asynccontextmanager
async def connected(login: Login) -> AsyncIterator[Connection]:
    """A connection on which that user is logged in, closed at the end. Raises as `SshTarget.check` says."""
    known = await known_of(login)
    credential = await _credential(login)
    client = HostJudge(login, known)
    try:
        async with asyncio.timeout(login.seconds):
            connection = await asyncssh.connect(
                login.host,
                login.port,
                client_factory=lambda: client,
                config=None,
                username=login.user,
                known_hosts=lambda *_: ([], [], [], [], [], [], []),  # the client judges, and keeps what it saw
                server_host_key_algs=host_key_algorithms(known),
                kex_algs=KEX.split(","),
                encryption_algs=CIPHERS.split(","),
                mac_algs=MACS.split(","),
                signature_algs=SIGNATURES.split(","),
                compression_algs=None,
                connect_timeout=login.seconds,
                login_timeout=login.seconds,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=KEEPALIVES,
                disable_trivial_auth=True,
                x509_trusted_certs=None,
                host_based_auth=False,
                client_host_keysign=False,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                agent_path=None,
                agent_forwarding=False,
                pkcs11_provider=None,
                proxy_command=None,
                x11_forwarding=False,
                request_pty=False,
                env=None,
                send_env=None,
                **credential,
            )
    except TimeoutError:
        raise client.refusal or _silent(login) from None
    except (asyncssh.Error, OSError, ValueError) as error:
        raise client.refusal or _told(error, login, client) from None
    try:
        yield connection
    finally:
        connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.wait_closed()
        connection.abort()


async def _credential(login: Login) -> dict[str, Any]:
    """The arguments that log in by that one credential."""
    nothing: dict[str, Any] = {"password_auth": False, "kbdint_auth": False, "public_key_auth": False}
    one = login.credential
    if isinstance(one, Password):
        # Hosts that ask through PAM do so by keyboard-interactive; a password that was refused isn't given a second time.
        methods = ["password", "keyboard-interactive"]
        password = {"password": _text(one.text, "password"), "password_auth": True, "kbdint_auth": True}
        return {**nothing, **password, "client_keys": None, "preferred_auth": methods}
    text = one.text if isinstance(one, Key) else await asyncio.to_thread(_read_key, one)
    # The derivation of a key from a passphrase takes a good part of a second.
    key = await asyncio.to_thread(_imported, text, one.passphrase)
    return {**nothing, "public_key_auth": True, "client_keys": [key], "preferred_auth": ["publickey"]}


def _imported(text: Plaintext, passphrase: Plaintext | None) -> asyncssh.SSHKey:
    try:
        key = asyncssh.import_private_key(text.reveal())
    except asyncssh.KeyImportError as error:
        if not str(error).startswith("Passphrase"):
            raise _not_a_key() from None
        key = _opened(text, passphrase)
    except (ValueError, TypeError, OverflowError):
        raise _not_a_key() from None
    if type_of(key.public_data) not in KEY_TYPES or is_weak(key.public_data):
        raise Denied(
            "ssh_key_weak",
            "the private key of the SSHKey is of a type or length that is no longer safe",
            "make another: ssh-keygen -t ed25519; RSA takes 2,048 bits or more",
        )
    return key


def _opened(text: Plaintext, passphrase: Plaintext | None) -> asyncssh.SSHKey:
    if passphrase is None:
        raise Denied(
            "ssh_passphrase_missing",
            "the private key of the SSHKey has a passphrase, and the SSHKey names none",
            "store it as a secret and name that in encryptedPassphrase",
        )
    words = _text(passphrase, "passphrase")
    try:
        return asyncssh.import_private_key(text.reveal(), words)
    except (ValueError, TypeError, OverflowError):
        # In PEM the wrong one can't be told from a damaged key: the padding comes out right by chance.
        raise Denied(
            "ssh_passphrase_wrong",
            "the passphrase of the SSHKey doesn't open its private key",
            "store the right one; ssh-keygen -y -f FILE tells whether it is",
        ) from None


def _read_key(one: KeyFile) -> Plaintext:
    """The file, if it is one that others than its owner can't read. Raises NotFound, Denied, Malformed."""
    try:
        descriptor = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(
            "ssh_key_not_found", f"there is no file {one.path} on this delegate", "check keyPath of the SSHKey"
        ) from None
    except OSError:
        raise _unreadable(one.path) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _unreadable(one.path)
        mode = stat.S_IMODE(found.st_mode)
        # A container secret is root's, and readable by a group that was given to this process.
        if mode & 0o077 and (found.st_uid != 0 or mode & ~0o440):
            raise Denied(
                "ssh_key_exposed",
                f"the key file {one.path} has mode {mode:04o}: others than its owner may get at it",
                f"chmod 0600 {one.path} (a mounted container secret: mode 0400 or 0440, owned by root)",
            )
        text = os.read(descriptor, LARGEST_KEY + 1)
    finally:
        os.close(descriptor)
    if len(text) > LARGEST_KEY:
        raise _not_a_key()
    return Plaintext(text)


def _text(value: Plaintext, what: str) -> str:
    try:
        # One line end is a file's or a pipe's: neither can be typed where these are asked for.
        text = value.reveal().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise Malformed(
            "ssh_credential_malformed",
            f"the {what} of the SSHKey is empty, or isn't text in UTF-8",
            "store it again: privyseal secret set",
        )
    return text


# ---- what can be wrong, and what to do about it


def _told(error: Exception, login: Login, client: HostJudge) -> PrivySealError:
    place = f"{login.host} at port {login.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return Denied(
            "ssh_host_certificate",
            f"the certificate of the host {place} isn't valid: its time is over, or it is for another name",
            "sign the host's key anew for the name that is dialled (ssh-keygen -s CA -h -n NAME)",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return _refused(login, place)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return Denied(
            "ssh_algorithms_weak",
            f"the host {place} offers no algorithms in common that are safe",
            "update its SSH server, or let it offer curve25519, AES and keys of ssh-ed25519 or rsa-sha2",
        )
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return Unavailable(
            "ssh_unreachable",
            f"the host {place} can't be reached",
            "check the host's name, the port of the SSHKey, and the way from the delegate to it",
        )
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(
            "ssh_unreachable",
            f"nothing listens on the host {place}",
            "check the port of the SSHKey, and the SSH server",
        )
    if client.trusted and isinstance(error, asyncssh.DisconnectError):
        return Unavailable(
            "ssh_login_broken",
            f"the host {place} ended the connection during the login",
            "look at the SSH server's log: it may limit logins, or refuse this user",
        )
    return Unavailable(
        "ssh_protocol",
        f"what answers on the host {place} doesn't speak SSH as it should, or ends the connection at once",
        "check the host and the port, and the SSH server's log: it may be busy, or want older algorithms than are safe",
    )


def _refused(login: Login, place: str) -> PrivySealError:
    if isinstance(login.credential, Password):
        return Denied(
            "ssh_login_refused",
            f"the host {place} refuses the user and password of the SSHKey",
            "check both, and that the host takes passwords (PasswordAuthentication)",
        )
    return Denied(
        "ssh_login_refused",
        f"the host {place} refuses the user and key of the SSHKey",
        "check userName, and that the public key stands in that user's authorized_keys",
    )


def _silent(login: Login) -> PrivySealError:
    return Unavailable(
        "ssh_silent",
        f"the host {login.host} at port {login.port} didn't finish the login within {login.seconds:g} seconds",
        "look at the host and the way to it, or raise call_seconds of the delegate",
    )


def _not_a_key() -> PrivySealError:
    return Malformed(
        "ssh_key_malformed",
        "the private key of the SSHKey isn't one that can be read",
        "give a private key in PEM or in OpenSSH's form; ssh-keygen -p -m PEM -f FILE converts one",
    )


def _unreadable(path: str) -> PrivySealError:
    return Denied(
        "ssh_key_unreadable", f"the key file {path} can't be read by the delegate", "chown it to the delegate's user"
    )

"""A token that a connector uses: started when it is first needed, logged in to once, started anew when it was lost.

Promises: a PIN that the token refused isn't shown to it again, whatever asks, since tokens lock after a few; a token that was
removed, a library that crashed or doesn't come back costs no more than its own process; nothing but the PIN and data keys pass
to that process. Must not load a library itself: see `delegate.credentials.pkcs11_token`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from delegate.credentials.pkcs11_messages import Answer, Ask, Open
from delegate.credentials.refusals import Refusal
from delegate.credentials.refused import RefusedCredentials
from shared.connectors.pkcs11 import Pkcs11Settings
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable

MODULE = "delegate.credentials.pkcs11_token"
LONGEST_ANSWER = 64 * 1024
LONGEST_PIN = 255

_answer = msgspec.json.Decoder(Answer)


class TokenSession:
    """One token with one PIN. `library` is the file that the delegate's policy names."""

    def __init__(
        self,
        told: Pkcs11Settings,
        library: str,
        pin: Plaintext,
        refused: RefusedCredentials,
        seconds: float,
        environ: Mapping[str, str],
    ) -> None:
        self._told = told
        self._library = library
        self._pin = pin
        self._refused = refused
        self._seconds = seconds
        self._environ = {name: text for name, text in environ.items() if not name.startswith("PRIVYSEAL_")}
        self._about = told.token_label or told.token_serial
        self._place = "\0".join(("pkcs11", library, told.token_label, told.token_serial))
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._lock = asyncio.Lock()

    async def ask(self, ask: Ask) -> bytes:
        """What the token answers. Where it was lost on the way it is opened once more.

        Raises Denied, NotReady, NotFound, Tampered, Malformed, Unavailable, as the table says.
        """
        async with self._lock:
            await self._open()
            error = await self._asked(ask)
            if isinstance(error, str) and error in _LOST:
                # The PIN has proven right, so that to log in again can't lock the token.
                self._end()
                await self._open()
                error = await self._asked(ask)
            if isinstance(error, bytes):
                return error
            if error in _LOST:
                self._end()
            raise self._why(error, ask.label)

    async def close(self) -> None:
        """Ends the process, which logs out. Twice is harmless."""
        async with self._lock:
            self._end()
            if self._thread is not None:
                self._thread.shutdown(wait=False)
                self._thread = None

    async def _open(self) -> None:
        """A process that is logged in. Tried once: what went wrong on the way may have been the login."""
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        pin = self._known_pin()
        told = self._told
        opening = Open(self._library, told.token_label, told.token_serial, told.mechanism, pin.decode())
        error = await self._asked(opening)
        if isinstance(error, bytes):
            return
        self._end()
        if error in _WRONG_PIN:
            self._refused.add(self._place, pin)
        raise self._why(error)

    def _known_pin(self) -> bytes:
        raw = self._pin.reveal()
        try:
            pin = raw.decode().strip()
        except UnicodeDecodeError:
            pin = ""
        if not pin or len(raw) > LONGEST_PIN or "\0" in pin:
            raise Malformed(
                "pkcs11_pin_malformed",
                "the secret that holds the PIN isn't a text that could be one",
                "store the PIN of the token's user in it",
            )
        if self._refused.has(self._place, pin.encode()):
            raise Denied(
                "pkcs11_pin_refused",
                f"the token {self._about} has refused this PIN before; it isn't tried again, since that would lock the token",
                "store the right PIN as the secret that the connector names; if the token's was changed to it, restart the delegate",
            )
        return pin.encode()

    async def _asked(self, request: Open | Ask) -> bytes | str:
        """The answer, or the name of its error; `_CRASHED` where the process has ended instead."""
        line = msgspec.json.encode(request) + b"\n"
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._exchanged(line)
        except TimeoutError:
            self._end()
            raise Unavailable(
                "pkcs11_slow",
                f"the token {self._about} doesn't answer within {self._seconds:g} seconds",
                "look at the token, and at the network behind its library",
            ) from None
        except BaseException:
            # Nobody would read the answer, and the next one would take it for his own.
            self._end()
            raise
        try:
            told = _answer.decode(answer)
        except msgspec.MsgspecError:
            return _CRASHED
        return told.error or told.data

    async def _exchanged(self, line: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            # Of its own: a token that hangs takes no place that others wait for.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="pkcs11")
        if self._process is None:
            self._process = await loop.run_in_executor(self._thread, _started, self._environ)
        return await loop.run_in_executor(self._thread, _exchange, self._process, line)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                # Not reaped: the number of its session, which drivers' own processes share, is still its own.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            # Reaped beside everything: what hangs in a driver takes its time to die.
            threading.Thread(target=_reap, args=(process,), name="pkcs11-reap", daemon=True).start()

    def _why(self, error: str, label: str = "") -> PrivySealError:
        row = _REFUSALS.get(error, _ODD)
        detail = row.detail.format(token=self._about, key=label, name=error)
        return row.error(row.code, detail, row.hint)


def _started(environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 (this interpreter, with a module of ours)
            [sys.executable, "-I", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environ,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(
            "pkcs11_unstarted",
            f"the delegate's system starts no process for the token: {os.strerror(error.errno or 0)}",
            "look at its limits of processes and memory",
        ) from None


def _exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """A line for a line; nothing where the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        process.stdin.write(line)
        process.stdin.flush()
        return process.stdout.readline(LONGEST_ANSWER)
    return b""


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError, ValueError):
            if pipe is not None:
                pipe.close()


_CRASHED = "(crashed)"
_WRONG_PIN = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange"})
_LOST = frozenset(
    """
    (crashed) DeviceError DeviceMemory DeviceRemoved FunctionFailed GeneralError HostMemory KeyHandleInvalid ObjectHandleInvalid
    OperationActive OperationNotInitialized PKCS11Error SessionClosed SessionCount SessionHandleInvalid SlotIDInvalid
    TokenNotPresent TokenNotRecognised UserNotLoggedIn
    """.split()
)
"""After these a new process, with a new login, may find the token again."""

_PIN = Refusal(
    Denied,
    "pkcs11_pin_incorrect",
    "the token {token} refuses the PIN",
    "store the right PIN as the secret that the connector names: a wrong one isn't tried again, but each delegate tries it once",
)
_ABSENT = Refusal(
    Unavailable,
    "pkcs11_token_lost",
    "the token {token} can't be used now ({name}), also after a new login",
    "look whether the token is there, and at the log of its library",
)
_FORGED = Refusal(
    Tampered, "decryption_failed", "a stored value's key wasn't wrapped by the connector's key for this place", ""
)
_UNFIT = Refusal(
    Malformed,
    "pkcs11_key_unfit",
    "the key {key} of the token {token} can't be used with the connector's mechanism ({name})",
    "AES_GCM needs an AES key of 256 bits that may encrypt and decrypt, SHA256_HMAC a generic secret of 256 bits or more that may sign",
)
_UNSUPPORTED = Refusal(
    Malformed,
    "pkcs11_mechanism_unsupported",
    "the token {token} doesn't know the connector's mechanism",
    "try SHA256_HMAC, which more tokens know than AES_GCM; softhsm2-util or pkcs11-tool --list-mechanisms tell which there are",
)
_ODD = Refusal(
    Unavailable, "pkcs11_failed", "the token {token} refuses with {name}", "look at the log of the token's library"
)
_REFUSALS: Mapping[str, Refusal] = {
    **dict.fromkeys(_LOST, _ABSENT),
    **dict.fromkeys(_WRONG_PIN, _PIN),
    **dict.fromkeys(("EncryptedDataInvalid", "EncryptedDataLenRange", "DataInvalid", "DataLenRange"), _FORGED),
    **dict.fromkeys(
        ("KeyTypeInconsistent", "KeyFunctionNotPermitted", "KeySizeRange", "AttributeError", "FunctionNotSupported"),
        _UNFIT,
    ),
    **dict.fromkeys(("MechanismInvalid", "MechanismParamInvalid"), _UNSUPPORTED),
    _CRASHED: Refusal(
        Unavailable,
        "pkcs11_crashed",
        "the library of the token {token} has ended its process",
        "look at its log and its configuration; the delegate itself isn't concerned",
    ),
    "FinalTry": Refusal(
        Denied,
        "pkcs11_pin_final_try",
        "the token {token} takes one more PIN before it locks",
        "log in once with another tool, so that it counts anew; the connector's PIN hasn't been tried",
    ),
    "ModuleNotFoundError": Refusal(
        NotReady,
        "kind_unloadable",
        "the delegate lacks what the kind Pkcs11 needs",
        "install the package with its extra pkcs11",
    ),
    "MultipleObjectsReturned": Refusal(
        NotReady, "pkcs11_key_ambiguous", "several keys of the token {token} have the label {key}", "give its id: keyId"
    ),
    "MultipleTokensReturned": Refusal(
        NotReady, "pkcs11_token_ambiguous", "several tokens are called {token}", "give its serial number: tokenSerial"
    ),
    "NoSuchKey": Refusal(
        NotFound,
        "pkcs11_key_missing",
        "the token {token} has no secret key {key} of the type that the mechanism needs",
        "make it, or correct keyLabel and keyId; a key that was deleted takes the values under it along",
    ),
    "NoSuchToken": Refusal(
        NotReady,
        "pkcs11_token_missing",
        "the library has no token {token}",
        "insert it, correct tokenLabel and tokenSerial, or correct the library's configuration on the delegate",
    ),
    "PinExpired": Refusal(Denied, "pkcs11_pin_expired", "the PIN of the token {token} has expired", "set a new one"),
    "PinLocked": Refusal(
        Denied,
        "pkcs11_pin_locked",
        "the PIN of the token {token} is locked: too many wrong ones were tried",
        "its security officer sets a new one",
    ),
    "Unloadable": Refusal(
        NotReady,
        "pkcs11_library_unloadable",
        "the library that the delegate's policy names for the token {token} can't be loaded",
        "correct the path under libraries in the policy file of that delegate, or install the library",
    ),
    "UserPinNotInitialized": Refusal(
        NotReady, "pkcs11_pin_missing", "the token {token} has no PIN yet", "have its security officer set one"
    ),
}

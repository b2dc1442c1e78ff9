"""A process that uses one token with one PIN: what a PKCS#11 library does, it does here and not in the delegate.

Such a library is another's native code. A login holds for a whole process, whoever logged in; some libraries aren't made for
threads, none for a fork; one that hangs or crashes takes its process along. So each connector has a process of its own, which
the delegate can end. Speaks a line of JSON for a line of JSON, on the pipes that it was started with; ends when they end.

Promises: one login, with the PIN that came by the pipe; nothing that a library prints gets anywhere; an answer is bytes or the
name of an error, no text. Must not be imported by the delegate: `delegate.credentials.pkcs11` starts it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import msgspec

from delegate.credentials.pkcs11_messages import Answer, Ask, Open
from delegate.shelter import shelter

NONCE_BYTES = 12
TAG_BITS = 128
KEY_BITS = 256
PROBE = bytes(32)


class Token:
    """A token that is logged in to."""

    def __init__(self, told: Open) -> None:
        import pkcs11

        self._library = pkcs11
        wanted: dict[str, Any] = {}
        if told.token_label:
            wanted["token_label"] = told.token_label
        if told.token_serial:
            wanted["token_serial"] = told.token_serial.encode()
        try:
            loaded = pkcs11.lib(told.library)
        except pkcs11.PKCS11Error as error:
            # Else it couldn't be told from the library's own errors.
            raise Unloadable if type(error) is pkcs11.PKCS11Error else error from None
        token = loaded.get_token(**wanted)
        flags = pkcs11.TokenFlag(token.flags)
        if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
            raise pkcs11.PinLocked
        if flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
            # One more wrong PIN would lock out everybody: a person should be the one who tries.
            raise FinalTry
        self._session = token.open(user_pin=told.pin)
        self._is_mac = told.mechanism == "SHA256_HMAC"
        self._keys: dict[tuple[str, str], Any] = {}

    def answer(self, ask: Ask) -> bytes:
        """What is asked for. Raises errors of the library, by whose names they are told."""
        key = self._key(ask.label, ask.id)
        if self._is_mac:
            return bytes(key.sign(ask.aad, mechanism=self._library.Mechanism.SHA256_HMAC))
        if ask.op == "wrap":
            return self._wrapped(key, ask.data, ask.aad, ask.nonce)
        try:
            return self._unwrapped(key, ask.data, ask.aad)
        except (self._library.GeneralError, self._library.FunctionFailed):
            # SoftHSM's word for a wrong tag is also one for any trouble: what the key can do otherwise tells which it was.
            fresh = self._wrapped(key, PROBE, ask.aad, os.urandom(NONCE_BYTES))
            if self._unwrapped(key, fresh, ask.aad) == PROBE:
                raise self._library.EncryptedDataInvalid from None
            raise

    def _wrapped(self, key: Any, data: bytes, aad: bytes, nonce: bytes) -> bytes:
        made = key.encrypt(data, mechanism=self._library.Mechanism.AES_GCM, mechanism_param=self._gcm(nonce, aad))
        return nonce + bytes(made)

    def _unwrapped(self, key: Any, wrapped: bytes, aad: bytes) -> bytes:
        gcm, data = self._gcm(wrapped[:NONCE_BYTES], aad), wrapped[NONCE_BYTES:]
        return bytes(key.decrypt(data, mechanism=self._library.Mechanism.AES_GCM, mechanism_param=gcm))

    def _gcm(self, nonce: bytes, aad: bytes) -> Any:
        return self._library.GCMParams(nonce, aad, TAG_BITS)

    def _key(self, label: str, id: str) -> Any:  # noqa: A002 (the standard's word)
        found = self._keys.get((label, id))
        if found is None:
            wanted: dict[str, Any] = {
                "label": label,
                "object_class": self._library.ObjectClass.SECRET_KEY,
                "key_type": self._library.KeyType.GENERIC_SECRET if self._is_mac else self._library.KeyType.AES,
            }
            if id:
                wanted["id"] = bytes.fromhex(id)
            found = self._session.get_key(**wanted)
            if found.key_length < KEY_BITS:
                raise self._library.KeySizeRange
            self._keys[label, id] = found
        return found


class Unloadable(Exception):
    """The library's file can't be loaded as one."""


class FinalTry(Exception):
    """The token takes one more PIN, and then none."""


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """Answers until nothing is asked any more; the first line opens the token."""
    token: Token | None = None
    opening, asking = msgspec.json.Decoder(Open), msgspec.json.Decoder(Ask)
    for line in asked:

        def act(line: bytes = line, token: Token | None = token) -> tuple[Token, bytes]:
            if token is None:
                return Token(opening.decode(line)), b""
            return token, token.answer(asking.decode(line))

        found, answer = _answered(act)
        token = found or token
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def _answered(act: Callable[[], tuple[Token, bytes]]) -> tuple[Token | None, Answer]:
    try:
        token, data = act()
    except ModuleNotFoundError:
        return None, Answer(error="ModuleNotFoundError")
    except Exception as error:  # noqa: BLE001 (the texts of a library's errors are nobody's business)
        return None, Answer(error=type(error).__name__)
    return token, Answer(data=data)


def _outlive_nobody(parent: int) -> None:
    """Ends with the delegate, also while a library doesn't come back."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """The process: its answers go where its output went, and its output nowhere."""
    parent = os.getppid()
    shelter()
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

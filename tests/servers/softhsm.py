"""SoftHSM: tokens in files, used by its PKCS#11 library, which finds them by the variable SOFTHSM2_CONF.

    with SoftHsm() as hsm:                       # the variable is set for what is started meanwhile
        token = hsm.token("payments")            # an initialised one, with a PIN
        token.aes("main"); token.mac("main")     # keys on it

The library is never loaded into the tests' own process: its state is that of a whole process.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import pytest

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
NAME = "softhsm"
POLICY = f'[libraries]\n{NAME} = "{LIBRARY}"\n'

_PROGRAM = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
library, label, act, *told = sys.argv[1:]
pin = sys.stdin.readline().strip()
token = pkcs11.lib(library).get_token(token_label=label)
with token.open(rw=True, user_pin=pin) as session:
    if act == "aes":
        bits, name, id = told
        session.generate_key(KeyType.AES, int(bits), label=name, id=bytes.fromhex(id), store=True)
    elif act == "mac":
        session.generate_key(
            KeyType.GENERIC_SECRET, 256, label=told[0], store=True, mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
            template={Attribute.SIGN: True},
        )
    elif act == "delete":
        session.get_key(label=told[0]).destroy()
    elif act == "pin":
        session.set_pin(pin, sys.stdin.readline().strip())
print(token.serial.decode().strip())
"""


@dataclass
class Token:
    """An initialised token."""

    hsm: SoftHsm
    label: str
    pin: str

    @property
    def serial(self) -> str:
        """Its serial number."""
        return self._done("serial")

    def aes(self, label: str, id: str = "01", bits: int = 256) -> None:
        """An AES key on it."""
        self._done("aes", str(bits), label, id)

    def mac(self, label: str) -> None:
        """A generic secret on it, for HMACs."""
        self._done("mac", label)

    def delete(self, label: str) -> None:
        """Deletes a key."""
        self._done("delete", label)

    def change_pin(self, pin: str) -> None:
        """Another PIN from now on."""
        self._done("pin", given=pin)
        self.pin = pin

    def _done(self, act: str, *told: str, given: str = "") -> str:
        return self.hsm.run(
            sys.executable, "-I", "-c", _PROGRAM, LIBRARY, self.label, act, *told, given=f"{self.pin}\n{given}\n"
        ).strip()


class SoftHsm:
    """Tokens in a folder of their own."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(
            self._stack.enter_context(TemporaryDirectory(prefix="privyseal-hsm-", ignore_cleanup_errors=True))
        )
        self.tokens = self.folder / "tokens"

    def __enter__(self) -> Self:
        self.tokens.mkdir()
        configuration = self.folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self._stack.enter_context(pytest.MonkeyPatch.context()).setenv("SOFTHSM2_CONF", str(configuration))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def token(self, label: str = "") -> Token:
        """A new token."""
        made = Token(self, label or f"t-{secrets.token_hex(6)}", secrets.token_hex(8))
        told = ("--label", made.label, "--pin", made.pin, "--so-pin", secrets.token_hex(8))
        self.run("softhsm2-util", "--init-token", "--free", *told)
        return made

    def remove(self) -> None:
        """As if every token had been pulled out."""
        shutil.move(self.tokens, self.folder / "removed")

    def insert(self) -> None:
        """And put back."""
        shutil.move(self.folder / "removed", self.tokens)

    def run(self, *command: str, given: str = "") -> str:
        """What a program says that uses these tokens; what is secret comes by its input."""
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, input=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

"""A token's process that answers as it is told by the variable FAULTY_TOKEN: what SoftHSM never does and other tokens do.

A JSON object: `open` and `ask` are the names of the errors that are answered, "" for none, "end" for none at all; `data` is what each
ask gives, or else what was sent. `unbound`: it wraps, without any regard for a place. Each line that comes is counted in the file `count`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from delegate.credentials.pkcs11_messages import Answer, Ask


class Told(msgspec.Struct):
    """How to behave."""

    count: str
    open: str = ""
    ask: str = ""
    data: bytes | None = None
    unbound: bool = False


def _answer(told: Told, asked: Ask) -> bytes:
    if told.unbound:
        turned = bytes(byte ^ 0xFF for byte in (asked.data if asked.op == "wrap" else asked.data[12:44]))
        return asked.nonce + turned + bytes(16) if asked.op == "wrap" else turned
    return asked.data if told.data is None else told.data


def main() -> None:
    """Answers until nothing comes any more."""
    told = msgspec.json.decode(os.environ["FAULTY_TOKEN"], type=Told)
    opened = False
    for line in sys.stdin.buffer:
        with Path(told.count).open("ab") as file:
            file.write(b"a" if opened else b"o")
        asked = msgspec.json.decode(line, type=Ask) if opened else None
        error = told.ask if opened else told.open
        if error == "end":
            return
        data = b"" if asked is None else _answer(told, asked)
        sys.stdout.buffer.write(msgspec.json.encode(Answer(b"" if error else data, error)) + b"\n")
        sys.stdout.buffer.flush()
        opened = opened or not error


if __name__ == "__main__":
    main()

"""Vectors of a command's output: the sealed key, what vouches for it, and the chunks (formats, section 22).

Chunks follow from a key that is public here; only its seal is random: `kept/streams.json` has it as Python and as Node
made it, once, from the same key for the same place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import structs

from shared.canonical import b64u, blob_digest, lp, unb64u
from shared.crypto.seal import SealingKey
from shared.crypto.stream import STDERR, STDOUT, OutputOpener
from shared.documents.jws import VerifyingKey, parse_as
from shared.documents.output import OutputDocument
from shared.errors import Tampered
from shared.labels import OUTPUT
from tests.vectors import actors as a

KEPT = Path(__file__).parent / "kept/streams.json"
KEY, TASK = a.fixed("output key"), b64u(a.fixed("exec task"))
WRITTEN = ((STDOUT, b"one\n"), (STDERR, b"oh\n"), (STDOUT, b"x" * 300))
END = b"\x00"


def chunk(index: int, plaintext: bytes, last: bool = False, task: str = TASK, key: bytes = KEY) -> bytes:
    """Any chunk, also one that no sealer makes."""
    place = lp(OUTPUT, task.encode(), index.to_bytes(8, "big"), bytes([last]))
    return AESGCM(key).encrypt(index.to_bytes(12, "big"), plaintext, place)


def streams() -> dict[str, Any]:
    """Outputs as a reader gets them."""
    kept: Mapping[str, str] = json.loads(KEPT.read_text("utf-8"))
    plaintexts = [bytes([stream]) + data for stream, data in WRITTEN]
    good = [chunk(at, one) for at, one in enumerate(plaintexts, 1)]
    end = chunk(len(good) + 1, END, True)
    written = [[stream, data.hex()] for stream, data in WRITTEN]

    def output(chunks: list[bytes], maker: str = "python", signer: Any = a.DELEGATE, **changes: Any) -> dict[str, Any]:
        sealed = blob_digest(unb64u(kept[maker]))
        document = OutputDocument(v=1, acct=a.ACCOUNT, task=TASK, sealed=sealed, iat=a.NOW)
        opening = signer.sign_document(structs.replace(document, **changes))
        return {"opening": opening, "key": kept[maker], "chunks": [one.hex() for one in chunks]}

    def accepted(name: str, chunks: list[bytes], told: list[Any], over: bool, maker: str = "python") -> dict[str, Any]:
        return a.case(name, "accepted", **output(chunks, maker), written=told, over=over)

    cases = [
        accepted(f"a whole output, its key sealed by {maker}", [*good, end], written, True, maker) for maker in kept
    ]
    cases += [
        accepted("an output of nothing", [chunk(1, END, True)], [], True),
        accepted("an output without its last chunk isn't over", good, written, False),
    ]
    one, two, three = good
    bad: dict[str, list[bytes]] = {
        "two chunks in each other's place": [two, one, three, end],
        "a chunk left out": [one, three, end],
        "a chunk twice": [one, one, two, three, end],
        "a chunk cut off": [one, two, three[:-1], end],
        "a chunk with a byte more": [one, two, three + b"\x00", end],
        "a changed chunk": [one, two, three[:40] + bytes([three[40] ^ 1]) + three[41:], end],
        "a chunk of another task": [chunk(1, plaintexts[0], task=b64u(a.fixed("other task"))), end],
        "a chunk under another key": [chunk(1, plaintexts[0], key=a.fixed("other key"))],
        "a chunk after the last one": [*good, end, chunk(5, plaintexts[0])],
        "a second last chunk": [*good, end, chunk(5, END, True)],
        "the last chunk before its time": [end],
        "a chunk that claims to be the last": [chunk(1, plaintexts[0], True)],
        "a last chunk that doesn't claim it": [chunk(1, END)],
        "a last chunk of another stream": [chunk(1, b"\x01", True)],
        "a chunk of a third stream": [chunk(1, b"\x03x")],
        "a chunk with nothing in it": [chunk(1, b"\x01")],
        "a chunk that is too long": [chunk(1, b"\x01" + b"x" * 16_385)],
        "no chunk at all but bytes": [b"", end],
    }
    cases += [a.case(name, "opening_failed", **output(chunks)) for name, chunks in bad.items()]
    forged = {
        "an opening by another identity": output([*good, end], signer=a.STRANGER),
        "an opening for another task": output([*good, end], task=b64u(a.fixed("other task"))),
        "an opening in another account": output([*good, end], acct="a" * 52),
        "an opening of another key": output([*good, end], sealed=b64u(a.fixed("other key"))),
    }
    cases += [a.case(name, "tampered", **members) for name, members in forged.items()]
    return a.file(
        "What a command wrote, opened with the reader's seed (formats, section 22).", cases,
        account=a.ACCOUNT, keyring=a.KEYRING, task=TASK, delegate=a.DELEGATE.key, reader_seed=a.fixed("reader key").hex(),
    )  # fmt: skip


def check(file: dict[str, Any], case: dict[str, Any]) -> None:
    """As a client reads it."""
    opening = parse_as(OutputDocument, case["opening"]).verified_by(VerifyingKey.of(file["delegate"])).document
    key = unb64u(case["key"])
    if (opening.acct, opening.task, opening.sealed) != (file["account"], file["task"], blob_digest(key)):
        raise Tampered("output_forged", "another output")
    reader = SealingKey(bytes.fromhex(file["reader_seed"]))
    opener = OutputOpener(reader, file["account"], file["keyring"], file["task"], key)
    opened = [opener.open(bytes.fromhex(one)) for one in case["chunks"]]
    assert [[stream, data.hex()] for stream, data, last in opened if not last] == case["written"]
    assert opener.is_over == case["over"]

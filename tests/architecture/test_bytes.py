"""Bytes travel only where the design lets them: a new `bytes` field is a new way for a value to leave, so each has its reason."""

from __future__ import annotations

import ast
import re

from tests.architecture.source import ROOT, sources

MESSAGES = {
    # message.field in proto/: why it may carry bytes
    "Challenge.nonce": "random, made by the manager",
    "Hello.proof": "a signature",
    "Task.inputs": "sealed by the client to a keyring",
    "Task.stored": "records at rest: wrapped, or a reference",
    "Task.credentials": "records at rest: wrapped, or a reference",
    "Output.data": "a key sealed to the task's reader, then what is encrypted with it",
    "OutputChunk.data": "the same, on its way to the reader",
    "Result.sealed": "sealed by the delegate to the task's reader",
    "Result.stored": "records at rest: wrapped, or a reference",
    "Chunk.data": "a piece of one of the messages above",
    "Submission.inputs": "sealed by the client to a keyring",
    "Outcome.sealed": "sealed by the delegate to the task's reader",
}
STRUCTS = {
    # file: Class.field: why it may hold bytes
    "shared/documents/jws.py: Unverified.signature": "an Ed25519 signature",
    "shared/documents/jws.py: Unverified.signing_input": "the very bytes that were signed",
}
FIELD = re.compile(
    r"^\s*(?:repeated |optional )?(?:bytes (?P<name>\w+)|map<[^>]*\bbytes\b[^>]*> (?P<map>\w+))\s*=", re.M
)
OPENED = re.compile(r"^\s*message (?P<name>\w+)\s*\{", re.M)


def byte_fields(proto: str) -> set[str]:
    """`Message.field` of each bytes field of a .proto file, `oneof` and `map` included."""
    opened = [(one.start(), one["name"]) for one in OPENED.finditer(proto)]
    return {
        max(one for one in opened if one[0] < field.start())[1] + "." + (field["name"] or field["map"])
        for field in FIELD.finditer(proto)
    }


def byte_attributes(path: str, text: str) -> set[str]:
    """`path: Class.field` of each annotated field whose type speaks of bytes, in any class."""
    return {
        f"{path}: {owner.name}.{ast.unparse(field.target)}"
        for owner in ast.walk(ast.parse(text))
        if isinstance(owner, ast.ClassDef)
        for field in owner.body
        if isinstance(field, ast.AnnAssign)
        and {"bytes", "bytearray", "memoryview", "Raw"} & set(re.findall(r"\w+", ast.unparse(field.annotation)))
    }


def test_every_bytes_field_on_the_wire_has_its_reason() -> None:
    found = {name for path in sorted((ROOT / "proto").rglob("*.proto")) for name in byte_fields(path.read_text())}
    assert found == set(MESSAGES)


def test_every_bytes_field_of_a_document_has_its_reason() -> None:
    found = {name for path, text in sources("shared/documents") for name in byte_attributes(path, text)}
    assert found == set(STRUCTS)


def test_a_new_bytes_field_on_the_wire_is_seen() -> None:
    bad = """
    message Safe { string name = 1; }
    message Bad {
      // bytes in_a_comment = 9;
      oneof one {
        bytes plain = 1;
      }
      repeated bytes many = 2;
      map<string, bytes> named = 3;
    }
    """
    assert byte_fields(bad) == {"Bad.plain", "Bad.many", "Bad.named"}


def test_a_new_bytes_field_of_a_document_is_seen() -> None:
    bad = """
class Bad(Struct):
    name: str
    plain: bytes
    maybe: bytes | None = None
    many: "list[bytes]" = []
    text: ClassVar[str] = "bytes"
"""
    assert byte_attributes("a.py", bad) == {"a.py: Bad.plain", "a.py: Bad.maybe", "a.py: Bad.many"}

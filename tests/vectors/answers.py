"""Vectors of answers: the output's framing, and whole outcomes as a client gets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from shared.aad import Aad
from shared.canonical import b64u, blob_digest, digest, encode, lp, unb64u
from shared.crypto.output import pack
from shared.crypto.plaintext import Plaintext
from shared.documents.answer import AnswerDocument
from shared.documents.task import KnownStatus, Pin, Target, TaskDocument
from shared.errors import Denied, Tampered
from shared.labels import ANSWER
from tests.vectors import actors as a

_REFUSAL = Denied("grant_missing", "the signer holds no grant of reveal over account", "ask an administrator", n=1)
_BROKEN = Tampered("decryption_failed", "a stored value doesn't decrypt")

OUTPUTS: Mapping[str, Plaintext] = {
    "two values": pack([Plaintext(b"hunter2"), Plaintext(b"")]),
    "a value and a problem": pack([Plaintext(b"hunter2"), _BROKEN]),
    "a problem for the whole task": pack([_REFUSAL]),
}
"""What delegates sealed, by name."""


def reveal_task() -> TaskDocument:
    """A task with two targets."""
    targets = tuple(
        Target(secret=a.opaque(f"secret {name}"), n=1, version=b64u(a.fixed(f"store {name}")))
        for name in ("one", "two")
    )
    return TaskDocument(
        v=1,
        acct=a.ACCOUNT,
        keyring=a.KEYRING,
        gen=1,
        op="reveal",
        repeat="any",
        targets=targets,
        pins=(Pin("account", "account", 1, digest(a.ROOT.sign_document(a.ACCOUNT_1))),),
        status=KnownStatus(1, digest(a.ADMINISTRATOR.sign_document(a.status()))),
        reader=b64u(a.READER_KEY.public.raw),
        jti=a.opaque("reveal"),
        iat=a.NOW,
        exp=a.NOW + 3_600,
    )


def answer_info() -> bytes:
    """The encoded AAD of the answer to `reveal_task`."""
    task = digest(a.READER.sign_document(reveal_task()))
    return Aad("answer", a.ACCOUNT, a.KEYRING, version=task).encode(ANSWER)


def outputs() -> dict[str, Any]:
    """The output's framing."""
    refusal, broken = encode(_REFUSAL.problem()).decode(), encode(_BROKEN.problem()).decode()
    items: Mapping[str, list[dict[str, str]]] = {
        "two values": [{"value": b"hunter2".hex()}, {"value": ""}],
        "a value and a problem": [{"value": b"hunter2".hex()}, {"problem": broken}],
        "a problem for the whole task": [{"problem": refusal}],
    }
    cases = [a.case(name, "accepted", hex=OUTPUTS[name].reveal().hex(), items=items[name]) for name in OUTPUTS]
    cases.append(a.case("no items", "accepted", hex="", items=[]))
    value = b"\x00" + lp(b"hunter2")
    bad = {
        "an item of another kind": b"\x02" + lp(b"x"),
        "cut in a value": value[:-1],
        "cut in a length": value[:3],
        "a kind alone": value + b"\x00",
        "a length past the end": b"\x00\xff\xff\xff\xffx",
        "a problem that is no JSON": b"\x01" + lp(b"{"),
        "a problem that is a list": b"\x01" + lp(b"[]"),
        "a problem that is no UTF-8": b"\x01" + lp(b'{"a":"\xff"}'),
        "a problem that is empty": b"\x01" + lp(b""),
    }
    cases += [a.case(name, "malformed/output_malformed", hex=raw.hex()) for name, raw in bad.items()]
    return a.file("Output, before it is padded and sealed (formats, section 16).", cases)


def outcomes(kept: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Outcomes of one task, as the manager relays them: certificate, answer, sealed output."""
    task = a.READER.sign_document(reveal_task())
    keyring = a.ADMINISTRATOR.sign_document(a.KEYS_1.document(1, None, a.NOW))
    certifying = a.KEYS_1.generation(1).certifying
    certified = certifying.sign_document(a.certificate())
    codes = {"two values": "ok", "a value and a problem": "partial", "a problem for the whole task": "denied"}

    def outcome(blob: str, **changes: Any) -> dict[str, str]:
        code = changes.pop("code", "ok")
        answer = AnswerDocument(
            v=1, acct=a.ACCOUNT, task=digest(task), code=code, sealed=blob_digest(unb64u(blob)), iat=a.NOW
        )
        signer = changes.pop("signer", a.DELEGATE)
        return {
            "certificate": certified,
            "answer": signer.sign_document(structs.replace(answer, **changes)),
            "sealed": blob,
        }

    cases = []
    for maker, made in kept.items():
        for name in OUTPUTS:
            blob = made[f"output: {name}"]
            cases.append(
                a.case(
                    f"{name}, sealed by {maker}", "accepted",
                    **outcome(blob, code=codes[name]), output=OUTPUTS[name].reveal().hex(),
                )
            )  # fmt: skip
    blob, other = kept["python"]["output: two values"], kept["node"]["output: two values"]
    good = outcome(blob)
    late = certifying.sign_document(a.certificate(iat=a.NOW - 8 * 86_400, exp=a.NOW - 86_400))
    elsewhere = certifying.sign_document(a.certificate(key=a.STRANGER.key))
    bad: dict[str, tuple[str, dict[str, str]]] = {
        "an answer to another task": ("tampered", outcome(blob, task=b64u(a.fixed("other task")))),
        "an answer in another account": ("tampered", outcome(blob, acct="a" * 52)),
        "an answer by another identity": ("tampered", outcome(blob, signer=a.STRANGER)),
        "an answer by another certified identity": ("tampered", {**good, "certificate": elsewhere}),
        "an answer that nobody signed": ("malformed", {**good, "answer": good["answer"].rpartition(".")[0] + "."}),
        "another sealed output": ("tampered", {**good, "sealed": other}),
        "an output for another task": ("opening_failed", outcome(kept["python"]["a short value"])),
        "a certificate that has ended": ("denied", {**good, "certificate": late}),
        "a certificate by nobody": (
            "unauthenticated",
            {**good, "certificate": a.STRANGER.sign_document(a.certificate())},
        ),
        "an answer in the certificate's place": ("malformed", {**good, "certificate": good["answer"]}),
    }
    cases += [a.case(name, expect, **members) for name, (expect, members) in bad.items()]
    return a.file(
        "Outcomes of `task` at the time `now`, opened with the reader's seed (formats, section 16).",
        cases, now=a.NOW, task=task, keyring=keyring, reader_seed=a.fixed("reader key").hex(),
    )  # fmt: skip

"""Every vector of docs/formats.md through the Python code. `tests/node` puts the same files through another implementation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest

from shared.aad import Aad
from shared.audit import Head, Link, verify
from shared.canonical import b32, b64u, blob_digest, decode, digest, encode, lp, unb64u, unlp
from shared.crypto import aead
from shared.crypto.keyring import Keyring
from shared.crypto.output import unpack
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import is_authentic
from shared.crypto.record import unpack as unpack_record
from shared.crypto.reference import is_authentic as is_authentic_reference
from shared.crypto.seal import SealingKey
from shared.documents.account import AccountDocument, account_id
from shared.documents.answer import AnswerDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import VerifyingKey, kind_of, parse, parse_as
from shared.documents.keyring import KeyringDocument
from shared.documents.task import TaskDocument
from shared.documents.usage import TaskUsage
from shared.errors import Denied, Malformed, NotReady, PrivySealError, Tampered
from shared.hello import hello_message
from shared.labels import ANSWER, RECORD, WRAP
from shared.names import Scope
from shared.oidc import claims, discovery, key_set
from shared.template_inputs import read_inputs, write_inputs
from shared.trust.book import Book
from shared.trust.certificate import check_certificate
from shared.trust.warrant import warrant
from shared.values import Reference, Sealed, Wrapped
from tests.vectors import choices, conditions, generate, groups, orders, streams, tokens

HERE = Path(__file__).parent
OUTCOMES = {
    "accepted", "malformed", "unauthenticated", "denied", "conflict", "not_ready", "stale_recipient", "tampered",
    "expired", "opening_failed", "decryption_failed",
}  # fmt: skip
FINER = {"opening_failed", "decryption_failed"}

File = dict[str, Any]
Case = dict[str, Any]
Check = Callable[[File, Case], None]


def outcome_of(error: PrivySealError) -> str:
    """The outcome of docs/formats.md, section 1."""
    if error.code in FINER:
        return error.code
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def expected(told: Case, act: Callable[[], None]) -> None:
    """`act` comes to what the vector says, in class and code."""
    try:
        act()
        outcome, code = "accepted", ""
    except PrivySealError as why:
        outcome, code = outcome_of(why), why.code
    assert outcome == told["expect"], f"{told.get('name', told)}: {outcome} {code}"
    assert code == told.get("code", code)


def base64url(file: File, case: Case) -> None:
    data = unb64u(case["text"])
    assert data.hex() == case["hex"] and b64u(data) == case["text"] and b32(data) == case["base32"]


def framing(file: File, case: Case) -> None:
    parts = unlp(bytes.fromhex(case["hex"]), case.get("count", len(case.get("parts", []))))
    assert [part.hex() for part in parts] == case["parts"] and lp(*parts).hex() == case["hex"]


_objects = msgspec.json.Decoder(dict[str, Any])


def canonical(file: File, case: Case) -> None:
    data = bytes.fromhex(case["hex"])
    assert encode(decode(data, _objects, "object")) == data


def aad(file: File, case: Case) -> None:
    place, label = Aad(**case["place"]), case["label"].encode()
    assert place.encode(label).hex() == case["hex"]
    assert place.encryption_context(label) == case["encryption_context"]


def documents(file: File, case: Case) -> None:
    unverified = parse(case["compact"])
    verified = unverified.verified_by(VerifyingKey.of(file["keys"][case["key"]]["key"]))
    assert verified.digest == case["digest"] and verified.kid == file["keys"][case["key"]]["kid"]
    assert json.loads(encode(verified.document)) == case["payload"]
    assert verified.kind == case["kind"] == kind_of(verified.document)
    if isinstance(verified.document, AccountDocument) and verified.document.rev == 1:
        assert account_id(verified.document) == verified.document.acct


def inputs(file: File, case: Case) -> None:
    given = read_inputs(case["text"])
    assert given == case["inputs"] and write_inputs(given) == case["text"]


def keyrings(file: File, case: Case) -> None:
    held = Keyring(case["account"], case["keyring"], [(case["generation"], bytes.fromhex(case["seed"]))]).newest
    assert b64u(held.sealing.public.raw) == case["sealing_public"]
    assert SealingKey(bytes.fromhex(case["sealing_seed"])).public == held.sealing.public
    assert (held.certifying.key, held.certifying.kid) == (case["certifying_public"], case["certifying_kid"])
    assert (held.kek.hex(), held.mac_key.hex()) == (case["kek"], case["mac_key"])


def keyring_files(file: File, case: Case) -> None:
    keyring = Keyring.parse(case["text"].encode())
    assert list(keyring.numbers) == case["generations"]
    keys = {str(one): keyring.generation(one).oidc for one in keyring.numbers}
    assert {number: key.n for number, key in keys.items() if key is not None} == case.get("oidc", {})


def oidc(file: File, case: Case) -> None:
    keyring = msgspec.convert(file["keyring"], KeyringDocument)
    if "token" not in case:
        assert case["jwks"] == key_set(keyring, case["floor"]) and case["configuration"] == discovery(keyring.issuer)
        return
    keys = {key["kid"]: jwt.PyJWK(key) for key in key_set(keyring)["keys"]}
    header = jwt.get_unverified_header(case["token"])
    assert header == {"alg": "RS256", "kid": header["kid"], "typ": "JWT"}
    timeless = jwt.types.Options(verify_exp=False, verify_nbf=False, verify_iat=False, verify_aud=False)
    told = jwt.decode(case["token"], keys[header["kid"]], algorithms=["RS256"], options=timeless)
    connector = msgspec.convert(case["connector"], ConnectorDocument)
    assert told == case["claims"] == claims(connector, keyring.issuer, told["aud"], told["iat"], told["jti"])


def padding(file: File, case: Case) -> None:
    padded = Plaintext(bytes.fromhex(case["padded"]))
    assert padded.unpadded() == Plaintext(bytes.fromhex(case["value"]))
    assert padded.unpadded().padded() == padded


def sealed(file: File, case: Case) -> None:
    blob = unb64u(case["sealed"])
    value = SealingKey(bytes.fromhex(case["seed"])).open(Sealed(blob), bytes.fromhex(case["info"]))
    assert value == Plaintext(bytes.fromhex(case["value"])) and blob_digest(blob) == case["digest"]


def aeads(file: File, case: Case) -> None:
    key, place, ciphertext = (bytes.fromhex(case[name]) for name in ("key", "aad", "ciphertext"))
    value = aead.decrypt(key, ciphertext, place)
    assert value == Plaintext(bytes.fromhex(case["plaintext"]))
    assert aead.encrypt(key, value, place, bytes.fromhex(case["salt"])) == ciphertext


def records(file: File, case: Case) -> None:
    """The order in which a delegate reads a record (formats, section 14)."""
    where: Any = case.get("place", file["place"])
    place = Aad(**where)
    record = unpack_record(Wrapped(bytes.fromhex(case["record"])))
    generations = {
        int(number): {name: bytes.fromhex(key) for name, key in keys.items()}
        for number, keys in file["generations"].items()
    }
    keys = generations.get(record.generation)
    if keys is None or not is_authentic(record, keys["mac_key"], place):
        raise Tampered("record_forged", "not made here")
    names = {f"local/{file['keyring']}/{number}": number for number in generations}
    if record.key_name not in names:
        raise Denied("key_unlisted", "not a key of this connector")
    kek = generations[names[record.key_name]]["kek"]
    key = aead.decrypt(kek, record.wrapped_key, place.encode(WRAP))
    value = aead.decrypt_padded(key.reveal(), record.ciphertext, place.encode(RECORD))
    assert value == Plaintext(bytes.fromhex(case["value"]))


def references(file: File, case: Case) -> None:
    """The first two steps in which a delegate reads a reference (formats, section 14)."""
    where: Any = case.get("place", file["place"])
    raw = bytes.fromhex(case["stored"])
    assert raw[:1] == b"\x02"
    reference = decode(raw[1:], msgspec.json.Decoder(Reference), "stored reference")
    keys = file["generations"].get(str(reference.generation))
    if keys is None or not is_authentic_reference(reference, bytes.fromhex(keys["mac_key"]), Aad(**where)):
        raise Tampered("record_forged", "not made here")
    assert {field: getattr(reference, field) for field in case["fields"]} == case["fields"]


def output(file: File, case: Case) -> None:
    items = unpack(Plaintext(bytes.fromhex(case["hex"])))
    told = [
        {"value": item.reveal().hex()} if isinstance(item, Plaintext) else {"problem": encode(item.problem()).decode()}
        for item in items
    ]
    assert told == case["items"]


def outcomes(file: File, case: Case) -> None:
    """What a client checks of an outcome (formats, section 16), but for selectors."""
    keyring = parse_as(KeyringDocument, file["keyring"])
    signer = VerifyingKey.of(next(one for one in _administrators(file) if VerifyingKey.of(one).kid == keyring.kid))
    certificate = check_certificate(case["certificate"], keyring.verified_by(signer), None, file["now"])
    answer = parse_as(AnswerDocument, case["answer"]).verified_by(VerifyingKey.of(certificate.document.key)).document
    task = parse_as(TaskDocument, file["task"]).document
    blob = unb64u(case["sealed"])
    if answer.task != digest(file["task"]) or answer.acct != task.acct or answer.sealed != blob_digest(blob):
        raise Tampered("answer_forged", "another answer")
    info = Aad("answer", task.acct, task.keyring, version=digest(file["task"])).encode(ANSWER)
    opened = SealingKey(bytes.fromhex(file["reader_seed"])).open(Sealed(blob), info)
    assert opened == Plaintext(bytes.fromhex(case["output"])) and unpack(opened)


def _administrators(file: File) -> Iterator[str]:
    compact = load("documents.json")["cases"][0]["compact"]
    for person in parse_as(AccountDocument, compact).document.administrators:
        yield person.key


def hello(file: File, case: Case) -> None:
    message = hello_message(case["origin"], bytes.fromhex(case["nonce"]), case["certificate"])
    VerifyingKey.of(case["key"]).verify(unb64u(case["proof"]), message)
    assert message.hex() == case["message"]


def audit(file: File, case: Case) -> None:
    after: Any = case.get("after", {"seq": 0, "hash": b64u(bytes(32))})
    start = Head(after["seq"], unb64u(after["hash"], 32))
    head = verify([Link(**link) for link in case["links"]], start)
    assert {"seq": head.seq, "hash": b64u(head.hash)} == case["head"]


def stories(file: File, case: Case) -> None:
    """Scenarios; each step has an outcome of its own."""
    book = Book(file["account"])
    documents = file["documents"]
    for name in case["setup"]:
        try:
            book.admit(documents[name], file["now"])
        except PrivySealError as why:
            raise AssertionError(f"the setup {name} is refused: {why.code}") from None
    for step in case["steps"][:-1]:
        expected(step, lambda step=step: _step(file, book, step))  # type: ignore[misc]
    _step(file, book, case["steps"][-1])


def _step(file: File, book: Book, step: Case) -> None:
    now, documents = step["now"], file["documents"]
    match step["do"]:
        case "admit":
            before = dict(book.grants), book.status, book.account, dict(book.keyrings), dict(book.groups)
            try:
                book.admit(documents[step["document"]], now)
            except PrivySealError:
                after = dict(book.grants), book.status, book.account, dict(book.keyrings), dict(book.groups)
                assert before == after
                raise
        case "may":
            scope = Scope.parse(step["scope"])
            usage = msgspec.convert(step["usage"], TaskUsage) if "usage" in step else None
            kid = file["kids"][step["who"]]
            book.authority.chain(kid, step["permission"], scope, step.get("resource"), now, usage)
        case "certificate":
            keyring = book.keyrings.get(step["keyring"])
            if keyring is None:
                raise NotReady("keyring_unknown", "no keyring counts")
            status = book.status.document if book.status else None
            check_certificate(documents[step["certificate"]], keyring, status, now)
        case "task":
            task = book.verify(parse_as(TaskDocument, documents[step["task"]]))
            granted = warrant(book, task, now)
            held = {
                id: {reference: use.target.secret for reference, use in uses.items()}
                for id, uses in granted.credentials.items()
            }
            assert (sorted(granted.selectors), held) == (step["selectors"], step.get("credentials", {}))
            assert [str(one) for one in granted.conditions] == step.get("conditions", [])
        case "delegate" | "takes":
            choices.check(book, documents, step)
        case "owns":
            groups.check(book, documents, step)
        case "run":
            orders.check(book, documents, step)
        case other:
            raise AssertionError(other)


CHECKS: dict[str, Check] = {
    "aad": aad,
    "accounts": stories,
    "aead": aeads,
    "audit": audit,
    "base64url": base64url,
    "canonical": canonical,
    "certificates": stories,
    "choices": stories,
    "commands": stories,
    "conditions": conditions.check,
    "credentials": stories,
    "documents": documents,
    "fetches": stories,
    "framing": framing,
    "grants": stories,
    "groups": stories,
    "hello": hello,
    "inputs": inputs,
    "keyring_files": keyring_files,
    "keyrings": keyrings,
    "logins": stories,
    "oidc": oidc,
    "outcomes": outcomes,
    "output": output,
    "padding": padding,
    "records": records,
    "references": references,
    "orders": stories,
    "revisions": stories,
    "sealed": sealed,
    "statuses": stories,
    "streams": streams.check,
    "tasks": stories,
    "templates": stories,
    "tokens": tokens.check,
    "usages": stories,
}


def load(name: str) -> File:
    """A file of vectors."""
    loaded: File = json.loads((HERE / name).read_text("utf-8"))
    return loaded


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_python_code_agrees_with_every_vector(name: str) -> None:
    file = load(f"{name}.json")
    disagreements = []
    for case in file["cases"]:
        # A story's outcome is that of its last step, which has the finer code.
        told = {"name": case["name"], **case["steps"][-1]} if "steps" in case else case
        try:
            expected(told, lambda case=case: CHECKS[name](file, case))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 (all of them are told at once)
            disagreements.append(f"{case['name']}: {type(error).__name__} {error}")
    assert not disagreements, "\n".join(disagreements)


def test_every_file_of_vectors_is_checked() -> None:
    assert {path.stem for path in HERE.glob("*.json")} == set(CHECKS)


def test_every_outcome_is_on_the_closed_list() -> None:
    for name in CHECKS:
        file = load(f"{name}.json")
        told = [*file["cases"], *(step for case in file["cases"] for step in case.get("steps", ()))]
        assert {case["expect"] for case in told} <= OUTCOMES, name


def test_the_generator_makes_the_committed_files_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_a_kept_value_was_sealed_for_the_request_of_its_name() -> None:
    requests = {request["name"] for request in json.loads((HERE / "kept/requests.json").read_text("utf-8"))}
    for maker in generate.MAKERS:
        assert set(load(f"kept/{maker}.json")) == requests


def test_a_vector_whose_outcome_is_another_is_noticed() -> None:
    with pytest.raises(AssertionError):
        expected({"name": "wrong", "expect": "denied"}, lambda: None)

    def refuse() -> None:
        raise Malformed("some_code", "something is malformed")

    expected({"name": "right", "expect": "malformed"}, refuse)
    with pytest.raises(AssertionError):
        expected({"name": "wrong code", "expect": "malformed", "code": "other_code"}, refuse)


def test_the_places_of_the_vectors_differ_in_each_part() -> None:
    place = Aad(**load("records.json")["place"])
    assert replace(place, n=2) != place != replace(place, scope="account")

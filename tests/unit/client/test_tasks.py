"""Tasks and their outcomes: everything pinned on the way out, nothing unsigned believed on the way back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from client.choice import Choice
from client.outcomes import Outcome, open_outcome
from client.tasks import SignedTask, Subject, sign_task
from shared.aad import Aad
from shared.canonical import blob_digest, digest
from shared.crypto.identity import Identity
from shared.crypto.output import Item, pack
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.documents.grant import DAY
from shared.documents.jws import Verified, parse_as
from shared.documents.secret import SecretDocument
from shared.documents.task import Target, TaskDocument, WantedSelector
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.labels import ANSWER, INPUT
from shared.trust.warrant import warrant
from shared.values import PublicKey, Recipient, Sealed
from tests.fakes.world import World

VALUE = Plaintext(b"correct horse")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def secret(world: World) -> Verified[SecretDocument]:
    return world.secret("token", "org/acme")


def reader(world: World, name: str = "fresh") -> SealingKey:
    return SealingKey(world.seed(f"reader {name}"))


def signed(world: World, op: Any, subject: Subject, signer: Identity | None = None, **more: Any) -> SignedTask:
    return sign_task(world.book(), signer or world.administrator, op, [subject], reader(world), world.now, **more)


def reveal(world: World, secret: Verified[SecretDocument], signer: Identity | None = None, **more: Any) -> SignedTask:
    return signed(world, "reveal", Subject(secret, world.connector, 1, digest("x.y.z"), latest=True), signer, **more)


def verified(task: SignedTask, signer: Identity) -> Verified[TaskDocument]:
    return parse_as(TaskDocument, task.compact).verified_by(signer.public)


def test_a_task_carries_all_that_a_delegate_asks_for(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    allowed = warrant(world.book(), verified(task, world.administrator), world.now)
    assert allowed.uses[0].target.latest
    assert task.digest == digest(task.compact)
    assert task.document.exp - task.document.iat <= DAY


def test_the_whole_chain_of_everybody_who_signed_is_pinned(world: World) -> None:
    ann, bob, carol = (world.identity(name) for name in ("ann", "bob", "carol"))
    top = world.grant(ann, ["admin", "edit", "reveal"], "org/acme")
    world.grant(bob, ["edit"], "org/acme", ann, parent=top.document.id)
    world.grant(carol, ["reveal"], "org/acme", ann, parent=top.document.id)
    world.grant(world.identity("nobody"), ["view"])
    secret = world.secret("token", "org/acme", bob)
    task = reveal(world, secret, carol)
    assert sorted(pin.kind for pin in task.document.pins) == [
        "account",
        "connector",
        *["grant"] * 3,
        "keyring",
        "secret",
    ]
    warrant(world.book(), verified(task, carol), world.now)


def test_who_may_not_reveal_signs_nothing(world: World, secret: Verified[SecretDocument]) -> None:
    ann = world.identity("ann")
    world.grant(ann, ["view", "edit"], "org/acme")
    with pytest.raises(Denied, match="reveal"):
        reveal(world, secret, ann)


def test_nothing_is_signed_under_an_expired_status(world: World, secret: Verified[SecretDocument]) -> None:
    book = world.book()
    world.now = world.status.document.exp
    subject = Subject(secret, world.connector, 1, digest("x.y.z"))
    with pytest.raises(NotReady, match="expired"):
        sign_task(book, world.administrator, "reveal", [subject], reader(world), world.now)


@pytest.mark.parametrize("excluded", [False, True])
def test_consent_to_an_excluded_generation_is_signed(
    world: World, secret: Verified[SecretDocument], excluded: bool
) -> None:
    subject = Subject(secret, world.connector, 1, digest("x.y.z"), excluded=excluded)
    task = signed(world, "reveal", subject)
    assert warrant(world.book(), verified(task, world.administrator), world.now).uses[0].target.excluded is excluded


def test_only_a_reveal_takes_such_a_consent(world: World, secret: Verified[SecretDocument]) -> None:
    whole = Target(secret=secret.document.id, excluded=True)
    check = Target(connector=world.connector.document.id, excluded=True)
    store = Target(secret=secret.document.id, n=1, excluded=True)
    for op, target in (("delete", whole), ("check", check), ("store", store)):
        with pytest.raises(Malformed, match="only a reveal"):
            warrant(world.book(), world.task(op, [target]), world.now)


def test_a_value_is_sealed_to_its_own_place(world: World, secret: Verified[SecretDocument]) -> None:
    task = signed(world, "store", Subject(secret, world.connector, 1), values=[VALUE])
    warrant(world.book(), verified(task, world.administrator), world.now)
    (sealed,) = task.inputs
    assert task.document.input == (blob_digest(sealed),)
    place = world.place(secret, 1, "")
    opening = world.keyring.newest.sealing
    assert opening.open(Sealed(sealed), place.encode(INPUT)) == VALUE
    with pytest.raises(Tampered):
        opening.open(Sealed(sealed), world.place(secret, 2, "").encode(INPUT))


def test_a_delete_names_its_delegate(world: World, secret: Verified[SecretDocument]) -> None:
    task = signed(world, "delete", Subject(secret, world.connector), to=world.delegate.kid)
    assert task.document.repeat == "never"
    assert task.document.exp - task.document.iat <= 120
    warrant(world.book(), verified(task, world.administrator), world.now)


def test_selectors_of_the_command_line_override_those_of_the_connector(world: World) -> None:
    connector = world.revise(world.connector, selectors=("zone:a",))
    secret = world.secret("token")
    for given, wanted in (((), {"zone:a"}), ((" Zone:B ", "zone:b"), {"zone:b"})):
        task = signed(world, "reveal", Subject(secret, connector, 1, digest("x.y.z")), selectors=given)
        assert task.selectors == wanted
        assert warrant(world.book(), verified(task, world.administrator), world.now).selectors == wanted


def test_what_a_task_asks_of_a_delegate_is_signed_as_it_was_chosen(world: World) -> None:
    connector = world.revise(world.connector, selectors=("zone:a",), where="eu")
    subject = Subject(world.secret("token"), connector, 1, digest("x.y.z"))
    chosen = Choice(["Zone:B"], "stage", "NOT (test)")
    task = signed(world, "reveal", subject, selectors=chosen)
    assert task.document.selectors == (WantedSelector("zone:b", "stage"),)
    assert task.document.where == "not test"
    assert task.selectors == {"zone:b"} and task.conditions == {"not test", "eu"}
    told = warrant(world.book(), verified(task, world.administrator), world.now)
    assert told.selectors == task.selectors and {str(one) for one in told.conditions} == task.conditions
    alone = signed(world, "reveal", subject, selectors=Choice(where="not test"))
    assert alone.selectors == {"zone:a"} and alone.conditions == task.conditions


def test_an_sshkeys_connector_asks_nothing_of_a_delegate(world: World) -> None:
    home = world.publish(world.connector_document("home", selectors=("gpu",), where="gpu"))
    login = world.login("login", connector=home.document.id)
    task = signed(world, "check", Subject(login, home, reference="host"))
    told = warrant(world.book(), verified(task, world.administrator), world.now)
    assert task.selectors == told.selectors == task.conditions == frozenset()
    assert told.conditions == ()


# ---- outcomes


def sealed_items(task: SignedTask, *items: Item, to: PublicKey | None = None) -> bytes:
    place = Aad("answer", task.document.acct, task.document.keyring, version=task.digest)
    return seal(Recipient(to or task.reader.public), pack(items), place.encode(ANSWER)).raw


def outcome(world: World, task: SignedTask, *items: Item, code: Any = "ok", **changes: Any) -> Outcome:
    sealed = changes.pop("sealed", None) or sealed_items(task, *items)
    signer = changes.pop("signer", world.delegate)
    fields = {"sealed": blob_digest(sealed) if sealed else None, **changes.pop("answer", {})}
    answer = world.sign(world.answer_document(task.digest, code, **fields), signer)
    told = Outcome(task.digest, "done", code, answer.compact, world.certificate().compact, sealed)
    from dataclasses import replace

    return replace(told, **changes)


def opened(world: World, task: SignedTask, told: Outcome) -> Any:
    return open_outcome(told, task, world.keyring_document, world.status.document, world.now)


def test_an_answer_opens(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    result = opened(world, task, outcome(world, task, VALUE))
    assert result.items == (VALUE,)
    assert (result.delegate, result.name, result.code) == (world.delegate.kid, "delegate", "ok")


def test_an_answer_to_another_task_is_refused(world: World, secret: Verified[SecretDocument]) -> None:
    task, other = reveal(world, secret), reveal(world, secret)
    with pytest.raises(Tampered):
        opened(world, task, outcome(world, other, VALUE))


def test_an_answer_with_another_sealed_part_is_refused(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    good = outcome(world, task, VALUE)
    other = sealed_items(task, Plaintext(b"forged"))
    for sealed in (other, b"", good.sealed[:-1]):
        told = Outcome(good.task, good.state, good.code, good.answer, good.certificate, sealed)
        with pytest.raises(Tampered):
            opened(world, task, told)


def test_an_answer_sealed_to_another_reader_is_refused(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    sealed = sealed_items(task, VALUE, to=reader(world, "thief").public)
    with pytest.raises(Tampered):
        opened(world, task, outcome(world, task, sealed=sealed))


def test_an_answer_that_the_certified_identity_did_not_sign_is_refused(
    world: World, secret: Verified[SecretDocument]
) -> None:
    task = reveal(world, secret)
    with pytest.raises(Tampered):
        opened(world, task, outcome(world, task, VALUE, signer=world.identity("thief")))


def test_a_certificate_of_an_unknown_certifier_is_refused(world: World, secret: Verified[SecretDocument]) -> None:
    task, thief = reveal(world, secret), world.identity("thief")
    forged = world.certificate(thief, key=thief.key).compact
    with pytest.raises(Unauthenticated):
        opened(world, task, outcome(world, task, VALUE, signer=thief, certificate=forged))


@pytest.mark.parametrize("problem", ["revoked", "expired"])
def test_a_certificate_that_no_longer_counts_is_refused(
    world: World, secret: Verified[SecretDocument], problem: str
) -> None:
    task = reveal(world, secret)
    told = outcome(world, task, VALUE)
    if problem == "revoked":
        world.revise_status(keys=(world.delegate.kid,))
    else:
        world.now += 7 * DAY
    with pytest.raises(Denied):
        opened(world, task, told)


def test_an_answer_of_a_delegate_without_the_selectors_is_refused(
    world: World, secret: Verified[SecretDocument]
) -> None:
    task = reveal(world, secret, selectors=["zone:b"])
    with pytest.raises(Tampered, match="selectors"):
        opened(world, task, outcome(world, task, VALUE))


@pytest.mark.parametrize(("by_task", "by_connector"), [("zone:b", ""), ("", "zone:b"), ("not delegate", "delegate")])
def test_an_answer_of_a_delegate_that_does_not_meet_a_condition_is_refused(
    world: World, by_task: str, by_connector: str
) -> None:
    connector = world.revise(world.connector, where=by_connector)
    subject = Subject(world.secret("token"), connector, 1, digest("x.y.z"), latest=True)
    task = signed(world, "reveal", subject, selectors=Choice(where=by_task))
    with pytest.raises(Tampered, match="conditions"):
        opened(world, task, outcome(world, task, VALUE))
    fine = signed(world, "reveal", subject, selectors=Choice(where="delegate or zone:b"))
    if not by_connector:
        assert opened(world, fine, outcome(world, fine, VALUE)).items == (VALUE,)


def test_only_the_named_delegate_answers_what_happens_once(world: World, secret: Verified[SecretDocument]) -> None:
    task = signed(world, "delete", Subject(secret, world.connector), to=world.identity("named").kid)
    with pytest.raises(Tampered, match="another delegate"):
        opened(world, task, outcome(world, task, Plaintext(b"")))


def test_success_without_a_sealed_part_is_no_success(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    answer = world.sign(world.answer_document(task.digest), world.delegate).compact
    told = Outcome(task.digest, "done", "ok", answer, world.certificate().compact, b"")
    with pytest.raises(Tampered):
        opened(world, task, told)


def test_a_refusal_without_reasons_keeps_its_class(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    answer = world.sign(world.answer_document(task.digest, "not_ready"), world.delegate).compact
    with pytest.raises(NotReady):
        opened(world, task, Outcome(task.digest, "failed", "denied", answer, world.certificate().compact, b""))


def test_the_error_of_a_whole_task_is_raised_and_of_one_target_is_given(
    world: World, secret: Verified[SecretDocument]
) -> None:
    task = reveal(world, secret)
    missing = NotFound("version_unknown", "there is no such version")
    with pytest.raises(NotFound, match="no such version"):
        opened(world, task, outcome(world, task, missing, code="not_found"))
    other = world.secret("other")
    subjects = [Subject(one, world.connector, 1, digest("x.y.z")) for one in (secret, other)]
    two = sign_task(world.book(), world.administrator, "reveal", subjects, reader(world), world.now)
    items = opened(world, two, outcome(world, two, VALUE, missing, code="partial")).items
    assert items[0] == VALUE
    assert isinstance(items[1], PrivySealError)


@pytest.mark.parametrize(
    ("code", "items"),
    [
        ("ok", []),
        ("ok", [VALUE, VALUE]),
        ("ok", [NotFound("x", "x")]),
        ("partial", [VALUE]),
        ("denied", [VALUE]),
        ("denied", []),
    ],
)
def test_a_code_that_does_not_fit_its_items_is_refused(
    world: World, secret: Verified[SecretDocument], code: str, items: list[Item]
) -> None:
    task = reveal(world, secret)
    with pytest.raises(Malformed):
        opened(world, task, outcome(world, task, *items, code=code))


def test_an_answer_of_another_account_is_refused(world: World, secret: Verified[SecretDocument]) -> None:
    task = reveal(world, secret)
    foreign = structs.replace(task.document, acct=World(name="other").id)
    with pytest.raises(Tampered):
        opened(world, task, outcome(world, task, VALUE, answer={"acct": foreign.acct}))

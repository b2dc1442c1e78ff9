"""A manager in the attacker's hands answers a real client: nothing that a certified delegate didn't sign is believed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from client.sdk import Client
from manager.authentication import Authentication
from manager.clock import Clock
from shared.aad import Aad
from shared.canonical import blob_digest, digest, unb64u
from shared.crypto.identity import Identity
from shared.crypto.output import pack
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import seal
from shared.documents.answer import AnswerDocument
from shared.documents.certificate import CertificateDocument
from shared.documents.grant import DAY
from shared.documents.jws import parse_as
from shared.documents.secret import SecretDocument
from shared.documents.task import TaskDocument
from shared.errors import Denied, Expired, NotFound, PrivySealError, Tampered, Unauthenticated, Unavailable
from shared.labels import ANSWER
from shared.messages import Documents, FromDelegate, FromManager, Result, Task
from shared.names import ACCOUNT_SCOPE
from shared.values import PublicKey, Recipient
from shared.wire import submission_pb2 as pb
from tests.adversary.evil_manager import Tap, code_of
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage

VALUE = b"the value that was asked for"


@pytest.fixture
async def client(stage: Stage) -> Client:
    """One that has stored a secret and revealed it."""
    one = stage.client()
    await one.store("account.token", VALUE)
    assert (await one.reveal("account.token")).reveal() == VALUE
    return one


def rewrite_outcomes(stage: Stage, change: Callable[[pb.Outcome, Exchange], None]) -> None:
    """Every outcome of a task reaches the client changed."""

    def rewrite(exchange: Exchange) -> None:
        if exchange.ends_task:
            outcome = exchange.outcome()
            change(outcome, exchange)
            exchange.answer_outcome(outcome)

    stage.evil.on_reply(rewrite)


async def raised(awaitable: Awaitable[object]) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await awaitable
    return caught.value


async def refused(client: Client, reference: str = "account.token") -> PrivySealError:
    """The error that a reveal ends with."""
    with pytest.raises(PrivySealError) as caught:
        await client.reveal(reference)
    return caught.value


def told(why: PrivySealError) -> tuple[type[PrivySealError], str]:
    return type(why), why.code


# ---- answers


async def test_an_answer_to_another_task_is_refused(stage: Stage, client: Client) -> None:
    """The result of another secret's reveal, signed by a certified delegate, in the place of the one asked for."""
    await client.store("account.other", b"the value of another secret")
    await client.reveal("account.other")
    other = stage.evil.exchanges[-1].outcome()
    rewrite_outcomes(stage, lambda outcome, _: outcome.CopyFrom(other))
    assert told(await refused(client)) == (Tampered, "answer_forged")


async def test_an_answer_to_an_earlier_reveal_of_the_same_secret_is_refused(stage: Stage, client: Client) -> None:
    earlier = stage.evil.exchanges[-1].outcome()
    rewrite_outcomes(stage, lambda outcome, _: outcome.CopyFrom(earlier))
    assert told(await refused(client)) == (Tampered, "answer_forged")


async def test_a_sealed_part_of_another_answer_is_refused(stage: Stage, client: Client) -> None:
    earlier = stage.evil.exchanges[-1].outcome()

    def change(outcome: pb.Outcome, _: Exchange) -> None:
        outcome.sealed = earlier.sealed

    rewrite_outcomes(stage, change)
    assert told(await refused(client)) == (Tampered, "answer_forged")


async def test_a_stripped_sealed_part_is_refused(stage: Stage, client: Client) -> None:
    rewrite_outcomes(stage, lambda outcome, _: outcome.ClearField("sealed"))
    assert told(await refused(client)) == (Tampered, "answer_forged")


async def test_a_flipped_bit_in_the_sealed_part_is_refused(stage: Stage, client: Client) -> None:
    def change(outcome: pb.Outcome, _: Exchange) -> None:
        outcome.sealed = outcome.sealed[:-1] + bytes([outcome.sealed[-1] ^ 1])

    rewrite_outcomes(stage, change)
    assert told(await refused(client)) == (Tampered, "answer_forged")


async def test_an_error_that_nobody_signed_is_told_as_the_managers_word(stage: Stage, client: Client) -> None:
    """It can withhold; it can't make a client believe that a delegate said no."""

    def change(outcome: pb.Outcome, _: Exchange) -> None:
        outcome.CopyFrom(pb.Outcome(task=outcome.task, state="failed", code="denied"))

    rewrite_outcomes(stage, change)
    why = await refused(client)
    assert told(why) == (Unavailable, "denied") and why.facts["unsigned"] and "the manager says" in why.detail


async def test_a_code_beside_a_signed_answer_counts_for_nothing(stage: Stage, client: Client) -> None:
    def change(outcome: pb.Outcome, _: Exchange) -> None:
        outcome.code, outcome.state = "denied", "failed"

    rewrite_outcomes(stage, change)
    assert (await client.reveal("account.token")).reveal() == VALUE


async def test_success_without_an_answer_is_no_success(stage: Stage, client: Client) -> None:
    rewrite_outcomes(stage, lambda outcome, _: outcome.CopyFrom(pb.Outcome(state="done", code="ok", sealed=b"x")))
    with pytest.raises(Unavailable) as caught:
        await client.store("account.token", b"the next value")
    assert caught.value.facts["unsigned"]


async def test_an_answer_that_the_manager_signed_as_a_delegate_of_its_own_is_refused(
    stage: Stage, client: Client
) -> None:
    """It certifies itself, answers the right task and seals what it likes to the reader."""
    rewrite_outcomes(stage, lambda outcome, exchange: _impostor(stage, outcome, exchange, stage.mallory))
    assert told(await refused(client)) == (Unauthenticated, "certifier_unknown")


async def test_an_answer_with_a_delegates_certificate_and_another_signature_is_refused(
    stage: Stage, client: Client
) -> None:
    def change(outcome: pb.Outcome, exchange: Exchange) -> None:
        certificate = outcome.certificate
        _impostor(stage, outcome, exchange, stage.mallory)
        outcome.certificate = certificate

    rewrite_outcomes(stage, change)
    assert told(await refused(client)) == (Tampered, "signature_invalid")


async def test_an_answer_of_a_revoked_delegate_is_refused(stage: Stage, client: Client) -> None:
    alpha = next(one for one in stage.evil.services.fleet if one.name == "alpha")
    stage.world.revise_status(keys=(alpha.kid,))
    # The manager keeps the stream that it has to cut, and the delegate doesn't hear of the revocation.
    alpha.cut = lambda: None
    stage.evil.on_down(lambda _, message: [] if isinstance(message, Documents) else [message])
    await stage.publish()
    assert told(await refused(stage.client())) == (Denied, "delegate_revoked")


async def test_an_answer_of_a_delegate_without_the_selectors_is_refused(stage: Stage, client: Client) -> None:
    """The manager lies about a delegate's tags in the certificate's place; the certificate has them right."""
    stage.lie(tags=["production"])
    with pytest.raises(Tampered) as caught:
        await client.reveal("account.token", selectors=["production"])
    assert caught.value.code == "answer_forged" and "unsigned" not in caught.value.facts


async def test_a_forged_certificate_with_more_tags_is_refused(stage: Stage, client: Client) -> None:
    def change(outcome: pb.Outcome, _: Exchange) -> None:
        world = stage.world
        genuine = Identity.generate()
        document = CertificateDocument(
            v=1, acct=world.id, keyring="main", gen=1, key=genuine.key, name="alpha", tags=("production",),
            iat=world.now, exp=world.now + DAY,
        )  # fmt: skip
        outcome.certificate = stage.mallory.sign_document(document)

    rewrite_outcomes(stage, change)
    assert told(await refused(client)) == (Unauthenticated, "certifier_unknown")


async def test_a_delete_answered_by_another_delegate_than_the_one_named_is_refused(
    stage: Stage, client: Client
) -> None:
    """Two honest delegates; the manager gives the task to the wrong one, and relays its signed refusal."""
    await stage.delegate("beta")
    names = {one.kid: one for one in stage.evil.services.fleet}
    certificates = {one.name: one.certificate.compact for one in names.values()}

    def change(outcome: pb.Outcome, _: Exchange) -> None:
        mine = outcome.certificate
        outcome.certificate = next(one for one in certificates.values() if one != mine)

    rewrite_outcomes(stage, change)
    with pytest.raises(Tampered) as caught:
        await client.delete("account.token")
    assert caught.value.code == "answer_forged"


async def test_a_cut_answer_is_no_answer(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.ends_task:
            exchange.cut_after = len(exchange.body) // 2

    stage.evil.on_reply(rewrite)
    assert told(await refused(client)) == (Unavailable, "manager_unreachable")
    stage.evil.behave()
    assert (await client.reveal("account.token")).reveal() == VALUE


async def test_a_truncated_outcome_is_refused(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.ends_task:
            exchange.answer_bytes(exchange.body[:-7], b"application/x-protobuf")

    stage.evil.on_reply(rewrite)
    assert told(await refused(client)) == (Unavailable, "manager_faulty")


@pytest.mark.parametrize("body", [b"\xff" * 40, b"{}", b"", b"<html>"])
async def test_an_outcome_that_is_none_is_refused(stage: Stage, client: Client, body: bytes) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.ends_task:
            exchange.answer_bytes(body, b"text/html")

    stage.evil.on_reply(rewrite)
    assert told(await refused(client)) == (Unavailable, "manager_faulty")


async def test_an_endless_answer_is_given_up(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.ends_task:
            exchange.answer_bytes(bytes(65 * 1024 * 1024), b"application/x-protobuf")

    stage.evil.on_reply(rewrite)
    assert told(await refused(client)) == (Unavailable, "manager_faulty")


async def test_a_redirect_is_not_followed(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if "/tasks" in exchange.path:
            exchange.answer_bytes(b"", b"text/plain", 307)
            exchange.headers.append((b"location", f"{stage.evil.url}/elsewhere".encode()))

    stage.evil.on_reply(rewrite)
    assert (await refused(client)).code == "manager_faulty"
    assert not any(exchange.path.startswith("/elsewhere") for exchange in stage.evil.exchanges)


@pytest.mark.parametrize(
    "problem",
    [
        {"code": 7, "title": ["NotFound"], "detail": {"a": 1}},
        {"code": "x", "title": "Conflict", "documents": 7, "latest": 3},
        {"code": "pin_stale", "title": "Conflict", "documents": [1, None, {}], "latest": {"x": "y"}},
        {"code": "pin_stale", "title": "Conflict", "documents": ["...", "a.b.c", "\udcff"], "stale": 1},
        {"code": "busy", "title": "Overloaded", "retry_after": "soon", "self": 1, "detail": "x" * 10_000},
        [],
        None,
    ],
)
async def test_a_malformed_problem_is_an_error_of_ours(stage: Stage, client: Client, problem: object) -> None:
    def rewrite(exchange: Exchange) -> None:
        if "/tasks" in exchange.path:
            exchange.answer_json(problem, 409)
            exchange.headers = [(b"content-type", b"application/problem+json")]

    stage.evil.on_reply(rewrite)
    why = await refused(client)
    assert isinstance(why, PrivySealError) and len(why.detail) < 3_000


@pytest.mark.parametrize("path", ["/trust", "/resolve", "/versions", "/plan", "/delegates", "/secret"])
async def test_malformed_json_is_an_error_of_ours(stage: Stage, client: Client, path: str) -> None:
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "/trust": lambda: client.account.sync(force=True),
        "/resolve": lambda: client.reveal("account.unknown"),
        "/versions": lambda: client.reveal("account.token", version=1),
        "/plan": lambda: client.delete("account.token"),
        "/delegates": client.views.delegates,
        "/secret": lambda: anext(aiter(client.directory.documents("secret", SecretDocument, ACCOUNT_SCOPE))),
    }
    answers = [b"[]", b"nonsense", b"\xff", b"[" * 9_999]
    for field in ("documents", "versions", "candidates", "delegates", "latest", "next"):
        answers += [
            b'{"%b":%b}' % (field.encode(), value)
            for value in (b"7", b"[7,null,{}]", b'{"a":1}', b'["a.b.c"]', b'["\\u00fc.b.c"]')
        ]
    for body in answers:
        stage.evil.behave()

        def rewrite(exchange: Exchange, body: bytes = body) -> None:
            if exchange.path.partition("?")[0].endswith(path):
                exchange.answer_bytes(body, b"application/json", 200)

        stage.evil.on_reply(rewrite)
        with contextlib.suppress(PrivySealError, StopAsyncIteration):
            await asks[path]()


async def test_pages_without_an_end_are_given_up(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if exchange.path.partition("?")[0].endswith("/versions"):
            exchange.answer_json({**exchange.json(), "next": "0"})

    stage.evil.on_reply(rewrite)
    async with asyncio.timeout(20):
        why = await raised(client.reveal("account.token", version=1))
    assert why.code == "manager_faulty"


async def test_a_task_that_never_ends_is_given_up_without_asking_all_the_time(stage: Stage, client: Client) -> None:
    def rewrite(exchange: Exchange) -> None:
        if "/tasks" in exchange.path:
            exchange.answer_bytes(pb.Outcome(state="running").SerializeToString(), b"application/x-protobuf", 202)

    stage.evil.on_reply(rewrite)
    client.secrets.wait_seconds = 2.0
    before = len(stage.evil.exchanges)
    async with asyncio.timeout(20):
        why = await raised(client.store("account.token", b"the next value"))
    assert told(why) == (Expired, "wait_over")
    assert len(stage.evil.exchanges) - before < 100, "it asks without a pause"


# ---- what is on its way to the delegate


async def test_a_sealed_input_that_is_swapped_on_the_way_is_reported_by_the_delegate(
    stage: Stage, client: Client
) -> None:
    await client.store("account.other", b"another value")
    kept = pb.Submission.FromString(stage.evil.exchanges[-1].request).inputs[0]

    def swap(_: Tap, message: FromManager) -> list[FromManager]:
        return [replace(message, inputs=(kept,)) if isinstance(message, Task) and message.inputs else message]

    stage.evil.on_down(swap)
    with pytest.raises(Tampered) as caught:
        await client.store("account.token", b"the next value")
    assert caught.value.code == "input_swapped" and "unsigned" not in caught.value.facts


async def test_swapped_records_are_reported_by_the_delegate(stage: Stage, client: Client) -> None:
    await client.store("account.other", b"another value")

    def swap(_: Tap, message: FromManager) -> list[FromManager]:
        return [replace(message, stored=message.stored[::-1]) if isinstance(message, Task) else message]

    stage.evil.on_down(swap)
    items = await client.reveal_all(["account.token", "account.other"])
    assert [told(item) for item in items if isinstance(item, PrivySealError)] == [(Tampered, "record_forged")] * 2


async def test_an_old_record_for_the_newest_version_is_reported_by_the_delegate(stage: Stage, client: Client) -> None:
    old: list[bytes] = []

    def keep(_: Tap, message: FromDelegate) -> list[FromDelegate]:
        if isinstance(message, Result):
            old.extend(message.stored)
        return [message]

    stage.evil.on_up(keep)
    await client.store("account.rotated", b"one")
    await client.store("account.rotated", b"two")

    def swap(_: Tap, message: FromManager) -> list[FromManager]:
        return [replace(message, stored=(old[0],)) if isinstance(message, Task) and message.stored else message]

    stage.evil.on_down(swap)
    assert told(await refused(client, "account.rotated")) == (Tampered, "record_forged")


async def test_a_record_that_was_exchanged_before_it_was_stored_does_not_open(stage: Stage, client: Client) -> None:
    """The manager can lose a value; it can't have another one opened in its place."""
    await client.store("account.other", b"another value")
    other = _last_record(stage)

    def plant(_: Tap, message: FromDelegate) -> list[FromDelegate]:
        return [replace(message, stored=(other,)) if isinstance(message, Result) and message.stored else message]

    stage.evil.on_up(plant)
    with contextlib.suppress(PrivySealError):
        await client.store("account.planted", b"a value")
    stage.evil.behave()
    why = await refused(client, "account.planted")
    assert told(why) in {(Tampered, "record_forged"), (NotFound, "secret_unknown")}


def _last_record(stage: Stage) -> bytes:
    """The last one that a delegate made."""
    results = [one for one in stage.evil.tap("alpha").heard if isinstance(one, Result) and one.stored]
    return results[-1].stored[0]


async def test_no_task_reaches_a_delegate_with_the_managers_reader_key(stage: Stage, client: Client) -> None:
    """It exchanges the whole task for one of its own making: the delegate refuses, and the client believes nobody."""

    def swap(_: Tap, message: FromManager) -> list[FromManager]:
        if not isinstance(message, Task):
            return [message]
        task = stage.world.sign(_document_of(message.document), stage.mallory)
        return [replace(message, document=task.compact)]

    stage.evil.on_down(swap)
    assert told(await refused(client)) == (Unavailable, "answer_malformed")
    # What the delegate made of the forged one never reached anybody as an answer to the true one.
    answers = [one for one in stage.evil.tap("alpha").heard if isinstance(one, Result)]
    assert code_of(answers[-1]) == "malformed"


async def test_a_bearer_token_that_one_manager_saw_is_worth_nothing_at_another(stage: Stage, client: Client) -> None:
    seen = stage.evil.exchanges[-1].authorization
    book = stage.world.book()
    assert Authentication(stage.evil.url, Clock()).caller(seen, book).kid == stage.world.administrator.kid
    with pytest.raises(Unauthenticated):
        Authentication("http://127.0.0.1:1", Clock()).caller(seen, book)


def _document_of(compact: str) -> TaskDocument:
    return parse_as(TaskDocument, compact).document


def _impostor(stage: Stage, outcome: pb.Outcome, exchange: Exchange, identity: Identity) -> None:
    """An answer to the right task, by a delegate that the attacker certified, with a value of his choice."""
    world = stage.world
    submission = exchange.submission()
    task = _document_of(submission.document)
    place = Aad("answer", world.id, task.keyring, version=digest(submission.document)).encode(ANSWER)
    reader = Recipient(PublicKey(unb64u(task.reader)))
    sealed = seal(reader, pack([Plaintext(b"planted")]), place).raw
    certifier = Identity.generate()
    document = CertificateDocument(
        v=1, acct=world.id, keyring=task.keyring, gen=task.gen, key=identity.key, name="alpha", tags=("alpha",),
        iat=task.iat, exp=task.iat + DAY,
    )  # fmt: skip
    outcome.certificate = certifier.sign_document(document)
    outcome.answer = identity.sign_document(
        AnswerDocument(
            v=1, acct=world.id, task=digest(submission.document), code="ok", sealed=blob_digest(sealed), iat=task.iat
        )
    )
    outcome.sealed = sealed

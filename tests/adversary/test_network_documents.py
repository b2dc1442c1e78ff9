"""A manager in the attacker's hands shows clients old, forged and other documents: they know better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from client.sdk import Client
from shared.canonical import b64u, digest
from shared.crypto.keyring import Keyring
from shared.crypto.seal import SealingKey
from shared.documents.jws import parse_as, peek_kind
from shared.documents.status import StatusDocument
from shared.documents.task import KnownStatus, TaskDocument
from shared.errors import Conflict, Denied, NotFound, NotReady, PrivySealError, Tampered, Unauthenticated
from shared.wire import submission_pb2 as pb
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage
from tests.adversary.test_network_tasks import rewritten
from tests.fakes.world import KEYRING


def rewrite_json(stage: Stage, path: str, change: Callable[[Any], Any]) -> None:
    """Every answer of that path reaches the client changed."""

    def rewrite(exchange: Exchange) -> None:
        if exchange.path.partition("?")[0].endswith(path) and exchange.status == 200:
            body = exchange.json()
            exchange.answer_json(change(body) or body)
        elif exchange.path.endswith(path) and exchange.status == 304:
            raise AssertionError("the case would see nothing")

    stage.evil.on_reply(rewrite)


def replaced(stage: Stage, path: str, kind: str, compact: str | None) -> None:
    """In every answer of that path the document of a kind is another one (None: is missing)."""

    def change(body: Any) -> None:
        kept = [one for one in body["documents"] if peek_kind(one) != kind]
        body["documents"] = [*kept, *([compact] if compact else [])]

    rewrite_json(stage, path, change)


async def raised(awaitable: Any) -> tuple[type[PrivySealError], str]:
    with pytest.raises(PrivySealError) as caught:
        await awaitable
    return type(caught.value), caught.value.code


# ---- clients and the account's documents


async def test_a_swapped_sealing_key_is_refused_before_anything_is_sealed(stage: Stage) -> None:
    own = b64u(SealingKey(bytes(32)).public.raw)
    replaced(stage, "/trust", "keyring", rewritten(stage.world.keyring_document.compact, seal=own))
    client = stage.client()
    assert await raised(client.store("account.token", b"value")) == (Tampered, "signature_invalid")
    assert not any("/tasks" in exchange.path for exchange in stage.evil.exchanges)


async def test_a_keyring_of_the_managers_own_is_refused_before_anything_is_sealed(stage: Stage) -> None:
    own = Keyring(stage.world.id, KEYRING, [(1, bytes(32))])
    forged = stage.world.sign(own.document(1, None, stage.world.now), stage.mallory)
    replaced(stage, "/trust", "keyring", forged.compact)
    client = stage.client()
    assert await raised(client.store("account.token", b"value")) == (Unauthenticated, "signer_unknown")
    assert not any("/tasks" in exchange.path for exchange in stage.evil.exchanges)


async def test_a_second_keyring_in_the_place_of_the_one_that_was_seen_is_refused(stage: Stage) -> None:
    """An administrator was tricked into signing it, with the same revision."""
    home = stage.home("client")
    async with stage.client(home=home) as client:
        await client.store("account.token", b"value")
    own = Keyring(stage.world.id, KEYRING, [(1, bytes(32))])
    fork = stage.world.sign(own.document(1, None, stage.world.now), stage.world.administrator)
    replaced(stage, "/trust", "keyring", fork.compact)
    rewrite_etag(stage)
    assert await raised(stage.client(home=home).store("account.token", b"next")) == (Tampered, "revision_forked")


async def test_a_withheld_keyring_is_named(stage: Stage) -> None:
    replaced(stage, "/trust", "keyring", None)
    assert await raised(stage.client().store("account.token", b"value")) == (NotReady, "keyring_missing")


async def test_an_account_document_that_makes_the_manager_an_administrator_is_refused(stage: Stage) -> None:
    account = stage.world.account_document.document
    usurper = structs.replace(account.administrators[0], key=stage.mallory.key)
    forged = stage.world.next(stage.world.account_document, stage.mallory, administrators=(usurper,))
    rewrite_json(stage, "/trust", lambda body: body["documents"].append(forged.compact))
    assert await raised(stage.client().account.sync()) == (Tampered, "signer_unknown")


async def test_another_account_in_the_place_of_ones_own_is_refused(stage: Stage) -> None:
    from tests.fakes.world import World

    other = World(now=stage.world.now, name="another")
    rewrite_json(stage, "/trust", lambda body: {"documents": other.documents})
    assert (await raised(stage.client().account.sync()))[0] is Tampered


async def test_a_status_that_is_rolled_back_changes_nothing_in_a_later_run(stage: Stage) -> None:
    old, home = stage.world.status, stage.home("client")
    stage.world.revise_status(grants=("a" * 26,))
    await stage.publish()
    async with stage.client(home=home) as client:
        await client.account.sync()
    replaced(stage, "/trust", "status", old.compact)
    rewrite_etag(stage)
    later = stage.client(home=home)
    await later.store("account.token", b"value")
    task = parse_as(TaskDocument, stage.evil.exchanges[-1].submission().document).document
    assert task.status == KnownStatus(stage.world.status.document.rev, stage.world.status.digest)


async def test_two_statuses_with_one_serial_are_noticed_in_a_later_run(stage: Stage) -> None:
    home = stage.home("client")
    async with stage.client(home=home) as client:
        await client.account.sync()
    document: StatusDocument = structs.replace(stage.world.status.document, exp=stage.world.status.document.exp - 1)
    fork = stage.world.sign(document, stage.world.administrator)
    replaced(stage, "/trust", "status", fork.compact)
    rewrite_etag(stage)
    found = await raised(stage.client(home=home).account.sync(force=True))
    assert found in {(Tampered, "revision_forked"), (Tampered, "status_forked")}


async def test_a_status_that_is_rolled_back_within_one_run_changes_nothing(stage: Stage) -> None:
    client = stage.client()
    await client.account.sync()
    old = stage.world.status
    stage.world.revise_status(grants=("a" * 26,))
    await stage.publish()
    await client.account.sync(force=True)
    replaced(stage, "/trust", "status", old.compact)
    rewrite_etag(stage)
    await client.account.sync(force=True)
    assert client.account.book.status is not None and client.account.book.status.digest == stage.world.status.digest


async def test_a_forged_grant_among_true_ones_is_refused(stage: Stage) -> None:
    forged = stage.world.sign(stage.world.grant_document(stage.mallory), stage.mallory)
    rewrite_json(stage, "/trust", lambda body: body["documents"].append(forged.compact))
    client = stage.client()
    await client.account.sync()
    assert [why.code for why in client.account.refused] == ["signer_unknown"] and not client.account.book.grants


def rewrite_etag(stage: Stage) -> None:
    """A client that offers what it has must be answered in full, so that it sees what the manager shows."""

    def forget(exchange: Exchange) -> None:
        if "/trust" in exchange.path:
            exchange.no_conditions = True

    stage.evil.on_request(forget)


# ---- clients and versions


async def test_an_older_version_as_the_newest_is_noticed(stage: Stage) -> None:
    client = stage.client()
    first = await client.store("account.token", b"one")
    await client.store("account.token", b"two")
    rewrite_latest(stage, first.n, first.version)
    client.directory.forget([client.secrets.reference("account.token")])
    assert await raised(client.reveal("account.token")) == (Tampered, "version_rolled_back")


async def test_an_older_version_as_the_newest_is_noticed_in_a_later_run(stage: Stage) -> None:
    home = stage.home("client")
    async with stage.client(home=home) as client:
        first = await client.store("account.token", b"one")
        await client.store("account.token", b"two")
    rewrite_latest(stage, first.n, first.version)
    assert await raised(stage.client(home=home).reveal("account.token")) == (Tampered, "version_rolled_back")


async def test_a_version_that_was_only_revealed_counts_as_seen(stage: Stage) -> None:
    home, writer = stage.home("reader"), stage.client()
    first = await writer.store("account.token", b"one")
    await writer.store("account.token", b"two")
    async with stage.client(home=home) as reader:
        assert (await reader.reveal("account.token")).reveal() == b"two"
    rewrite_latest(stage, first.n, first.version)
    assert await raised(stage.client(home=home).reveal("account.token")) == (Tampered, "version_rolled_back")


async def test_a_secret_whose_versions_are_hidden_is_noticed(stage: Stage) -> None:
    home = stage.home("client")
    async with stage.client(home=home) as client:
        await client.store("account.token", b"one")
    rewrite_json(stage, "/resolve", lambda body: {**body, "latest": {}})
    assert await raised(stage.client(home=home).reveal("account.token")) == (Tampered, "version_rolled_back")


async def test_another_version_of_the_same_number_is_noticed(stage: Stage) -> None:
    home = stage.home("client")
    async with stage.client(home=home) as client:
        await client.store("account.token", b"one")
    rewrite_latest(stage, 1, digest("another store task"))
    assert await raised(stage.client(home=home).reveal("account.token")) == (Tampered, "version_forked")


async def test_a_version_that_never_was_does_not_outlive_the_lie(stage: Stage) -> None:
    """A number that nobody signed mustn't make the true one look rolled back, once the manager is honest again."""
    home, writer = stage.home("reader"), stage.client()
    await writer.store("account.token", b"one")
    rewrite_latest(stage, 999, digest("made up"))
    async with stage.client(home=home) as reader:
        assert await raised(reader.reveal("account.token")) == (NotFound, "version_not_found")
    stage.evil.behave()
    assert (await stage.client(home=home).reveal("account.token")).reveal() == b"one"


async def test_a_forged_list_of_versions_is_refused(stage: Stage) -> None:
    client = stage.client()
    await client.store("account.token", b"one")
    other = await client.store("account.other", b"other")
    listed = next(pb.Submission.FromString(one.request) for one in stage.evil.exchanges[::-1] if one.ends_task)

    def change(body: Any) -> None:
        for row in body["versions"]:
            row.update(task=listed.document, digest=other.version)

    rewrite_json(stage, "/versions", change)
    assert await raised(client.reveal("account.token", version=1)) == (Tampered, "version_forged")


def rewrite_latest(stage: Stage, n: int, sha256: str) -> None:
    """Whatever is asked for: this is its newest version."""

    def change(body: Any) -> None:
        body["latest"] = {secret: {"n": n, "digest": sha256} for secret in body["latest"]}

    rewrite_json(stage, "/resolve", change)


# ---- clients and locators


async def test_another_secrets_document_for_the_one_that_was_asked_for_is_refused(stage: Stage) -> None:
    client = stage.client()
    await client.store("account.token", b"value")
    await client.store("account.other", b"other")
    stage.evil.on_request(_ask_for("other"))
    fresh = stage.client()
    assert await raised(fresh.reveal("account.token")) == (Tampered, "secret_unasked")


async def test_a_renamed_document_is_refused(stage: Stage) -> None:
    client = stage.client()
    await client.store("account.token", b"value")

    def change(body: Any) -> None:
        body["documents"] = [
            rewritten(one, identifier="asked") if peek_kind(one) == "secret" else one for one in body["documents"]
        ]

    stage.evil.on_request(_ask_for("token"))
    rewrite_json(stage, "/resolve", change)
    assert await raised(stage.client().reveal("account.asked")) == (Tampered, "signature_invalid")


async def test_a_connector_of_a_lower_scope_with_the_id_of_the_right_one_is_refused_before_sealing(
    stage: Stage,
) -> None:
    """A colluding principal holds another zone's keyring and makes a connector to it with the same id."""
    world, accomplice = stage.world, stage.world.identity("accomplice")
    theirs = Keyring(world.id, "low", [(1, world.seed("low keyring"))])
    world.publish(theirs.document(1, None, world.now))
    world.grant(accomplice, ["edit"], "org/low")
    planted = world.sign(
        structs.replace(world.connector.document, scope="org/low", identifier="planted", keyring="low"), accomplice
    )
    await stage.publish()
    await stage.client().store("account.token", b"one")
    before = len(stage.evil.exchanges)
    replaced(stage, "/resolve", "connector", planted.compact)
    found = await raised(stage.client().store("account.token", b"two"))
    sent = [one for one in stage.evil.exchanges[before:] if "/tasks" in one.path]
    assert not sent, "a value was sealed to the other zone's keyring"
    assert found == (Denied, "connector_out_of_scope")


async def test_a_withheld_connector_is_named(stage: Stage) -> None:
    await stage.client().store("account.token", b"one")
    replaced(stage, "/resolve", "connector", None)
    assert await raised(stage.client().reveal("account.token")) == (NotFound, "connector_unknown")


async def test_a_deleted_secret_does_not_come_back(stage: Stage) -> None:
    home = stage.home("client")
    async with stage.client(home=home) as client:
        await client.store("account.token", b"value")
        before = await _resolved(stage, "token")
        await client.delete("account.token")
        rewrite_json(stage, "/resolve", lambda body: before)
        assert await raised(client.reveal("account.token")) == (NotFound, "secret_unknown")
    later = stage.client(home=home)
    assert await raised(later.reveal("account.token")) == (Tampered, "revision_rolled_back")


async def test_an_older_secret_in_a_newer_ones_place_is_noticed(stage: Stage) -> None:
    """Deleted, made anew under its name, and then the first one is shown again."""
    now, home = stage.world.now, stage.home("client")
    async with stage.client(clock=lambda: now - 90) as client:
        await client.store("account.token", b"the first")
        before = await _resolved(stage, "token")
        await client.delete("account.token")
    async with stage.client(home=home, clock=lambda: now + 60) as client:
        await client.store("account.token", b"the second")
    rewrite_json(stage, "/resolve", lambda body: before)
    assert await raised(stage.client(home=home).reveal("account.token")) == (Tampered, "secret_rolled_back")


async def _resolved(stage: Stage, identifier: str) -> Any:
    """What an honest manager answers now."""
    client: Client = stage.client()
    asked = {"secrets": [{"scope": "account", "identifier": identifier}], "connectors": []}
    return (await client.account.ask("POST", "resolve", json=asked, repeatable=True)).json()


def _ask_for(identifier: str) -> Callable[[Exchange], None]:
    def change(exchange: Exchange) -> None:
        if exchange.path.endswith("/resolve"):
            body = b'{"secrets":[{"scope":"account","identifier":"%b"}],"connectors":[]}' % identifier.encode()
            exchange.request = body

    return change


# ---- principals and an honest manager


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("forgetful", [False, True])
async def test_an_id_from_another_scope_neither_replaces_nor_deletes_what_has_it(
    stage: Stage, deleted: bool, forgetful: bool
) -> None:
    """Whoever may edit one scope signs the next revision of a secret above as if it lived in his; the manager is honest."""
    world, accomplice = stage.world, stage.world.identity("accomplice")
    world.grant(accomplice, ["edit", "delete", "reveal"], "org/low")
    await stage.publish()
    client = stage.client()
    victim = (await client.store("account.token", b"value")).secret
    planted = world.next(victim, accomplice, scope="org/low", deleted=deleted)
    if forgetful:
        # As after a restart: what it knows of secrets is in its database alone.
        stage.evil.services.books._books.clear()
    low = stage.client(accomplice)
    with pytest.raises(PrivySealError) as caught:
        await low.account.ask("POST", "documents", json={"documents": [planted.compact]})
    assert isinstance(caught.value, Conflict)
    assert (await stage.client().reveal("account.token")).reveal() == b"value"

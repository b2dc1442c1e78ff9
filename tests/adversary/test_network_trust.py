"""A manager in the attacker's hands shows delegates old, forged and other documents: they know better."""

from __future__ import annotations

from shared.crypto.keyring import Keyring
from shared.documents.task import KnownStatus
from tests.adversary.evil_manager import code_of
from tests.adversary.stage import Stage
from tests.adversary.test_network_tasks import stored
from tests.fakes.world import KEYRING, pins_of

# ---- delegates and the status


async def test_a_revoked_principal_stays_revoked_when_the_manager_shows_the_old_status_again(stage: Stage) -> None:
    """The principal and the manager work together, and sign and show as if nothing had happened."""
    world, reader = stage.world, stage.world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    version = await stored(stage)
    old = world.status
    task = world.reveal([version], reader)
    world.revise_status(grants=(grant.document.id,))
    await stage.teach("alpha", [world.status.compact])
    await stage.teach("alpha", [old.compact])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_revoked")


async def test_a_status_that_the_manager_signed_lifts_no_revocation(stage: Stage) -> None:
    world, reader = stage.world, stage.world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    version = await stored(stage)
    world.revise_status(grants=(grant.document.id,))
    forged = world.next(world.status, stage.mallory, grants=(), exp=world.now + 86_400)
    await stage.teach("alpha", [world.status.compact, forged.compact])
    task = world.reveal([version], reader)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_revoked")


async def test_a_renewal_that_lifts_a_revocation_is_refused(stage: Stage) -> None:
    """A colluding service may renew the status, unchanged."""
    world, reader, renewer = stage.world, stage.world.identity("reader"), stage.world.identity("renewer")
    grant = world.grant(reader, ["reveal"])
    world.grant(renewer, ["renew"])
    version = await stored(stage)
    world.revise_status(grants=(grant.document.id,))
    until = world.now + 86_400
    loosened = world.next(world.status, renewer, grants=(), base=world.status.digest, exp=until)
    await stage.teach("alpha", [*world.documents, loosened.compact])
    task = world.reveal([version], reader)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_revoked")
    honest = world.next(world.status, renewer, base=world.status.digest, exp=until)
    await stage.teach("alpha", [honest.compact])
    task = world.reveal([version], status=KnownStatus(honest.document.rev, honest.digest))
    assert code_of(await stage.evil.give("alpha", task.compact, stored=[version.record.raw])) == "ok"


async def test_two_statuses_with_one_serial_are_noticed(stage: Stage) -> None:
    """An administrator was tricked into signing both; the client was shown one, the delegate the other."""
    world = stage.world
    version = await stored(stage)
    one = world.next(world.status, exp=world.now + 86_400, base=None)
    two = world.next(world.status, exp=world.now + 86_401, base=None)
    await stage.teach("alpha", [one.compact, two.compact])
    task = world.reveal([version], status=KnownStatus(two.document.rev, two.digest))
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("tampered", "status_forked")


async def test_a_withheld_status_is_noticed_by_the_next_task(stage: Stage) -> None:
    world = stage.world
    version = await stored(stage)
    world.revise_status()
    task = world.reveal([version])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("not_ready", "status_behind")


async def test_nothing_is_done_under_an_expired_status(stage: Stage) -> None:
    world = stage.world
    version = await stored(stage)
    world.revise_status(iat=world.now - 100, exp=world.now - 1)
    await stage.teach("alpha", [world.status.compact])
    task = world.reveal([version])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("not_ready", "status_expired")


# ---- delegates and other documents


async def test_an_old_signed_document_among_new_ones_is_refused(stage: Stage) -> None:
    world = stage.world
    version = await stored(stage)
    task = world.reveal([version])
    world.revise(version.secret, description="moved on")
    await stage.teach("alpha", [world.documents[-1]])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("conflict", "pin_stale")


async def test_a_document_that_the_task_does_not_pin_counts_for_nothing(stage: Stage) -> None:
    """The delegate knows the grant; the task's signer didn't sign for using it."""
    world, reader = stage.world, stage.world.identity("reader")
    world.grant(reader, ["reveal"])
    version = await stored(stage)
    pins = pins_of([world.account_document, world.keyring_document, world.connector, version.secret])
    task = world.reveal([version], reader, pins=pins)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_missing")


async def test_a_pinned_document_that_is_withheld_is_asked_for_and_nothing_is_done_without_it(stage: Stage) -> None:
    world = stage.world
    version = world.store(world.secret("hidden"), b"value")
    task = world.reveal([version])
    assert await stage.asks("alpha", task.compact, stored=[version.record.raw]) == (version.secret.digest,) or set(
        await stage.asks("alpha", task.compact, stored=[version.record.raw])
    ) >= {version.secret.digest}


async def test_a_revived_secret_is_refused(stage: Stage) -> None:
    world = stage.world
    version = await stored(stage)
    before = world.reveal([version])
    world.revise(version.secret, deleted=True)
    await stage.teach("alpha", [world.documents[-1]])
    after = world.reveal([version])
    assert await stage.refusal("alpha", before, stored=[version.record.raw]) == ("conflict", "pin_stale")
    assert await stage.refusal("alpha", after, stored=[version.record.raw]) == ("conflict", "secret_deleted")


async def test_a_secret_document_of_somebody_without_the_right_is_refused(stage: Stage) -> None:
    """A reader changes the document that he may only read, with the manager's help."""
    world, reader = stage.world, stage.world.identity("reader")
    world.grant(reader, ["reveal"])
    version = await stored(stage)
    changed = world.next(version.secret, reader, connector=world.connector.document.id, name="mine")
    pins = pins_of([world.account_document, world.keyring_document, world.connector, changed, *world.chain(reader.kid)])
    task = world.reveal([version], reader, pins=pins)
    await stage.teach("alpha", [changed.compact])
    assert (await stage.refusal("alpha", task, stored=[version.record.raw]))[0] == "denied"


async def test_a_keyring_document_that_the_manager_signed_is_refused(stage: Stage) -> None:
    world = stage.world
    version = await stored(stage)
    own = Keyring(world.id, KEYRING, [(1, bytes(32)), (2, bytes(32))])
    document = own.document(2, world.keyring_document.digest, world.now)
    forged = world.sign(document, stage.mallory)
    await stage.teach("alpha", [forged.compact])
    pins = pins_of([world.account_document, forged, world.connector, version.secret])
    assert await stage.refusal("alpha", world.reveal([version], gen=2, pins=pins), stored=[b"\x01"]) == (
        "unauthenticated",
        "signer_unknown",
    )


async def test_a_delegate_with_another_accounts_keyring_is_not_let_in_and_does_nothing(stage: Stage) -> None:
    """Though the manager lets it: it answers no task of this account."""
    stranger = Keyring("a" * 52, KEYRING, [(1, bytes(32))])
    actor = await stage.delegate("stranger", keyring=stranger, welcome=False)
    await stage.evil_refused(actor)
    assert not any(one.name == "stranger" for one in stage.evil.services.fleet)


async def test_a_delegate_with_an_uncertified_keyring_is_not_let_in(stage: Stage) -> None:
    """It has the account's id and the keyring's name, and made up the seed."""
    actor = await stage.delegate("stranger", keyring=Keyring(stage.world.id, KEYRING, [(1, bytes(32))]), welcome=False)
    await stage.evil_refused(actor)
    assert actor.daemon.link.state == "certifier_unknown"

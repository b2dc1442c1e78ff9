"""A manager in the attacker's hands hands tasks to a real delegate: none that a granted principal didn't sign is acted on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from shared.aad import Aad
from shared.canonical import b64u, blob_digest, encode, unb64u
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import SealingKey, seal
from shared.documents.jws import Verified
from shared.documents.task import Target, WantedSelector
from shared.errors import Tampered
from shared.labels import ANSWER, INPUT
from shared.values import Sealed, recipient_of_keyring
from tests.adversary.evil_manager import code_of
from tests.adversary.stage import Stage
from tests.fakes.world import KEYRING, Version, World, pins_of

VALUE = b"the value that nobody else may have"


def rewritten(compact: str, **changes: Any) -> str:
    """The task with other claims, and with the signature that it had."""
    header, payload, signature = compact.split(".")
    claims = {**json.loads(unb64u(payload)), **changes}
    return f"{header}.{b64u(encode(claims))}.{signature}"


async def stored(stage: Stage, identifier: str = "token", scope: str = "account", value: bytes = VALUE) -> Version:
    """A secret of the world with one version, which the delegate has the documents of."""
    version = stage.world.store(stage.world.secret(identifier, scope), value)
    await stage.teach("alpha")
    return version


async def test_the_stage_is_honest_when_nobody_attacks(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version])
    result = await stage.evil.give("alpha", task.compact, stored=[version.record.raw])
    (item,) = stage.opened(task, result)
    assert isinstance(item, Plaintext) and item.reveal() == VALUE


# ---- rewritten tasks


async def test_a_swapped_reader_key_breaks_the_signature(stage: Stage) -> None:
    version = await stored(stage)
    own = b64u(SealingKey(bytes(32)).public.raw)
    task = rewritten(stage.world.reveal([version]).compact, reader=own)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("tampered", "")


async def test_a_stretched_expiry_breaks_the_signature(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version])
    longer = rewritten(task.compact, exp=task.document.exp + 3_600)
    assert await stage.refusal("alpha", longer, stored=[version.record.raw]) == ("tampered", "")


async def test_a_task_kept_back_beyond_its_expiry_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version], iat=stage.world.now - 300, exp=stage.world.now - 1)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("expired", "task_expired")


async def test_a_principal_cannot_sign_a_task_that_lasts_for_ever(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version], exp=stage.world.now + 10 * 86_400)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "task_too_long")


async def test_a_task_from_the_future_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    now = stage.world.now
    task = stage.world.reveal([version], iat=now + 900, exp=now + 960)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "clock_skew")


async def test_other_selectors_break_the_signature(stage: Stage) -> None:
    version = await stored(stage)
    wanted = (WantedSelector("eu", "step"),)
    task = rewritten(stage.world.reveal([version], selectors=wanted).compact, selectors=[["alpha", "step"]])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("tampered", "")


async def test_a_task_under_the_name_of_another_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    task, other = stage.world.reveal([version]), stage.world.reveal([version])
    reply = await stage.evil.tap("alpha").give(task.compact, (), [version.record.raw], named=other.digest)
    assert not getattr(reply, "sealed", b"") and code_of(reply) == "malformed"  # type: ignore[arg-type]


# ---- forged tasks


async def test_a_task_that_the_manager_signed_itself_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version], stage.mallory)
    assert await stage.refusal("alpha", task.compact, stored=[version.record.raw]) == ("unauthenticated", "")


async def test_a_task_in_an_administrators_name_with_the_managers_signature_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.reveal([version])
    signing_input = task.compact.rpartition(".")[0]
    forged = f"{signing_input}.{b64u(stage.mallory.sign(signing_input.encode()))}"
    assert await stage.refusal("alpha", forged, stored=[version.record.raw]) == ("tampered", "")


async def test_a_task_of_another_account_is_refused(stage: Stage) -> None:
    await stored(stage)
    other = World(now=stage.world.now, name="another account")
    theirs = other.store(other.secret("token"), VALUE)
    task = other.reveal([theirs], pins=pins_of([stage.world.account_document, stage.world.keyring_document]))
    assert await stage.refusal("alpha", task.compact, stored=[theirs.record.raw]) == ("tampered", "")


async def test_an_account_document_that_makes_the_manager_an_administrator_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    account = stage.world.account_document
    usurped = stage.world.next(
        account,
        stage.mallory,
        administrators=(structs.replace(account.document.administrators[0], key=stage.mallory.key),),
    )
    task = stage.world.reveal([version], stage.mallory)
    await stage.teach("alpha", [usurped.compact])
    assert await stage.refusal("alpha", task.compact, stored=[version.record.raw]) == ("unauthenticated", "")


async def test_an_account_document_with_a_new_root_of_the_managers_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    account = stage.world.account_document
    usurped = stage.world.next(account, stage.mallory, roots=(stage.mallory.key,), consents={})
    pins = pins_of([usurped, stage.world.keyring_document, version.secret, stage.world.connector])
    task = stage.world.reveal([version], pins=pins)
    await stage.teach("alpha", [usurped.compact])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("tampered", "signer_unknown")


async def test_a_store_that_the_manager_makes_up_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    forged = stage.world.store(version.secret, b"planted", stage.mallory)
    assert await stage.refusal("alpha", forged.task.compact, inputs=[forged.input.raw]) == ("unauthenticated", "")


# ---- sealed inputs and records


async def test_a_sealed_input_of_another_task_is_refused(stage: Stage) -> None:
    one, other = await stored(stage), await stored(stage, "other", value=b"a value of somebody else")
    refused = await stage.refusal("alpha", one.task, inputs=[other.input.raw])
    assert refused == ("tampered", "input_swapped")


async def test_a_sealed_input_that_a_colluding_principal_signs_as_his_own_does_not_open(stage: Stage) -> None:
    """HPKE's base mode doesn't prove its sender: the place that is sealed in has to."""
    victim = await stored(stage)
    accomplice = stage.world.identity("accomplice")
    stage.world.grant(accomplice, ["edit", "reveal"], "org/low")
    own = stage.world.secret("mine", "org/low", accomplice)
    task = stage.world.store(own, b"", accomplice, input=(blob_digest(victim.input.raw),)).task
    await stage.teach("alpha")
    assert await stage.refusal("alpha", task, inputs=[victim.input.raw]) == ("tampered", "opening_failed")


async def test_an_input_that_the_manager_sealed_is_refused(stage: Stage) -> None:
    """It has the public key, and can seal whatever it likes."""
    version = await stored(stage)
    secret = version.secret.document
    place = Aad("store", stage.world.id, KEYRING, secret.scope, secret.id, 1, "", secret.connector)
    planted = seal(recipient_of_keyring(stage.world.keyring_document), Plaintext(b"planted"), place.encode(INPUT))
    assert await stage.refusal("alpha", version.task, inputs=[planted.raw]) == ("tampered", "input_swapped")


async def test_two_swapped_records_are_refused(stage: Stage) -> None:
    one, other = await stored(stage), await stored(stage, "other", value=b"another value")
    task = stage.world.reveal([one, other])
    refused = await stage.refusal("alpha", task, stored=[other.record.raw, one.record.raw])
    assert refused == ("tampered", "record_forged")


async def test_an_old_record_is_refused_for_a_new_version(stage: Stage) -> None:
    one = await stored(stage)
    two = stage.world.store(one.secret, b"the rotated value", after=one)
    task = stage.world.reveal([two])
    assert await stage.refusal("alpha", task, stored=[one.record.raw]) == ("tampered", "record_forged")


async def test_a_record_of_the_same_number_by_another_store_task_is_refused(stage: Stage) -> None:
    one = await stored(stage)
    twin = stage.world.store(one.secret, b"stored at the same time by somebody else")
    task = stage.world.reveal([one])
    assert await stage.refusal("alpha", task, stored=[twin.record.raw]) == ("tampered", "record_forged")


async def test_a_changed_record_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    for at in (1, 40, 100, len(version.record.raw) - 1):
        raw = bytearray(version.record.raw)
        raw[at] ^= 1
        task = stage.world.reveal([version])
        assert await stage.refusal("alpha", task, stored=[bytes(raw)]) == ("tampered", "record_forged")


async def test_a_withheld_record_is_no_value(stage: Stage) -> None:
    version = await stored(stage)
    assert await stage.refusal("alpha", stage.world.reveal([version]), stored=[b""]) == ("not_found", "version_missing")


async def test_a_record_of_a_low_scope_with_the_same_id_is_no_key_to_a_higher_one(stage: Stage) -> None:
    """A colluding principal gives a secret of his own the victim's id, so that the manager can hand over its record."""
    victim = await stored(stage)
    accomplice = stage.world.identity("accomplice")
    stage.world.grant(accomplice, ["edit", "reveal"], "org/low")
    document = structs.replace(stage.world.secret_document("mine", "org/low"), id=victim.secret.document.id)
    own = stage.world.sign(document, accomplice)
    pins = pins_of([*_common(stage.world), own, *stage.world.chain(accomplice.kid)])
    task = stage.world.task("reveal", [victim.target()], accomplice, pins=pins)
    await stage.teach("alpha", [*stage.world.documents, own.compact])
    assert await stage.refusal("alpha", task, stored=[victim.record.raw]) == ("conflict", "field_immutable")
    # Nor by a delegate that is never shown the secret whose id it is.
    await stage.delegate("fresh")
    await stage.teach("fresh", [one for one in stage.world.documents if one != victim.secret.compact] + [own.compact])
    assert await stage.refusal("fresh", task, stored=[victim.record.raw]) == ("tampered", "record_forged")


async def test_a_store_of_an_excluded_generation_is_refused(stage: Stage) -> None:
    """The manager kept a sealed input back until its generation was given up as compromised."""
    version = await stored(stage)
    stage.world.rotate(floor=2)
    stage.world.revise_status(keyrings={KEYRING: 2})
    await stage.publish()
    await stage.delegate("fresh", keyring=stage.world.keyring)
    await stage.teach("fresh")
    refused = await stage.refusal("fresh", version.task, inputs=[version.input.raw])
    assert refused == ("conflict", "revision_stale")
    world, document = stage.world, version.task.document
    pins = world.pins(document.targets, world.administrator)
    resigned = world.sign(structs.replace(document, pins=pins), world.administrator)
    refused = await stage.refusal("fresh", resigned, inputs=[version.input.raw])
    assert refused == ("stale_recipient", "generation_excluded")


async def test_a_version_below_the_floor_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    stage.world.revise_status(secrets={version.secret.document.id: 2})
    await stage.teach("alpha")
    task = stage.world.reveal([version])
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "version_excluded")


# ---- replays


async def test_a_delete_that_is_delivered_twice_runs_once(stage: Stage) -> None:
    version = await stored(stage)
    task = stage.world.delete(version.secret, to=stage.kid("alpha"))
    assert code_of(await stage.evil.give("alpha", task.compact)) == "ok"
    assert await stage.refusal("alpha", task) == ("conflict", "task_replayed")


async def test_a_delete_that_is_signed_anew_with_the_same_number_runs_once(stage: Stage) -> None:
    """A colluding client changes nothing but the digest."""
    version = await stored(stage)
    task = stage.world.delete(version.secret, to=stage.kid("alpha"))
    twin = stage.world.delete(version.secret, to=stage.kid("alpha"), jti=task.document.jti, exp=task.document.exp + 1)
    assert code_of(await stage.evil.give("alpha", task.compact)) == "ok"
    assert await stage.refusal("alpha", twin) == ("conflict", "task_replayed")


async def test_a_delete_for_one_delegate_is_refused_by_another(stage: Stage) -> None:
    version = await stored(stage)
    await stage.delegate("beta")
    await stage.teach("beta")
    task = stage.world.delete(version.secret, to=stage.kid("alpha"))
    assert await stage.refusal("beta", task) == ("denied", "recipient_other")


async def test_a_delete_is_refused_after_its_delegate_was_restarted(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        first = await stage.delegate("alpha")
        version = await stored(stage)
        task = stage.world.delete(version.secret, to=stage.kid("alpha"))
        assert code_of(await stage.evil.give("alpha", task.compact)) == "ok"
        await first.stop()
        await stage.delegate("alpha")
        await stage.teach("alpha")
        assert await stage.refusal("alpha", task) == ("denied", "recipient_other")


async def test_a_delete_that_names_nobody_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    for changes in ({"to": None}, {"repeat": "any", "to": None}):
        task = stage.world.delete(version.secret, **changes)
        assert await stage.refusal("alpha", task) == ("malformed", "task_malformed")


async def test_a_replayed_store_makes_no_record_of_another_version(stage: Stage) -> None:
    """It may run again; what it makes is again version 1, and opens as no other."""
    one = await stored(stage)
    two = stage.world.store(one.secret, b"the rotated value", after=one)
    result = await stage.evil.give("alpha", one.task.compact, inputs=[one.input.raw])
    assert code_of(result) == "ok"
    refused = await stage.refusal("alpha", stage.world.reveal([two]), stored=list(result.stored))
    assert refused == ("tampered", "record_forged")


async def test_a_replayed_reveal_is_sealed_to_its_reader_again_and_to_nobody_else(stage: Stage) -> None:
    """It may run again, anywhere: what comes out is of use to the signer alone."""
    version = await stored(stage)
    await stage.delegate("beta")
    await stage.teach("beta")
    task = stage.world.reveal([version])
    for name in ("alpha", "beta"):
        result = await stage.evil.give(name, task.compact, stored=[version.record.raw])
        (item,) = stage.opened(task, result)
        assert isinstance(item, Plaintext) and item.reveal() == VALUE and VALUE not in result.sealed
        place = Aad("answer", stage.world.id, KEYRING, version=task.digest).encode(ANSWER)
        with pytest.raises(Tampered):
            SealingKey(bytes(32)).open(Sealed(result.sealed), place)


# ---- grants


async def test_a_grant_that_the_manager_signed_is_refused(stage: Stage) -> None:
    version = await stored(stage)
    grant = stage.world.sign(stage.world.grant_document(stage.mallory), stage.mallory)
    pins = pins_of([*_common(stage.world), version.secret, grant])
    task = stage.world.reveal([version], stage.mallory, pins=pins)
    assert await stage.asks("alpha", task.compact, stored=[version.record.raw]) == (grant.digest,)
    await stage.teach("alpha", [grant.compact])
    assert await stage.refusal("alpha", task.compact, stored=[version.record.raw]) == ("unauthenticated", "")


async def test_a_grant_used_above_its_scope_is_refused(stage: Stage) -> None:
    reader = stage.world.identity("reader")
    stage.world.grant(reader, ["reveal"], "org/low")
    version = await stored(stage, scope="org/high")
    task = stage.world.reveal([version], reader)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_missing")


async def test_a_grant_of_something_else_is_refused(stage: Stage) -> None:
    """Whoever may store and use may not see."""
    writer = stage.world.identity("writer")
    stage.world.grant(writer, ["edit", "use", "view", "delete"])
    version = await stored(stage)
    task = stage.world.reveal([version], writer)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_missing")


async def test_a_grant_to_one_secret_is_refused_for_another(stage: Stage) -> None:
    reader = stage.world.identity("reader")
    one, other = await stored(stage), await stored(stage, "other")
    stage.world.grant(reader, ["reveal"], resource=one.secret.document.id)
    await stage.teach("alpha")
    allowed = stage.world.reveal([one], reader)
    assert code_of(await stage.evil.give("alpha", allowed.compact, stored=[one.record.raw])) == "ok"
    task = stage.world.reveal([other], reader)
    assert await stage.refusal("alpha", task, stored=[other.record.raw]) == ("denied", "grant_missing")


async def test_a_chain_of_five_is_refused(stage: Stage) -> None:
    world, signer, parent = stage.world, stage.world.administrator, None
    version = await stored(stage)
    for link in range(5):
        holder = world.identity(f"link {link}")
        document = world.grant_document(holder, ("admin", "reveal"), parent=parent)
        if link < 4:
            grant = world.publish(document, signer)
            await stage.teach("alpha")
            task = world.reveal([version], holder)
            result = await stage.evil.give("alpha", task.compact, stored=[version.record.raw])
            assert code_of(result) == "ok"
        else:
            grant = world.sign(document, signer)
        signer, parent = holder, grant.document.id
    pins = pins_of([*_common(world), version.secret, grant, *world.chain(world.identity("link 3").kid)])
    task = world.reveal([version], signer, pins=pins)
    await stage.teach("alpha", [grant.compact])
    assert await stage.refusal("alpha", task.compact, stored=[version.record.raw]) == ("denied", "")


async def test_a_grant_of_more_than_its_grantor_holds_is_refused(stage: Stage) -> None:
    """A colluding principal administers one organisation and grants the account."""
    world, accomplice = stage.world, stage.world.identity("accomplice")
    own = world.grant(accomplice, ["admin", "view"], "org/low")
    version = await stored(stage)
    greedy = world.sign(world.grant_document(stage.mallory, ["reveal"], "account", parent=own.document.id), accomplice)
    pins = pins_of([*_common(world), version.secret, own, greedy])
    task = world.reveal([version], stage.mallory, pins=pins)
    await stage.teach("alpha", [own.compact, greedy.compact])
    assert await stage.refusal("alpha", task.compact, stored=[version.record.raw]) == ("denied", "")


async def test_an_expired_grant_is_refused(stage: Stage) -> None:
    reader = stage.world.identity("reader")
    past = stage.world.now - 1_000
    version = await stored(stage)
    stage.world.grant(reader, ["reveal"], iat=past, exp=past + 500)
    await stage.teach("alpha")
    task = stage.world.reveal([version], reader)
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "grant_expired")


def _common(world: World) -> list[Verified[Any]]:
    return [world.account_document, world.keyring_document, world.connector]


# ---- zones and selectors


async def test_a_delegate_refuses_a_task_whose_selectors_it_lacks(stage: Stage) -> None:
    """The manager lists it with every tag there is; the delegate knows better."""
    version = await stored(stage)
    task = stage.world.reveal([version], selectors=(WantedSelector("production", "step"),))
    assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "selectors_missing")


async def test_a_delegate_refuses_a_connector_of_another_keyring(stage: Stage) -> None:
    world = stage.world
    other = Keyring(world.id, "other", [(1, world.seed("other keyring"))])
    world.publish(other.document(1, None, world.now))
    connector = world.publish(world.connector_document("elsewhere", keyring="other"))
    secret = world.secret("elsewhere", connector=connector.document.id)
    await stage.teach("alpha")
    pins = pins_of([world.account_document, world._heads["keyring", "other"], connector, secret])
    target = Target(secret=secret.document.id, n=1, version=b64u(world.seed("some version")))
    task = world.task("reveal", [target], keyring="other", gen=1, pins=pins)
    assert await stage.refusal("alpha", task, stored=[b"\x01"]) == ("denied", "keyring_foreign")
    # Nor does it help to say that the connector belongs to this delegate's keyring.
    task = world.task("reveal", [target], pins=pins_of([*_common(world), connector, secret]))
    assert await stage.refusal("alpha", task, stored=[b"\x01"]) == ("denied", "connector_of_other_keyring")


async def test_a_connector_below_its_secret_is_refused(stage: Stage) -> None:
    """A colluding principal of an organisation makes a connector with the id of the account's."""
    world, accomplice = stage.world, stage.world.identity("accomplice")
    world.grant(accomplice, ["edit"], "org/low")
    version = await stored(stage)
    planted = world.sign(structs.replace(world.connector.document, scope="org/low", identifier="planted"), accomplice)
    pins = pins_of(
        [world.account_document, world.keyring_document, planted, version.secret, *world.chain(accomplice.kid)]
    )
    task = world.reveal([version], pins=pins)
    await stage.teach("alpha", [*world.documents, planted.compact])
    refused = await stage.refusal("alpha", task, stored=[version.record.raw])
    assert refused == ("conflict", "field_immutable")
    # Nor by a delegate that is never shown the account's own.
    await stage.delegate("fresh")
    await stage.teach("fresh", [one for one in world.documents if one != world.connector.compact] + [planted.compact])
    refused = await stage.refusal("fresh", task, stored=[version.record.raw])
    assert refused == ("denied", "connector_out_of_scope")

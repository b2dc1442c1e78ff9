"""Who stole a generation of the keyring, and has the manager too, forges no value once that generation is excluded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.canonical import b64u, encode, unb64u
from shared.crypto.keyring import Generation
from shared.crypto.plaintext import Plaintext
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from tests.adversary.stage import Stage
from tests.fakes.records import make_record
from tests.fakes.world import KEYRING, Version

FORGED = b"the value that the thief wants to be used"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as one:
        yield one


async def stolen(stage: Stage) -> tuple[Generation, Version]:
    """The generation that was stolen and is excluded by now, and a value that was stored under it; `alpha` runs."""
    generation = stage.world.keyring.newest
    old = stage.world.store(stage.world.secret("token"), b"old")
    stage.world.rotate(floor=2)
    stage.world.revise_status(keyrings={KEYRING: 2})
    await stage.publish()
    await stage.delegate("alpha", keyring=stage.world.keyring)
    await stage.teach("alpha")
    return generation, old


def forge(stage: Stage, generation: Generation, version: Version) -> bytes:
    """A perfect record of another value in the place of a version, made with the stolen generation alone."""
    place = stage.world.place(version.secret, version.n, version.task.digest)
    return make_record(generation, place, FORGED, b"k" * 32, b"s" * 32).raw


def consenting(stage: Stage, version: Version) -> Verified[TaskDocument]:
    """A reveal whose reader accepts records of excluded generations."""
    return stage.world.task("reveal", [version.target(excluded=True)])


async def test_the_thief_of_an_excluded_generation_forges_no_value(stage: Stage) -> None:
    generation, old = await stolen(stage)
    new = stage.world.store(old.secret, b"new", after=old)
    for version in (old, new):
        record = forge(stage, generation, version)
        refused = await stage.refusal("alpha", stage.world.reveal([version]), stored=[record])
        assert refused == ("denied", "generation_excluded")
    assert await stage.refusal("alpha", stage.world.reveal([new]), stored=[new.record.raw]) == ("ok", "value")


async def test_who_consents_is_given_what_may_be_forged(stage: Stage) -> None:
    """It can't be told from what was honestly stored: that is what the consent says."""
    generation, old = await stolen(stage)
    for record, value in ((old.record.raw, b"old"), (forge(stage, generation, old), FORGED)):
        task = consenting(stage, old)
        result = await stage.evil.give("alpha", task.compact, stored=[record])
        assert stage.opened(task, result) == [Plaintext(value)]


async def test_consent_to_one_value_is_none_to_another_of_the_same_task(stage: Stage) -> None:
    generation, old = await stolen(stage)
    other = stage.world.store(stage.world.secret("other"), b"new")
    await stage.teach("alpha")
    targets = [old.target(excluded=True), other.target()]
    task = stage.world.task("reveal", targets)
    forged = [forge(stage, generation, version) for version in (old, other)]
    assert await stage.refusal("alpha", task, stored=forged) == ("partial", "generation_excluded+value")


async def test_a_manager_cannot_consent_for_the_reader(stage: Stage) -> None:
    generation, old = await stolen(stage)
    header, payload, signature = stage.world.reveal([old]).compact.split(".")
    claims = json.loads(unb64u(payload))
    claims["targets"][0]["excluded"] = True
    task = f"{header}.{b64u(encode(claims))}.{signature}"
    assert await stage.refusal("alpha", task, stored=[forge(stage, generation, old)]) == ("tampered", "")


async def test_a_consent_fits_no_operation_but_a_reveal(stage: Stage) -> None:
    _, old = await stolen(stage)
    target = old.target(excluded=True)
    task = stage.world.task("delete", [target], to=stage.kid("alpha"))
    assert await stage.refusal("alpha", task) == ("malformed", "task_malformed")

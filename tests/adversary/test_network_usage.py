"""A manager that asks nothing hands a real delegate tasks that state what they shouldn't: none of them opens a value."""

from __future__ import annotations

from shared.crypto.plaintext import Plaintext
from shared.documents.usage import TaskUsage, Usage
from tests.adversary.stage import Stage
from tests.fakes.world import Version

VALUE = b"the value that is for one environment"
LIVE, TEST = Usage(environments=("live",)), Usage(environments=("test",))
IN_LIVE, IN_TEST = TaskUsage(environment="live"), TaskUsage(environment="test")


def stored(stage: Stage, usage: Usage | None = LIVE) -> Version:
    return stage.world.store(stage.world.secret("token", usage=usage), VALUE, usage=IN_LIVE)


async def test_a_delegate_opens_a_value_only_for_what_it_is_for(stage: Stage) -> None:
    version = stored(stage)
    await stage.teach("alpha")
    for stated, code in ((None, "usage_missing"), (IN_TEST, "usage_other")):
        task = stage.world.reveal([version], usage=stated)
        assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", code)
    task = stage.world.reveal([version], usage=IN_LIVE)
    (item,) = stage.opened(task, await stage.evil.give("alpha", task.compact, stored=[version.record.raw]))
    assert item == Plaintext(VALUE)


async def test_a_task_that_states_what_its_signers_grant_does_not_cover_is_refused(stage: Stage) -> None:
    tester = stage.world.identity("tester")
    stage.world.grant(tester, ["reveal"], usage=TEST)
    version = stored(stage, None)
    await stage.teach("alpha")
    for stated in (None, IN_LIVE):
        task = stage.world.reveal([version], tester, usage=stated)
        assert await stage.refusal("alpha", task, stored=[version.record.raw]) == ("denied", "usage_not_granted")


async def test_labels_that_a_delegate_has_seen_are_not_stripped_by_an_older_revision(stage: Stage) -> None:
    version = stored(stage, None)
    old = stage.world.reveal([version])
    stage.world.revise(version.secret, usage=LIVE)
    await stage.teach("alpha")
    assert await stage.refusal("alpha", old, stored=[version.record.raw]) == ("conflict", "pin_stale")

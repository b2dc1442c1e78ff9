"""Tasks over the real stream: what a delegate does with them, and what it refuses whoever hands them over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs

from delegate.policy import LocalPolicy
from delegate.secret_managers.direct import Direct
from delegate.secret_managers.registry import BUILT_IN
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.documents.answer import AnswerDocument
from shared.documents.connector import CUSTOM
from shared.documents.jws import parse_as
from shared.documents.task import WantedSelector
from shared.errors import PrivySealError
from shared.messages import Need, Progress, Result, Task
from shared.values import Wrapped
from tests.fakes.delegates import WorldClock, running
from tests.fakes.manager import Answer, Connection, FakeManager, read_answer, until
from tests.fakes.shelf import Shelf
from tests.fakes.world import World, pins_of


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def linked(world: World, **changes: Any) -> AsyncIterator[Connection]:
    async with FakeManager(world) as manager, running(world, manager.url, **changes):
        yield await manager.connection()


async def ask(world: World, link: Connection, task: Any, inputs: Any = (), stored: Any = ()) -> Answer:
    return read_answer(world, link, task, await link.perform(task, inputs, stored))


async def first_code(link: Connection) -> str:
    """The code of the first result on the stream, sealed or not."""
    result = (await until(lambda: link.heard(Result)))[0]
    return parse_as(AnswerDocument, result.answer).document.code


def problem(answer: Answer, at: int = 0) -> PrivySealError:
    item = answer.items[at]
    assert isinstance(item, PrivySealError), item
    return item


async def test_a_stored_value_comes_back_revealed(world: World) -> None:
    secret = world.secret("password", scope="org/acme")
    version = world.store(secret, b"hunter2")
    async with linked(world) as link:
        stored = await ask(world, link, version.task, [version.input.raw])
        assert stored.code == "ok"
        assert stored.items == [Plaintext(b"")]
        record = Wrapped(stored.stored[0])
        assert world.open(record, world.place(secret, 1, version.task.digest)) == Plaintext(b"hunter2")
        revealed = await ask(world, link, world.reveal([version]), stored=[record.raw])
        assert revealed.items == [Plaintext(b"hunter2")]


async def test_documents_that_the_manager_did_not_send_are_asked_for_by_digest(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    async with linked(world) as link:
        message = await link.start(world.reveal([version]), stored=[version.record.raw])
        need = await link.reply(message.id)
        assert isinstance(need, Need)
        assert set(need.digests) == {version.secret.digest, world.connector.digest}
        await link.give([version.secret.compact, world.connector.compact])
        assert (await ask(world, link, world.reveal([version]), stored=[version.record.raw])).code == "ok"


async def test_a_granted_reader_is_served_and_another_is_not(world: World) -> None:
    granted, other = world.identity("granted"), world.identity("other")
    world.grant(granted, ["reveal"], scope="org/acme")
    world.grant(other, ["view"], scope="org/acme")
    version = world.store(world.secret("password", scope="org/acme"), b"hunter2")
    async with linked(world) as link:
        fine = await ask(world, link, world.reveal([version], granted), stored=[version.record.raw])
        assert fine.code == "ok"
        refused = await ask(world, link, world.reveal([version], other), stored=[version.record.raw])
        assert refused.code == "denied"
        assert problem(refused).code == "grant_missing"


async def test_two_hundred_values_come_in_one_answer_in_the_order_asked(world: World) -> None:
    versions = [world.store(world.secret(f"s{number}"), b"value %d" % number) for number in range(200)]
    async with linked(world) as link:
        answer = await ask(world, link, world.reveal(versions), stored=[one.record.raw for one in versions])
        assert answer.code == "ok"
        assert answer.items == [Plaintext(b"value %d" % number) for number in range(200)]
        assert [(one.done, one.total) for one in link.heard(Progress)] == [(64, 200), (128, 200), (192, 200)]


async def test_ten_megabytes_go_through_in_chunks_while_heartbeats_pass(world: World) -> None:
    value = bytes(10_000_000)
    secret = world.secret("file", type="SecretFile")
    version = world.store(secret, value)
    async with linked(world) as link:
        stored = await ask(world, link, version.task, [version.input.raw])
        assert stored.code == "ok"
        revealed = await ask(world, link, world.reveal([version]), stored=stored.stored)
        assert revealed.items == [Plaintext(value)]


async def test_a_value_over_the_limit_is_refused_and_nothing_is_stored(world: World) -> None:
    version = world.store(world.secret("file"), bytes(10_000_001))
    async with linked(world) as link:
        answer = await ask(world, link, version.task, [version.input.raw])
        assert (answer.code, answer.stored, problem(answer).code) == ("malformed", (), "value_too_large")


class Large:
    """The kind `Shelf`, at a provider that has a value of six megabytes; also its entry point."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.shelf.place("theirs", bytes(6_000_000))
        self.shelf.place("endless", bytes(10_000_001))

    def load(self) -> object:
        """The kind, as an entry point gives it."""
        return lambda _, surroundings, __: Direct(self.shelf, surroundings.zone)


async def test_references_to_values_that_are_large_together_break_no_stream(world: World) -> None:
    large = Large()
    connector = world.publish(world.connector_document("shelf", type="Shelf"))
    references = {"a": "theirs", "b": "theirs", "c": "endless", "d": "theirs", "e": "theirs", "f": "theirs"}
    versions = [
        world.store(world.secret(name, connector=connector.document.id, reference=path), b"")
        for name, path in references.items()
    ]
    policy = LocalPolicy.parse("", ["Local", "Shelf"])
    async with linked(world, kinds={**BUILT_IN, "Shelf": large}, policy=policy) as link:
        stored = [
            (await ask(world, link, one.task, [one.input.raw])).stored[0] for one in versions if one != versions[2]
        ]
        refused = problem(await ask(world, link, versions[2].task, [versions[2].input.raw]))
        assert refused.code == "value_too_large"
        large.shelf.calls.clear()
        answer = await ask(world, link, world.reveal([one for one in versions if one != versions[2]]), stored=stored)
        assert answer.code == "partial"
        assert answer.items.count(Plaintext(bytes(6_000_000))) == 1
        assert {one.code for one in answer.items if isinstance(one, PrivySealError)} == {"values_too_large"}
        one_by_one = await ask(world, link, world.reveal([versions[0]]), stored=stored[:1])
        assert one_by_one.items == [Plaintext(bytes(6_000_000))]


async def test_one_bad_record_in_a_batch_fails_alone(world: World) -> None:
    versions = [world.store(world.secret(f"s{number}"), b"value %d" % number) for number in range(3)]
    records = [one.record.raw for one in versions]
    records[1] = records[0]
    async with linked(world) as link:
        answer = await ask(world, link, world.reveal(versions), stored=records)
        assert answer.code == "partial"
        assert answer.items[0] == Plaintext(b"value 0")
        assert problem(answer, 1).code == "record_forged"
        assert answer.items[2] == Plaintext(b"value 2")


async def test_a_batch_that_fails_whole_has_the_code_of_its_failure(world: World) -> None:
    versions = [world.store(world.secret(f"s{number}"), b"value") for number in range(2)]
    async with linked(world) as link:
        answer = await ask(world, link, world.reveal(versions), stored=[b"\x01garbage", b""])
        assert answer.code == "tampered"
        assert [problem(answer, at).code for at in (0, 1)] == ["record_forged", "version_missing"]


async def test_a_swapped_sealed_input_is_refused(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    other = world.store(world.secret("other"), b"attacker")
    async with linked(world) as link:
        answer = await ask(world, link, version.task, [other.input.raw])
        assert (answer.code, problem(answer).code, answer.stored) == ("tampered", "input_swapped", ())


async def test_a_sealed_input_for_another_place_does_not_open(world: World) -> None:
    other = world.store(world.secret("other"), b"hunter2")
    secret = world.secret("password")
    task = world.store(secret, b"x", input=other.task.document.input).task
    async with linked(world) as link:
        answer = await ask(world, link, task, [other.input.raw])
        assert (answer.code, problem(answer).code) == ("tampered", "opening_failed")


@pytest.mark.parametrize("extra", [[], [b"x", b"y"]])
async def test_another_number_of_records_than_targets_is_refused(world: World, extra: list[bytes]) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    async with linked(world) as link:
        answer = await ask(world, link, world.reveal([version]), stored=extra)
        assert (answer.code, problem(answer).code) == ("malformed", "task_malformed")


async def test_a_task_whose_selectors_the_delegate_lacks_is_refused_with_their_names(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    wanted = (WantedSelector("eu", "step"), WantedSelector("gpu", "step"))
    async with linked(world) as link:
        answer = await ask(world, link, world.reveal([version], selectors=wanted), stored=[version.record.raw])
        assert answer.code == "denied"
        assert problem(answer).code == "selectors_missing"
        assert problem(answer).facts["selectors"] == ["gpu"]
        fine = world.reveal([version], selectors=(WantedSelector("alpha", "step"), WantedSelector("eu", "step")))
        assert (await ask(world, link, fine, stored=[version.record.raw])).code == "ok"


async def test_the_local_policy_vetoes_what_an_administrator_signed(world: World) -> None:
    version = world.store(world.secret("password", scope="org/acme"), b"hunter2")
    for text, rule in (('ops = ["store"]', "ops"), ('scopes = ["org/other"]', "scopes"), ("kinds = []", "kinds")):
        async with linked(world, policy=LocalPolicy.parse(text, ["Local"])) as link:
            answer = await ask(world, link, world.reveal([version]), stored=[version.record.raw])
            assert (answer.code, problem(answer).code) == ("denied", "local_policy")
            assert problem(answer).facts["rule"] == rule


async def test_the_local_policys_budget_is_kept(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    policy = LocalPolicy.parse("[calls_per_minute]\ndefault = 2", ["Local"])
    async with linked(world, policy=policy) as link:
        codes = [(await ask(world, link, world.reveal([version]), stored=[version.record.raw])).code for _ in range(3)]
        assert codes == ["ok", "ok", "overloaded"]


async def test_the_budget_is_kept_by_logins_that_are_tried_too(world: World) -> None:
    credential = {"credentialType": "KeyPath", "spec": {"userName": "deploy", "keyPath": "/nowhere/key"}}
    login = world.login("deploy", spec={"auth": {"type": "SSH", "spec": credential}})
    policy = LocalPolicy.parse('kinds = ["*"]\nscripts = true\n[calls_per_minute]\ndefault = 2', ["Local", CUSTOM])
    async with linked(world, policy=policy) as link:
        codes = [(await ask(world, link, world.check_login(login, f"10.0.0.{n}"))).code for n in range(3)]
        assert codes == ["denied", "denied", "overloaded"]


async def test_a_deletion_runs_on_the_one_delegate_that_it_names_and_only_once(world: World) -> None:
    secret = world.secret("password")
    task, elsewhere = world.delete(secret), world.delete(secret, to=world.identity("another delegate").kid)
    async with linked(world) as link:
        assert link.kid == world.delegate.kid
        assert (await ask(world, link, task)).code == "ok"
        again = await ask(world, link, task)
        assert (again.code, problem(again).code) == ("conflict", "task_replayed")
        other = await ask(world, link, elsewhere)
        assert (other.code, problem(other).code) == ("denied", "recipient_other")


async def test_a_task_that_may_run_twice_is_answered_with_the_same_result(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    async with linked(world) as link:
        first = await link.perform(version.task, [version.input.raw])
        second = await link.perform(version.task, [version.input.raw], attempt=2)
        assert isinstance(first, Result)
        assert isinstance(second, Result)
        assert (first.stored, first.answer, second.attempt) == (second.stored, second.answer, 2)


async def test_a_check_says_whether_the_connector_works(world: World) -> None:
    odd = world.publish(world.connector_document("odd", spec={"region": "eu"}))
    unknown = world.publish(world.connector_document("unknown", type="Elsewhere"))
    policy = LocalPolicy.parse('kinds = ["*"]', ["Local"])
    async with linked(world, policy=policy) as link:
        assert (await ask(world, link, world.check(world.connector))).code == "ok"
        assert (await ask(world, link, world.check(odd))).code == "malformed"
        refused = await ask(world, link, world.check(unknown))
        assert (refused.code, problem(refused).code) == ("not_ready", "kind_unknown")


async def test_a_task_with_a_forged_signature_gets_a_code_and_nothing_sealed(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    compact = world.reveal([version]).compact
    forged = compact[:-4] + ("AAAA" if compact[-4:] != "AAAA" else "BBBB")
    stranger = world.sign(world.reveal([version]).document, world.identity("stranger"))
    async with linked(world) as link:
        for task, code in ((forged, {"tampered", "malformed"}), (stranger.compact, {"unauthenticated"})):
            answer = await ask(world, link, task, stored=[version.record.raw])
            assert answer.code in code
            assert answer.items == []


@pytest.mark.parametrize("garbage", ["", "x", "a.b.c", "\u00e4", "e30.e30.e30", "." * 50_000])
async def test_garbage_for_a_task_is_answered_as_malformed(world: World, garbage: str) -> None:
    async with linked(world) as link:
        await until(lambda: link.session.takes_tasks)
        await link.say(Task("any id", 1, garbage))
        assert await first_code(link) in {"malformed", "tampered"}
        assert (await ask(world, link, world.check(world.connector))).code == "ok"


async def test_a_task_under_another_digest_than_its_own_is_refused(world: World) -> None:
    async with linked(world) as link:
        await until(lambda: link.session.takes_tasks)
        await link.say(Task(world.check(world.connector).digest, 1, world.check(world.connector).compact))
        assert await first_code(link) == "malformed"


async def test_an_expired_task_and_one_of_the_future_are_refused(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    cases = {
        "expired": world.reveal([version], iat=world.now - 61, exp=world.now - 1),
        "denied": world.reveal([version], iat=world.now + 500, exp=world.now + 560),
    }
    async with linked(world) as link:
        for code, task in cases.items():
            assert (await ask(world, link, task, stored=[version.record.raw])).code == code


async def test_an_expired_status_refuses_everything(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    clock = WorldClock(world)
    async with linked(world, clock=clock) as link:
        assert (await ask(world, link, world.reveal([version]), stored=[version.record.raw])).code == "ok"
        clock.ahead = 91 * 86_400
        soon = world.now + clock.ahead
        task = world.reveal([version], iat=soon, exp=soon + 60)
        answer = await ask(world, link, task, stored=[version.record.raw])
        assert (answer.code, problem(answer).code) == ("not_ready", "status_expired")


async def test_a_status_pushed_down_the_stream_takes_effect_at_once(world: World) -> None:
    reader = world.identity("reader")
    grant = world.grant(reader, ["reveal"])
    version = world.store(world.secret("password"), b"hunter2")
    async with linked(world) as link:
        task = world.reveal([version], reader)
        assert (await ask(world, link, task, stored=[version.record.raw])).code == "ok"
        await link.give([world.revise_status(grants=(grant.document.id,)).compact])
        refused = await ask(world, link, world.reveal([version], reader), stored=[version.record.raw])
        assert (refused.code, problem(refused).code) == ("denied", "grant_revoked")


async def test_a_version_below_the_floor_is_refused(world: World) -> None:
    secret = world.secret("password")
    first = world.store(secret, b"old")
    second = world.store(secret, b"new", after=first)
    world.revise_status(secrets={secret.document.id: 2})
    async with linked(world) as link:
        refused = await ask(world, link, world.reveal([first]), stored=[first.record.raw])
        assert (refused.code, problem(refused).code) == ("denied", "version_excluded")
        assert (await ask(world, link, world.reveal([second]), stored=[second.record.raw])).code == "ok"


async def test_a_pinned_document_that_was_refused_is_named_instead_of_asked_for_for_ever(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    stranger = world.identity("stranger")
    forged = world.sign(world.secret_document("password", name="renamed"), stranger)
    pins = world.reveal([version]).document.pins
    swapped = tuple(
        type(pin)(pin.kind, pin.id, pin.rev, forged.digest) if pin.kind == "secret" else pin for pin in pins
    )
    async with linked(world) as link:
        await link.give([world.connector.compact, forged.compact])
        answer = await ask(world, link, world.reveal([version], pins=swapped), stored=[version.record.raw])
        assert (answer.code, problem(answer).code) == ("unauthenticated", "signer_unknown")
        assert "secret document" in problem(answer).detail


async def test_a_signer_whose_own_grant_was_refused_is_told_why(world: World) -> None:
    reader, grantor = world.identity("reader"), world.identity("grantor")
    forged = world.sign(world.grant_document(reader, ["reveal"]), grantor)
    version = world.store(world.secret("password"), b"hunter2")
    honest = world.reveal([version])
    task = world.sign(structs.replace(honest.document, pins=(*honest.document.pins, *pins_of([forged]))), reader)
    async with linked(world) as link:
        await link.give([version.secret.compact, world.connector.compact, forged.compact])
        assert (await ask(world, link, task, stored=[version.record.raw])).code == "unauthenticated"


async def test_a_reader_key_that_is_no_key_gets_a_code_and_nothing_sealed(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    task = world.reveal([version], reader="_" * 1_621 + "w")
    async with linked(world) as link:
        answer = await ask(world, link, task, stored=[version.record.raw])
        assert (answer.code, answer.items) == ("malformed", [])


async def test_a_keyring_that_the_delegate_does_not_hold_is_refused(world: World) -> None:
    other = Keyring(world.id, "other", [(1, world.seed("other generation"))])
    document = world.publish(other.document(1, None, world.now))
    connector = world.publish(world.connector_document("elsewhere", keyring="other"))
    check = world.check(connector)
    pins = tuple(pin for pin in check.document.pins if pin.kind != "keyring")
    task = world.sign(
        structs.replace(check.document, keyring="other", pins=(*pins, *pins_of([document]))), world.administrator
    )
    async with linked(world) as link:
        answer = await ask(world, link, task)
        assert (answer.code, problem(answer).code) == ("denied", "keyring_foreign")


async def test_a_delegate_with_an_older_generation_says_so_and_goes_on(world: World) -> None:
    old = world.keyring
    world.rotate()
    version = world.store(world.secret("password"), b"hunter2")
    async with linked(world, keyring=old) as link:
        answer = await ask(world, link, version.task, [version.input.raw])
        assert (answer.code, problem(answer).code) == ("not_ready", "generation_missing")
        assert "newest keyring file" in problem(answer).hint


async def test_records_of_an_excluded_generation_open_only_for_who_signed_that_he_takes_them(world: World) -> None:
    version = world.store(world.secret("password"), b"hunter2")
    world.rotate()
    async with linked(world) as link:
        assert (await ask(world, link, world.reveal([version]), stored=[version.record.raw])).code == "ok"
        await link.give([world.revise_status(keyrings={"main": 2}).compact])
        refused = await ask(world, link, world.reveal([version]), stored=[version.record.raw])
        assert (refused.code, problem(refused).code) == ("denied", "generation_excluded")
        consenting = world.task("reveal", [version.target(excluded=True)])
        assert (await ask(world, link, consenting, stored=[version.record.raw])).code == "ok"

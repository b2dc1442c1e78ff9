"""Groups with a real manager and real delegates: tags that an administrator gives, from the next task on and without a restart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.choice import Choice
from client.context import Contexts
from client.dev import DevEnvironment
from client.doctor import examine
from client.orders import Timing
from client.rootkeys import load_root
from client.sdk import Client
from shared.crypto.identity import Identity
from shared.crypto.plaintext import Plaintext
from shared.errors import Malformed, NotFound, NotReady
from tests.fakes.commanded import allowing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    commands = allowing(tmp_path_factory.mktemp("policy"))
    options = {
        "a": ["--group", "Builders", *commands],
        "b": ["--group", "builders", *commands],
        "c": commands,
    }
    async with DevEnvironment(delegates=3, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.token", b"value")
        yield running


async def reasons(environment: DevEnvironment, choice: Choice) -> dict[str, list[str]]:
    """Why each delegate can't, by its name."""
    async with environment.client() as client:
        with pytest.raises(NotReady) as caught:
            await client.reveal("account.token", selectors=choice)
    assert caught.value.code == "no_delegate"
    told = caught.value.facts["delegates"]
    return {one["name"]: [reason["code"] for reason in one["reasons"]] for one in told}


async def test_a_groups_name_is_a_tag_of_its_delegates_without_any_document(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        assert await client.reveal("account.token", selectors=["builders"]) == Plaintext(b"value")
    told = await reasons(environment, Choice(["builders", "c"]))
    assert told["c"] == ["selectors_missing"]


async def test_tags_that_a_group_gets_or_loses_count_from_the_next_task_on(environment: DevEnvironment) -> None:
    other = environment.client()
    async with environment.client() as client, other:
        await other.account.sync()
        for turn in range(8):
            tag, gone = f"turn-{turn}", f"turn-{turn - 1}"
            await client.groups.set("builders", [tag])
            # Right behind it, by one who hasn't heard of it: chosen by the manager, done by the delegate, believed by the client.
            done = await asyncio.gather(*(other.reveal("account.token", selectors=[tag]) for _ in range(6)))
            assert done == [Plaintext(b"value")] * 6
            await client.store("account.tagged", b"x", selectors=[tag])
            if turn:
                assert await reasons(environment, Choice([gone])) == {key: ["selectors_missing"] for key in "abc"}
            assert (await reasons(environment, Choice([f"{tag}", "c"])))["c"] == ["selectors_missing"]
            # Who isn't of the group can do what nobody of it may.
            assert await client.reveal("account.token", selectors=Choice(where=f"not {tag}")) == Plaintext(b"value")
            told = await reasons(environment, Choice(where=f"not {tag} and not c"))
            assert told == {key: ["condition_unmet"] for key in "abc"}


async def test_a_command_goes_to_one_of_the_group_whom_the_client_itself_finds_by_its_tags(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as client, environment.client() as other:
        await other.account.sync()
        await client.groups.set("builders", ["disk:fast"])
        for _ in range(4):
            run = await other.commands.run(
                ["printenv", "NAME"], {"NAME": "account.token"}, lambda _, __: None, selectors=["disk:fast"]
            )
            assert run.name in {"a", "b"}


async def test_what_would_be_chosen_is_told_by_the_same_tags(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.groups.set("builders", ["disk:fast"])
        told = await client.explanations.choice("account.harnessSecretManager", "exec", selectors=["disk:fast"])
        assert (told["drawn"], told["certified"]) == (["a", "b"], "yes")
        assert {one["name"]: one["group"] for one in told["delegates"]} == {"a": "builders", "b": "builders", "c": ""}
        listed = {one["name"]: one for one in await client.views.delegates()}
        assert {name: (one["group"], one["certified"]) for name, one in listed.items()} == {
            "a": ("builders", "yes"),
            "b": ("builders", "yes"),
            "c": ("", "yes"),
        }
        assert {"builders", "disk:fast"} <= set(listed["a"]["tags"])
        assert {one["name"] for one in await client.views.delegates(selectors=["disk:fast"])} == {"a", "b"}


async def test_tags_are_added_and_removed_one_by_one_and_a_group_is_deleted_and_made_again(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as client:
        await client.groups.set("builders", ["one", "two"])
        made = await client.groups.set("Builders", add=["Three"], remove=["one", "nobodys"])
        assert made.document.tags == ("three", "two")
        assert (await client.groups.get("builders")).digest == made.digest
        gone = await client.groups.delete("builders")
        assert gone.document.deleted and await client.groups.all() == []
        with pytest.raises(NotFound):
            await client.groups.get("builders")
        with pytest.raises(NotFound):
            await client.groups.delete("builders")
        assert (await reasons(environment, Choice(["two"])))["a"] == ["selectors_missing"]
        assert await client.reveal("account.token", selectors=["builders"]) == Plaintext(b"value")
        again = await client.groups.set("builders", ["two"])
        assert again.document.rev == gone.document.rev + 1
        assert await client.reveal("account.token", selectors=["two"]) == Plaintext(b"value")
        with pytest.raises(Malformed):
            await client.groups.set("builders", [f"t{number}" for number in range(65)])


async def test_the_doctor_tells_what_each_group_gives(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await client.groups.set("builders", ["disk:fast"])
        found = {one.subject: one for one in await examine(client)}
        assert (found["group builders"].level, found["group builders"].detail) == (
            "ok",
            "gives its delegates: disk:fast",
        )
        del client.account.book.groups["builders"]
        found = {one.subject: one for one in await examine(client)}
        assert (found["group builders"].level, found["group builders"].remedy) == (
            "fail",
            "privyseal group set builders --tag TAG",
        )


async def test_a_delegate_that_comes_later_has_the_groups_tags_at_once(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        await environment.delegates["b"].stop()
        await environment.delegates["a"].stop()
        made = await client.groups.set("builders", ["night"])
        assert client.publisher.status().document.groups["builders"] == made.document.rev
        told = await reasons(environment, Choice(["night"]))
        assert told["c"] == ["selectors_missing"]
        await environment.delegates["b"].start()
        await environment.delegates["a"].start()
        assert await client.reveal("account.token", selectors=["night", "a"]) == Plaintext(b"value")
        assert await client.reveal("account.token", selectors=["night", "b"]) == Plaintext(b"value")


async def test_a_client_that_last_asked_before_a_group_changed_raises_no_alarm_about_its_delegates(
    environment: DevEnvironment,
) -> None:
    async with environment.client() as client, environment.client() as other:
        await client.views.delegates()
        await other.groups.set("builders", [f"fresh-{secrets.token_hex(4)}"])
        listed = await client.views.delegates()
    assert {one["name"]: one["certified"] for one in listed if one["state"] == "connected"} == dict.fromkeys(
        "abc", "yes"
    )


async def test_what_came_of_a_run_by_a_groups_tag_opens_also_when_the_group_has_other_tags_since(
    environment: DevEnvironment,
) -> None:
    _, context = Contexts(environment.home).find(environment.name)
    async with Client.of_context(context, environment.home) as client:
        await client.groups.set("builders", ["nightly"])
        order = await client.orders.check(
            "nightly", Timing(0, 3_600), ["account.harnessSecretManager"], selectors=["nightly"]
        )

        async def over() -> bool:
            _, runs = await client.orders.runs("nightly")
            return any(one.finished_at is not None for one in runs)

        async with asyncio.timeout(45):
            while not await over():
                await asyncio.sleep(0.05)
        opened = await client.orders.open("nightly")
        assert opened.opened.name in {"a", "b"} and order.document.selectors
        await client.groups.set("builders", ["weekly"])
        assert (await client.orders.open("nightly")).opened.delegate == opened.opened.delegate


async def test_who_removes_an_administrator_adopts_his_groups_and_who_revokes_his_key_stops_their_delegates(
    environment: DevEnvironment,
) -> None:
    root = load_root(environment.root_key, lambda _: None)
    async with environment.client() as client:
        for ends in ("removed", "revoked"):
            other, account = Identity.generate(), client.account
            await client.administrators.add(ends, other.key, root)
            async with Client(environment.url, account.id, other) as theirs:
                made = await theirs.groups.set("builders", [ends])
            assert (await client.reveal("account.token", selectors=[ends])) == Plaintext(b"value")
            if ends == "removed":
                assert await client.administrators.remove(ends, root) >= 1
                adopted = await client.groups.get("builders")
                assert (adopted.document.tags, adopted.document.prev) == ((ends,), made.digest)
                assert (await client.reveal("account.token", selectors=[ends])) == Plaintext(b"value")
            else:
                await client.publisher.revoke_key(other.kid)
                with pytest.raises(NotReady):
                    await client.reveal("account.token", selectors=[ends])
                # One that has never seen what he signed while it counted.
                async with Client(environment.url, account.id, client.account.identity) as fresh:
                    found = {one.subject: one.level for one in await examine(fresh)}
                    assert found["group builders"] == "fail"
                    again = await fresh.groups.set("builders", [ends])
                assert again.document.prev == made.digest
                assert (await client.reveal("account.token", selectors=[ends])) == Plaintext(b"value")


async def test_a_task_that_waits_for_a_tag_that_nobody_has_runs_as_soon_as_a_group_gets_it(
    environment: DevEnvironment,
) -> None:
    tag = f"awaited-{secrets.token_hex(4)}"

    async def reveal(client: Client) -> Plaintext:
        with client.waiting(60):
            return await client.reveal("account.token", selectors=[tag])

    async with environment.client() as client, environment.client() as other:
        waiting = asyncio.create_task(reveal(client))
        async with asyncio.timeout(45):
            while not any(one.get("state") == "queued" for one in await other.views.tasks()):
                await asyncio.sleep(0.05)
        await other.groups.set("builders", [tag])
        async with asyncio.timeout(45):
            assert await waiting == Plaintext(b"value")


async def test_a_task_that_waits_for_the_busy_one_with_a_tag_goes_to_whom_a_group_gives_it_and_waits_for_nobody_who_loses_it(
    tmp_path: Path,
) -> None:
    options = {"a": ["--group", "small", "--capacity", "1", *allowing(tmp_path)], "b": ["--group", "large"]}
    async with (
        DevEnvironment(delegates=2, delegate_options=options) as alone,
        alone.client() as client,
        alone.client() as other,
    ):
        await client.store("account.token", b"value")
        await client.groups.set("small", ["night"])

        async def reveal() -> asyncio.Task[Plaintext]:
            revealing = asyncio.create_task(client.reveal("account.token", selectors=["night"]))
            await until("queued")
            return revealing

        async def until(state: str) -> None:
            while not any(one.get("state") == state for one in await client.views.tasks()):
                await asyncio.sleep(0.02)

        async with asyncio.timeout(90):
            sleep = ["sleep", "60"]
            busy = asyncio.create_task(other.commands.run(sleep, {"NAME": "account.token"}, lambda _, __: None))
            await until("leased")
            waiting = await reveal()
            await other.groups.set("large", ["night"])
            assert await waiting == Plaintext(b"value")
            await other.groups.set("large", [])
            waiting = await reveal()
            await other.groups.set("small", [])
            with pytest.raises(NotReady) as caught:
                await waiting
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
    assert caught.value.code == "no_delegate"

"""Capability probes with real processes: a manager, two delegates with credentials of their own, and a server that checks them.

Delegate `a` begins with an access key that the server doesn't know; both look theirs up in files of their own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.errors import PrivySealError
from shared.names import ACCOUNT_SCOPE
from tests.fakes.command_line import privyseal
from tests.servers.emulators import Moto

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECTOR = """
connector:
  name: {name}
  type: AwsSecretManager
  spec:
    credential: {{type: AssumeIAMRole, spec: {{delegateSelectors: [aws]}}}}
    region: us-east-1
    secretNamePrefix: {prefix}
"""
WITH_A_KEY = """
connector:
  name: keyed
  type: AwsSecretManager
  spec:
    credential: {{type: ManualConfig, spec: {{accessKeyPlainText: {id}, secretKey: account.awsKey}}}}
    region: us-east-1
"""
UNKNOWN = ("AKIAUNKNOWNUNKNOWN00", "x" * 40)
SETTLED_SECONDS = 6.0
"""A test that is no older isn't made again."""


class Keys:
    """The access keys of both delegates, in the files in which AWS's library looks."""

    def __init__(self, folder: Path, good: tuple[str, str]) -> None:
        self.folder, self.good = folder, good

    def file(self, name: str) -> Path:
        return self.folder / f"credentials-{name}"

    def give(self, name: str, key: tuple[str, str]) -> None:
        self.file(name).write_text(f"[default]\naws_access_key_id = {key[0]}\naws_secret_access_key = {key[1]}\n")


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Moto, tuple[str, str]]]:
    with Moto() as server:
        user = server.user({"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"})
        with server.enforcing():
            yield server, user


@pytest.fixture(scope="module")
def keys(aws: tuple[Moto, tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"), aws[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(aws: tuple[Moto, tuple[str, str]], keys: Keys) -> AsyncIterator[DevEnvironment]:
    options = {one: ["--aws-endpoints", aws[0].url, "--tags", f"zone:{one},aws"] for one in ("a", "b")}
    running = DevEnvironment(delegates=2, delegate_options=options)
    for name, program in running.delegates.items():
        keys.give(name, keys.good)
        own = {"AWS_SHARED_CREDENTIALS_FILE": keys.file(name), "AWS_CONFIG_FILE": keys.folder / "none"}
        program.argv = ["/usr/bin/env", *(f"{variable}={path}" for variable, path in own.items()), *program.argv]
    async with running:
        yield running


async def made(client: Client, name: str, prefix: str = "first") -> str:
    """A connector, or its new revision; gives its reference."""
    changes = await client.connectors.plan(parse(CONNECTOR.format(name=name, prefix=prefix).encode(), "here"))
    await client.connectors.apply(changes)
    return f"account.{name}"


async def shown(environment: DevEnvironment, reference: str) -> dict[str, dict[str, Any]]:
    """What `connector get` shows of each delegate's test."""
    status, out, errors = await privyseal(environment, "connector", "get", reference, "--output", "json")
    assert status == 0, errors
    return {one["name"]: one for one in json.loads(out)["tests"]}


async def rule(client: Client, reference: str, name: str) -> dict[str, Any]:
    """What the dry run says of that delegate's test."""
    told = await client.explanations.choice(reference, "check")
    (found,) = [one for one in told["delegates"] if one["name"] == name]
    return {**next(one for one in found["rules"] if one["rule"] == "probe"), "of": found["verdict"]}


async def settled(client: Client, reference: str) -> None:
    """Until no delegate's test of it is new."""
    found = await client.connectors.find(reference)

    async def are_old() -> bool:
        tests = (await client.views.checks([found], ACCOUNT_SCOPE, below=False))[found.document.id]
        return time.time() - tests[0].at > SETTLED_SECONDS

    await until(are_old)


async def until(happened: Callable[[], Awaitable[bool]], seconds: float = 45.0) -> None:
    async with asyncio.timeout(seconds):
        while not await happened():
            await asyncio.sleep(0.05)


async def by(client: Client, reference: str, *names: str) -> str:
    """Has it tested by a task; the name of the delegate that did, or the code of the error."""
    try:
        return (await client.connectors.test(reference, selectors=[f"zone:{one}" for one in names])).name
    except PrivySealError as why:
        return why.code


async def is_passed_over(client: Client, reference: str, name: str) -> bool:
    verdict: str = (await rule(client, reference, name))["verdict"]
    return verdict == "fail"


async def fails(client: Client, reference: str, keys: Keys, name: str) -> None:
    """That delegate's credentials are no good, and it is passed over for that."""
    keys.give(name, UNKNOWN)
    assert await by(client, reference, name) != name
    await until(lambda: is_passed_over(client, reference, name))


async def test_one_with_wrong_credentials_is_passed_over_and_everybody_sees_why_and_for_how_long(
    environment: DevEnvironment, keys: Keys
) -> None:
    keys.give("a", UNKNOWN)
    async with environment.client() as client:
        via = await made(client, "passed")
        assert await by(client, via, "a") not in {"a", "b"}
        assert await by(client, via, "b") == "b"
        await until(lambda: is_passed_over(client, via, "a"))
        assert [await by(client, via) for _ in range(4)] == ["b"] * 4
        told = await rule(client, via, "a")
        assert (told["code"], told["of"]) == ("probe_failed", "waits")
        assert "its test of passed" in told["detail"] and "counts for" in told["detail"] and told["remedy"]
        passed = await rule(client, via, "b")
        assert (passed["verdict"], passed["of"]) == ("pass", "winner")
        assert "ago passed and counts for" in passed["detail"]

        async def are_shown() -> bool:
            tests.update(await shown(environment, via))
            return tests.keys() == {"a", "b"}

        # They are written a moment after the answers, for which nobody waits.
        tests: dict[str, dict[str, Any]] = {}
        await until(are_shown)
        assert tests["a"]["code"] != "ok" and tests["b"]["code"] == "ok"
        assert tests["a"]["until"] != "-" != tests["b"]["until"]
        status, out, _ = await privyseal(environment, "delegate", "explain", "--connector", via, "--op", "check")
        assert status == 0 and "probe_failed" in out
        status, out, _ = await privyseal(environment, "connector", "list")
        assert status == 0 and "COUNTS" in out
        # Commands and deletions name their delegate: it is drawn among the others.
        assert (await client.explanations.choice(via, "delete"))["drawn"] == ["b"]
    keys.give("a", keys.good)


async def test_the_last_one_left_is_tested_again_at_once_and_chosen_when_its_credentials_are_mended(
    environment: DevEnvironment, keys: Keys
) -> None:
    async with environment.client() as client:
        via = await made(client, "mended")
        await fails(client, via, keys, "a")
        # While nothing is mended, a task gets the very reason, and soon; it isn't refused for what was.
        before = asyncio.get_running_loop().time()
        code = await by(client, via, "a")
        assert code not in {"a", "no_delegate"}
        assert asyncio.get_running_loop().time() - before < 30
        keys.give("a", keys.good)
        await settled(client, via)
        # Its failure counts for minutes yet; nobody but it has the selector.
        assert await is_passed_over(client, via, "a")
        assert await by(client, via, "a") == "a"
        assert not await is_passed_over(client, via, "a")


async def test_mended_credentials_are_noticed_where_one_other_is_left_without_any_task_for_it(
    environment: DevEnvironment, keys: Keys
) -> None:
    async with environment.client() as client:
        via = await made(client, "noticed")
        await fails(client, via, keys, "a")
        keys.give("a", keys.good)

        async def is_chosen() -> bool:
            return await by(client, via) == "a"

        # Each of these tasks goes to the other one, and has this one test again.
        await until(is_chosen)


async def test_a_new_revision_forgets_the_failures_and_is_tested_at_once_by_who_tested_the_older_one(
    environment: DevEnvironment, keys: Keys
) -> None:
    async with environment.client() as client:
        via = await made(client, "revised")
        await fails(client, via, keys, "a")
        keys.give("a", keys.good)
        await settled(client, via)
        await made(client, "revised", "second")
        assert not await is_passed_over(client, via, "a")

        async def is_tested() -> bool:
            return (await shown(environment, via)).get("a", {}).get("code") == "ok"

        # No task goes through it.
        await until(is_tested)


async def test_when_all_have_failed_a_task_waits_for_new_tests_and_goes_to_one_that_passes(
    environment: DevEnvironment, keys: Keys
) -> None:
    async with environment.client() as client:
        via = await made(client, "both")
        for name in ("a", "b"):
            keys.give(name, UNKNOWN)
        for name in ("a", "b"):
            await fails(client, via, keys, name)
        told = await client.explanations.choice(via, "check")
        assert told["winner"] is None and told["waits"]
        for name in ("a", "b"):
            keys.give(name, keys.good)
        await settled(client, via)
        assert await by(client, via) in {"a", "b"}


async def test_a_new_value_of_a_secret_that_the_connector_names_ends_what_failed_with_the_old_one(
    environment: DevEnvironment, keys: Keys
) -> None:
    async with environment.client() as client:
        await client.store("account.awsKey", UNKNOWN[1].encode())
        changes = await client.connectors.plan(parse(WITH_A_KEY.format(id=keys.good[0]).encode(), "here"))
        await client.connectors.apply(changes)
        via = "account.keyed"
        for name in ("a", "b"):
            assert await by(client, via, name) not in {"a", "b"}
            await until(lambda name=name: is_passed_over(client, via, name))  # type: ignore[misc]
        await client.store("account.awsKey", keys.good[1].encode())
        assert not await is_passed_over(client, via, "a")
        assert {await by(client, via) for _ in range(2)} == {"a", "b"}

        # They are written a moment after the answers, for which nobody waits.
        async def are_shown() -> bool:
            return {one["code"] for one in (await shown(environment, via)).values()} == {"ok"}

        await until(are_shown)

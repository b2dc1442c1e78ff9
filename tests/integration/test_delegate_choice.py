"""Which delegate gets a task: by the scopes of its own policy, by conditions and by where selectors come from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from client.choice import Choice
from client.dev import DevEnvironment
from client.manifest import parse
from shared.crypto.plaintext import Plaintext
from shared.errors import NotReady

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text('scopes = ["org/payments"]\n')
    options = {"a": ["--policy-file", str(policy), "--tags", "region=eu,tier=test"], "b": ["--tags", "region=eu"]}
    async with DevEnvironment(delegates=2, delegate_options=options) as running:
        async with running.client() as client:
            await client.store("account.token", b"value")
        yield running


async def reasons(environment: DevEnvironment, **asked: object) -> dict[str, list[str]]:
    """Why each delegate can't, by its name."""
    async with environment.client() as client:
        with pytest.raises(NotReady) as caught:
            await client.reveal("account.token", **asked)  # type: ignore[arg-type]
    assert caught.value.code == "no_delegate"
    told = caught.value.facts["delegates"]
    return {one["name"]: [reason["code"] for reason in one["reasons"]] for one in told}


async def test_whose_owner_takes_other_scopes_alone_is_passed_over(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        for _ in range(6):
            assert await client.reveal("account.token") == Plaintext(b"value")
    assert await reasons(environment, selectors=["tier=test"]) == {"a": ["out_of_scope"], "b": ["selectors_missing"]}


async def test_a_condition_chooses_and_says_what_it_is(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        where = Choice(where="Region=EU and NOT tier=test")
        assert await client.reveal("account.token", selectors=where) == Plaintext(b"value")
    told = await reasons(environment, selectors=Choice(where="region=eu and tier=test"))
    assert told == {"a": ["out_of_scope"], "b": ["condition_unmet"]}


async def test_a_task_of_any_origin_sets_a_connectors_selectors_aside_and_never_its_condition(
    environment: DevEnvironment,
) -> None:
    text = (
        b"connector: {name: near, type: Local, spec: {delegateSelectors: [nowhere], delegateCondition: not tier=test}}"
    )
    async with environment.client() as client:
        await client.connectors.apply(await client.connectors.plan(parse(text, "file.yaml")))
        with pytest.raises(NotReady):
            await client.store("account.near", b"x", connector="near")
        for origin in ("pipeline", "stage", "stepGroup", "step"):
            await client.store("account.near", b"x", connector="account.near", selectors=Choice(["region=eu"], origin))
        with pytest.raises(NotReady) as caught:
            await client.reveal("account.near", selectors=Choice(["tier=test"], "pipeline"))
    told = {one["name"]: [reason["code"] for reason in one["reasons"]] for one in caught.value.facts["delegates"]}
    assert told["a"] == ["condition_unmet", "out_of_scope"]

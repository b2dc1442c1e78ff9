"""After `keyring rotate --compromised` and `keyring exclude` the command line says what needs consent, and takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from client.dev import DevEnvironment
from tests.integration.installation import Desk, Result


async def test_what_an_excluded_generation_stored_is_listed_and_comes_only_when_asked_for(tmp_path: Path) -> None:
    async with DevEnvironment(tmp_path / "dev", delegates=1) as environment:
        desk = Desk(environment.home.path())

        async def run(*arguments: str) -> Result:
            return await asyncio.to_thread(desk.process, *arguments, "--context", "dev")

        async with environment.client() as client:
            await client.store("account.token", b"value")
        told = await run(
            "keyring", "rotate", "main", "--keyring-file", str(environment.keyring), "--compromised", "--yes"
        )
        assert told.status == 0, told.err
        assert b"token" in told.out
        assert "reveal --excluded" in told.err
        for delegate in environment.delegates.values():
            await delegate.restart()
        await environment.ready()
        refused = await run("reveal", "account.token")
        assert (refused.status, refused.out) == (4, b"")
        assert "privyseal reveal --excluded" in refused.err
        assert (await run("reveal", "account.token", "--excluded")).out == b"value"
        assert (await run("secret", "reveal", "account.token", "--excluded", "--version", "1")).out == b"value"
        told = await run("keyring", "exclude", "main", "--yes")
        assert told.status == 0, told.err
        assert b"token" in told.out
        assert "reveal --excluded" in told.err

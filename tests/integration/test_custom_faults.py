"""Custom secret managers whose scripts hang, flood, resist or are lost: all that ran ends in time, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.crypto.plaintext import Plaintext
from shared.errors import Expired, Malformed, PrivySealError, Unavailable
from shared.messages import Cancel, Progress, Task
from shared.ssh import pack
from tests.adversary.scripted import POLICY, Scripted
from tests.adversary.stage import Stage
from tests.fakes.custom import Custom
from tests.integration.test_ssh_runs import alive, gone, pid_in
from tests.servers.sshd import Sshd, keygen

LINK: dict[str, Any] = {"timeout": 4}
"""Long enough for a script to begin on a machine that is busy."""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settled(what: Callable[[], int], most: int) -> None:
    """Until it is no more than that."""
    async with asyncio.timeout(45):
        while what() > most:
            await asyncio.sleep(0.02)


def over_ssh(sshd: Sshd, key: Path, script: str, timeout: int = 20, **more: Any) -> Custom:
    """A template's script at that host."""
    who = {"credentialType": "KeyReference", "spec": {"userName": sshd.user, "key": "account.key"}}
    login = {"port": sshd.port, "auth": {"type": "SSH", "spec": who}, "knownHosts": [sshd.known_hosts]}
    spec = {"onDelegate": False, "host": "127.0.0.1", "connectorRef": "account.login", "timeout": timeout}
    held = {"account.login": pack(login, {"account.key": key.read_bytes()})}
    return Custom(script, inputs={}, spec=spec, held=held, **more)


# ---- here


async def test_a_script_that_hangs_is_ended_at_the_connectors_time_limit(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    made = Custom(f"sleep 60 & echo $! > {mark}; wait", inputs={}, spec=LINK)
    began = time.monotonic()
    with pytest.raises(Expired) as caught:
        await made.read()
    assert caught.value.code == "script_timed_out" and time.monotonic() - began < 30
    await gone(await pid_in(mark))


async def test_a_script_that_ignores_being_told_is_killed_with_all_of_its_group(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    made = Custom(
        f"trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $! > {mark}; wait", inputs={}, spec=LINK
    )
    with pytest.raises(Expired):
        await made.read()
    await gone(await pid_in(mark))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("secret=$(head -c 10000001 /dev/zero | tr '\\0' x)", Malformed),
        ("yes", Expired),
        ("yes >&2", Expired),
        ("while :; do x+=aaaaaaaaaaaaaaaa; done", Expired),
    ],
)
async def test_a_script_that_floods_is_ended_and_nothing_else_waits_for_it(
    script: str, error: type[PrivySealError]
) -> None:
    made = Custom(script, inputs={}, spec={"timeout": 5})
    other = Custom("secret=quick", inputs={})
    flooding = asyncio.create_task(made.read())
    async with asyncio.timeout(5):
        assert await other.read() == b"quick"
    with pytest.raises(error):
        await flooding


async def test_a_script_ends_when_whoever_waits_for_it_is_cancelled_and_its_place_is_free_again(tmp_path: Path) -> None:
    made = Custom('echo $$ > "$path"; [[ $path == *quick ]] || sleep 60; secret=x')
    manager = made.manager()
    files = [tmp_path / str(at) for at in range(20)]
    running = [asyncio.create_task(manager.look_up(made.version({"path": str(file)}))) for file in files]
    async with asyncio.timeout(45):
        while len(list(tmp_path.iterdir())) < 16:
            await asyncio.sleep(0.02)
    pids = [await pid_in(file) for file in tmp_path.iterdir()]
    # The others wait for a place, and start nothing any more.
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert all(task.cancelled() for task in running)
    for pid in pids:
        await gone(pid)
    assert len(list(tmp_path.iterdir())) == 16
    assert (await manager.look_up(made.version({"path": str(tmp_path / "quick")}))).reveal() == b"x"


async def test_a_script_ends_with_the_delegate_that_is_told_to_end(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        actor = await stage.delegate("alpha", policy=POLICY)
        mark = tmp_path / "pid"
        scripted = Scripted(stage, f"sleep 60 & echo $! > {mark}; wait; : $path")
        version = await scripted.secret("password", {"path": "a"})
        task = stage.world.reveal([version])
        await stage.evil.tap("alpha").say(Task(task.digest, 1, task.compact, (), (scripted.record(version),), ()))
        pid = await pid_in(mark)
        assert alive(pid)
        async with asyncio.timeout(45):
            await actor.stop()
        await gone(pid)


async def test_a_script_ends_with_the_task_that_nobody_waits_for_any_more(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha", policy=POLICY)
        mark = tmp_path / "pid"
        scripted = Scripted(stage, f"sleep 60 & echo $! > {mark}; wait; : $path")
        version = await scripted.secret("password", {"path": "a"})
        task, tap = stage.world.reveal([version]), stage.evil.tap("alpha")
        await tap.say(Task(task.digest, 1, task.compact, (), (scripted.record(version),), ()))
        pid = await pid_in(mark)
        await tap.say(Cancel(task.digest, 1))
        await gone(pid)


async def test_two_hundred_secrets_in_one_task_take_few_processes_at_once_and_leave_nothing(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha", policy=POLICY)
        scripted = Scripted(stage, '[[ $path != s77 ]] || exit 3; secret="value of $path"')
        versions = [await scripted.secret("warm", {"path": "warm"})]
        assert await scripted.value(versions[0]) == b"value of warm"
        world = stage.world
        for at in range(200):
            secret = world.secret(f"s{at}", connector=scripted.connector.document.id, reference=f'{{"path":"s{at}"}}')
            versions.append(world.store(secret, b""))
        await stage.teach("alpha")
        # The manager's own code knows nothing of this task.
        stage.evil.on_up(lambda _, message: [] if isinstance(message, Progress) else [message])
        before, threads, began = descriptors(), threading.active_count(), time.monotonic()
        task = world.reveal(versions[1:])
        items = await scripted.given(task, [scripted.record(one) for one in versions[1:]])
        assert time.monotonic() - began < 90
        for at, item in enumerate(items):
            if at == 77:
                assert isinstance(item, Unavailable) and item.code == "script_failed"
            else:
                assert isinstance(item, Plaintext) and item.reveal() == b"value of s%d" % at
        await settled(descriptors, before)
        await settled(threading.active_count, threads + 4)
        assert scripted.runs == 201


# ---- at a host


async def test_a_script_at_a_host_is_ended_at_its_time_limit(tmp_path: Path) -> None:
    key, mark = keygen(tmp_path / "id"), tmp_path / "pid"
    with Sshd() as sshd:
        sshd.authorize(key)
        made = over_ssh(sshd, key, f"sleep 60 & echo $! > {mark}; wait", timeout=5)
        began = time.monotonic()
        with pytest.raises(Expired) as caught:
            await made.read()
        assert caught.value.code == "script_timed_out" and time.monotonic() - began < 30
        await gone(await pid_in(mark))


async def test_a_script_at_a_host_ends_when_whoever_waits_for_it_is_cancelled(tmp_path: Path) -> None:
    key, mark = keygen(tmp_path / "id"), tmp_path / "pid"
    with Sshd() as sshd:
        sshd.authorize(key)
        running = asyncio.create_task(over_ssh(sshd, key, f"echo $$ > {mark}; sleep 60").read())
        pid = await pid_in(mark)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await gone(pid)


async def test_a_host_that_is_lost_while_a_script_runs_is_told_without_what_it_was_given(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key, mark = keygen(tmp_path / "id"), tmp_path / "pid"
    token = '<+secrets.getValue("account.token")>'
    with Sshd() as sshd:
        sshd.authorize(key)
        made = over_ssh(
            sshd, key, f'x={token}; echo "$x" >&2; echo "$$ $PPID" > {mark}.two; echo $$ > {mark}; sleep 60',
            template_secrets=["account.token"],
        )  # fmt: skip
        made.held = {**made.held, "account.token": b"hunter2 is long"}
        reading = asyncio.create_task(made.read())
        pid = await pid_in(mark)
        session = int((tmp_path / "pid.two").read_text().split()[1])
        os.kill(session, signal.SIGKILL)
        with pytest.raises(PrivySealError) as caught:
            async with asyncio.timeout(45):
                await reading
        assert isinstance(caught.value, Unavailable) and caught.value.code == "ssh_lost"
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        said = "".join([str(caught.value), caught.value.hint, *capfd.readouterr()])
    assert "hunter2" not in said


async def test_a_script_that_fails_at_a_host_is_told_in_the_log_without_what_it_was_given_or_had_fetched(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = keygen(tmp_path / "id")
    token = '<+secrets.getValue("account.token")>'
    flood = "for at in {1..20000}; do printf '%s' \"$secret\"; done >&2"
    with Sshd() as sshd:
        sshd.authorize(key)
        for end in ("exit 3", f"{flood}; exit 3"):
            made = over_ssh(
                sshd, key, f"secret='fetched, not given'; echo \"$secret, {token}\" >&2; {end}",
                template_secrets=["account.token"],
            )  # fmt: skip
            made.held = {**made.held, "account.token": b"hunter2 is long"}
            with pytest.raises(Unavailable) as caught:
                await made.read()
            said = "".join([str(caught.value), *capfd.readouterr()])
            assert "script.failed" in said and "****" in said
            assert not any(part in said for part in ("hunter2", "fetched,", "not given", "tched", "iven"))

"""Commands over the real stream: run once, masked, sealed to the reader, and ended with all that is theirs."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from delegate.daemon import Daemon
from delegate.mask_patterns import MaskPatterns
from delegate.masking import MASK
from delegate.policy import LocalPolicy
from shared.canonical import blob_digest, digest
from shared.codec import manager_messages
from shared.crypto.plaintext import Plaintext
from shared.crypto.stream import OutputOpener
from shared.documents.jws import VerifyingKey, parse_as
from shared.documents.output import OutputDocument
from shared.errors import PrivySealError
from shared.messages import Cancel, Challenge, Documents, FromManager, Output, Result, Task, Welcome
from shared.wire import delegate_pb2_grpc
from tests.fakes.delegates import keyring_file, process, running, world_of_today
from tests.fakes.manager import Answer, Connection, FakeManager, read_answer, until
from tests.fakes.world import Execution, Version, World

SECRET = b"correct horse battery"
POLICY = LocalPolicy.parse("exec = true", ["Local"])
VARIABLES = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def version(world: World) -> Version:
    return world.store(world.secret("password"), SECRET)


@asynccontextmanager
async def linked(world: World, **changes: Any) -> AsyncIterator[tuple[FakeManager, Connection, Daemon]]:
    fields = {"policy": POLICY, "variables": VARIABLES, **changes}
    async with FakeManager(world) as manager, running(world, manager.url, **fields) as daemon:
        link = await manager.connection()
        await link.give(world.documents)
        yield manager, link, daemon


@dataclass
class Read:
    """An output as its reader has it."""

    out: bytes = b""
    err: bytes = b""
    messages: int = 0
    is_over: bool = False


def read_output(world: World, link: Connection, id: str) -> Read:
    """What came of a task's output so far: the delegate's signature, the order and the seal of each part checked."""
    read, opener = Read(), None
    for message in (one for one in link.heard(Output) if one.id == id):
        assert message.index == read.messages
        read.messages += 1
        if opener is None:
            assert link.certificate is not None
            key = VerifyingKey.of(link.certificate.document.key)
            opening = parse_as(OutputDocument, message.opening).verified_by(key).document
            assert (opening.acct, opening.task, opening.sealed) == (world.id, id, blob_digest(message.data))
            opener = OutputOpener(world.reader, world.id, "main", id, message.data)
            continue
        assert message.opening == ""
        stream, data, read.is_over = opener.open(message.data)
        read.out += data if stream == 1 else b""
        read.err += data if stream == 2 else b""
    return read


async def start(link: Connection, execution: Execution, *versions: Version, attempt: int = 1) -> str:
    stored = [one.record.raw for one in versions]
    return (await link.start(execution.task, [execution.input.raw], stored, attempt)).id


async def answer_of(world: World, link: Connection, execution: Execution) -> Answer:
    return read_answer(world, link, execution.task, await link.reply(execution.task.digest))


async def run(world: World, link: Connection, execution: Execution, *versions: Version) -> tuple[Read, Answer]:
    id = await start(link, execution, *versions)
    answer = await answer_of(world, link, execution)
    return read_output(world, link, id), answer


def finished(answer: Answer) -> dict[str, Any]:
    (item,) = answer.items
    assert isinstance(item, Plaintext), item
    return json.loads(item.reveal())  # type: ignore[no-any-return]


def problem(answer: Answer) -> PrivySealError:
    (item,) = answer.items
    assert isinstance(item, PrivySealError), item
    return item


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> None:
    await until(lambda: not is_running(pid))


async def output(world: World, link: Connection, id: str, has: bytes) -> Read:
    """The output once it has that."""

    def read() -> Read | None:
        found = read_output(world, link, id)
        return found if has in found.out else None

    return await until(read)


def shell(world: World, version: Version, script: str, **changes: Any) -> Execution:
    return world.exec([version], argv=["sh", "-c", script], names=["TOKEN"], **changes)


async def test_a_command_runs_with_its_secret_and_its_output_and_end_reach_the_reader(
    world: World, version: Version
) -> None:
    async with linked(world) as (_, link, _daemon):
        execution = shell(
            world, version, 'test "$TOKEN" = "correct horse battery" && echo "$TOKEN" && echo oh >&2; exit 7'
        )
        read, answer = await run(world, link, execution, version)
        assert (read.out, read.err, read.is_over) == (MASK + b"\n", b"oh\n", True)
        assert answer.code == "ok"
        assert finished(answer) == {
            "exit": 7, "signal": None, "chunks": read.messages, "truncated": False, "reason": "exited"
        }  # fmt: skip


async def test_a_command_that_writes_nothing_has_an_output_that_is_over(world: World, version: Version) -> None:
    async with linked(world) as (_, link, _daemon):
        read, answer = await run(world, link, shell(world, version, "kill -9 $$"), version)
        assert (read.messages, read.is_over, finished(answer)["chunks"]) == (2, True, 2)
        assert (finished(answer)["exit"], finished(answer)["signal"]) == (None, 9)


async def test_output_arrives_while_the_command_runs(world: World, version: Version, tmp_path: Path) -> None:
    gate = shlex.quote(str(tmp_path / "gate"))
    async with linked(world) as (_, link, _daemon):
        execution = shell(world, version, f"echo ready; while [ ! -e {gate} ]; do sleep 0.02; done; echo done")
        id = await start(link, execution, version)
        assert not (await output(world, link, id, b"ready\n")).is_over and not link.heard(Result)
        (tmp_path / "gate").touch()
        assert finished(await answer_of(world, link, execution))["exit"] == 0
        assert read_output(world, link, id).out == b"ready\ndone\n"


async def test_a_long_output_comes_whole_and_in_order(world: World, version: Version) -> None:
    async with linked(world) as (_, link, _daemon):
        read, answer = await run(world, link, shell(world, version, "seq 200000; seq 1000 >&2"), version)
        assert read.out == b"".join(b"%d\n" % one for one in range(1, 200_001))
        assert read.err == b"".join(b"%d\n" % one for one in range(1, 1_001))
        assert finished(answer)["chunks"] == read.messages


async def test_what_its_owners_patterns_match_is_masked_too(world: World, version: Version) -> None:
    patterns = MaskPatterns.parse("internal-[0-9]+")
    script = 'echo "at internal-42: $TOKEN"; printf "%s%s internal-" ghp_ 16C7e42F292c6912E7710c838347Ae178B4a; sleep 0.1; echo 7'
    async with linked(world, mask_patterns=patterns) as (_, link, _daemon):
        read, _ = await run(world, link, shell(world, version, script), version)
        assert read.out == b"at %s: %s\n%s %s\n" % (MASK, MASK, MASK, MASK)


async def test_no_command_runs_unless_the_delegates_own_policy_allows_it(
    world: World, version: Version, tmp_path: Path
) -> None:
    async with linked(world, policy=LocalPolicy.parse("", ["Local"])) as (_, link, _daemon):
        read, answer = await run(world, link, shell(world, version, f"touch {tmp_path}/ran"), version)
        assert (answer.code, problem(answer).code, problem(answer).facts["rule"]) == ("denied", "local_policy", "exec")
        assert read.messages == 0 and not (tmp_path / "ran").exists()


async def test_a_command_other_than_the_signed_one_does_not_run(world: World, version: Version, tmp_path: Path) -> None:
    signed = shell(world, version, "true")
    other = shell(world, version, f"touch {tmp_path}/ran")
    # The signer's own task for another command: its input belongs to its own jti.
    moved = shell(world, version, "true", input=(blob_digest(other.input.raw),))
    async with linked(world) as (_, link, _daemon):
        for execution, code in ((signed, "input_swapped"), (moved, "opening_failed")):
            given = Execution(execution.task, other.input)
            read, answer = await run(world, link, given, version)
            assert (answer.code, problem(answer).code, read.messages) == ("tampered", code, 0)
    assert not (tmp_path / "ran").exists()


async def test_a_command_never_runs_twice(world: World, version: Version, tmp_path: Path) -> None:
    execution = shell(world, version, f"echo x >> {tmp_path}/ran")
    async with linked(world) as (_, link, _daemon):
        _, first = await run(world, link, execution, version)
        before = len(link.received)
        id = await start(link, execution, version, attempt=2)
        again = read_answer(world, link, execution.task, await link.reply(id, before))
        assert (finished(first)["exit"], again.code, problem(again).code) == (0, "conflict", "task_replayed")
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_a_cancelled_command_ends_with_its_group_and_the_answer_says_so(world: World, version: Version) -> None:
    async with linked(world) as (_, link, daemon):
        execution = shell(world, version, "trap 'echo bye; exit 3' TERM; sleep 60 & echo $!; wait; echo unreached")
        id = await start(link, execution, version)
        child = int((await output(world, link, id, b"\n")).out)
        await link.say(Cancel(id, 1))
        answer = await answer_of(world, link, execution)
        assert finished(answer) | {"chunks": 0} == {
            "exit": 3, "signal": None, "chunks": 0, "truncated": False, "reason": "cancelled"
        }  # fmt: skip
        assert read_output(world, link, id).out.endswith(b"bye\n")
        await gone(child)
        await until(lambda: daemon.runner.executing == 0 and link.session.credits == 4)


async def test_a_command_has_its_own_time_limit_and_not_that_of_tasks(world: World, version: Version) -> None:
    async with linked(world, task_seconds=0.5) as (_, link, _daemon):
        _, answer = await run(world, link, shell(world, version, "sleep 1; exit 4", seconds=20), version)
        assert finished(answer)["exit"] == 4
        read, answer = await run(world, link, shell(world, version, "echo $$; sleep 60", seconds=4), version)
        assert (finished(answer)["reason"], finished(answer)["signal"]) == ("timed_out", signal.SIGTERM)
        await gone(int(read.out))


async def test_a_delegate_gives_no_command_more_time_than_its_owner_allows(world: World, version: Version) -> None:
    async with linked(world, exec_seconds=10.0) as (_, link, _daemon):
        _, answer = await run(world, link, shell(world, version, "true", seconds=11), version)
        assert (answer.code, problem(answer).code) == ("denied", "command_too_long")
        _, answer = await run(world, link, shell(world, version, "true", seconds=10), version)
        assert finished(answer)["exit"] == 0


async def test_a_command_whose_stream_breaks_ends_and_is_not_run_again(world: World, version: Version) -> None:
    async with linked(world) as (manager, link, daemon):
        execution = shell(world, version, "echo $$; sleep 60")
        with capture_logs() as lines:
            id = await start(link, execution, version)
            pid = int((await output(world, link, id, b"\n")).out)
            link.cut()
            await gone(pid)
            await until(lambda: daemon.runner.executing == 0)
        assert [line["task"] for line in lines if line["event"] == "command.abandoned"] == [id]
        second = await manager.connection(after=1)
        await second.give(world.documents)
        await start(second, execution, version, attempt=2)
        again = await answer_of(world, second, execution)
        assert (again.code, problem(again).code) == ("conflict", "task_replayed")


async def test_a_delegate_that_ends_lets_a_command_end_and_stops_one_that_does_not(
    world: World, version: Version
) -> None:
    async with linked(world, drain_seconds=5.0) as (_, link, daemon):
        quick, slow = shell(world, version, "echo $$; sleep 0.3"), shell(world, version, "echo $$; sleep 60")
        for execution in (quick, slow):
            await output(world, link, await start(link, execution, version), b"\n")
        daemon.end()
        assert finished(await answer_of(world, link, quick))["reason"] == "exited"
        assert finished(await answer_of(world, link, slow))["reason"] == "cancelled"
        await gone(int(read_output(world, link, slow.task.digest).out))


async def test_a_value_that_cannot_be_had_is_named_and_nothing_runs(
    world: World, version: Version, tmp_path: Path
) -> None:
    other = world.store(world.secret("other"), b"another value")
    execution = world.exec([version, other], argv=["touch", f"{tmp_path}/ran"], names=["TOKEN", "OTHER"])
    async with linked(world) as (_, link, _daemon):
        id = (await link.start(execution.task, [execution.input.raw], [version.record.raw, b""])).id
        answer = await answer_of(world, link, execution)
        assert (answer.code, problem(answer).code) == ("not_found", "version_missing")
        assert "OTHER" in problem(answer).detail and read_output(world, link, id).messages == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "names", "code"),
    [
        (b"12", ["PIN"], "value_unmaskable"),
        (b"a\0value", ["TOKEN"], "value_unfit"),
        (SECRET, ["TOKEN", "MORE"], "command_malformed"),
        (SECRET, ["LD_PRELOAD"], "command_malformed"),
        (SECRET, ["PATH"], "command_malformed"),
    ],
)
async def test_what_cannot_be_run_so_is_refused_before_anything_runs(
    world: World, tmp_path: Path, value: bytes, names: list[str], code: str
) -> None:
    version = world.store(world.secret("value"), value)
    async with linked(world) as (_, link, _daemon):
        execution = world.exec([version], argv=["touch", f"{tmp_path}/ran"], names=names)
        read, answer = await run(world, link, execution, version)
        assert (answer.code, problem(answer).code, read.messages) == ("malformed", code, 0)
        assert value not in json.dumps(problem(answer).problem()).encode()
    assert not (tmp_path / "ran").exists()


@dataclass
class DeafManager(delegate_pb2_grpc.DelegatesServicer):
    """Greets a delegate, gives it one command, and reads no further than its first output."""

    world: World
    version: Version
    execution: Execution
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def Connect(self, _requests: Any, context: Any) -> None:  # noqa: N802 (the service's name)
        await self._say(context, Challenge(b"n" * 32))
        await context.read()
        await self._say(context, Welcome(60_000, 300_000, self.world.now))
        await self._say(context, Documents(tuple(self.world.documents)))
        await context.read()
        compact = self.execution.task.compact
        task = Task(digest(compact), 1, compact, (self.execution.input.raw,), (self.version.record.raw,))
        await self._say(context, task)
        await self.over.wait()

    async def _say(self, context: Any, message: FromManager) -> None:
        for wire in manager_messages(message, 10):
            await context.write(wire)


async def test_a_command_waits_for_a_manager_that_does_not_read(world: World, version: Version, tmp_path: Path) -> None:
    count = tmp_path / "count"
    # It says beside its output how far it came.
    script = f"i=0; while [ $i -lt 200 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > {count}; done"
    manager = DeafManager(world, version, shell(world, version, script))
    server = grpc.aio.server()
    delegate_pb2_grpc.add_DelegatesServicer_to_server(manager, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    def far() -> int:
        return int(count.read_text() or 0) if count.exists() else 0

    try:
        async with running(world, f"http://127.0.0.1:{port}", policy=POLICY, variables=VARIABLES) as daemon:
            await until(lambda: far() >= 4)
            still, before = 0, -1
            async with asyncio.timeout(45):
                while still < 5:
                    await asyncio.sleep(0.05)
                    still, before = (still + 1, before) if far() == before else (0, far())
            manager.over.set()
            # Pipe, queue and the window that gRPC opens by itself, some 5 MB: else it would have run to its end by now.
            assert before < 110 and daemon.runner.executing == 1
            await until(lambda: daemon.runner.executing == 0)
    finally:
        manager.over.set()
        await server.stop(None)


async def test_the_program_runs_commands_where_its_policy_file_says_so(tmp_path: Path) -> None:
    world = world_of_today()
    version = world.store(world.secret("password"), SECRET)
    policy = tmp_path / "policy.toml"
    policy.write_text("exec = true\n")
    policy.chmod(0o600)
    flags = (f"--keyring-file={keyring_file(world, tmp_path)}", "--health-address=off", f"--policy-file={policy}")
    environ = {"AWS_SECRET_ACCESS_KEY": "not for commands", "PRIVYSEAL_DELEGATE_NAME": "alpha", "GRPC_TRACE": ""}
    async with FakeManager(world) as manager, process(f"--manager={manager.url}", *flags, environ=environ) as started:
        link = await manager.connection()
        await link.give(world.documents)
        # Without a pipe behind ls: while the shell makes one, it has its ends itself.
        script = "ls /proc/$$/fd; ulimit -c; echo $TOKEN; env | cut -d= -f1 | sort"
        read, answer = await run(world, link, shell(world, version, script, to=link.kid), version)
        assert finished(answer)["exit"] == 0
        lines = read.out.decode().splitlines()
        assert lines[:5] == ["0", "1", "2", "0", MASK.decode()]
        assert [one for one in lines[5:] if one.isupper()] == ["HOME", "LANG", "PATH", "PWD", "TMPDIR", "TOKEN"]
        slow = shell(world, version, "echo $$; sleep 60", to=link.kid)
        id = await start(link, slow, version)
        pid = int((await output(world, link, id, b"\n")).out)
        assert started.pid != pid and os.getpgid(pid) == pid
        await link.say(Cancel(id, 1))
        assert finished(await answer_of(world, link, slow))["reason"] == "cancelled"
        started.send_signal(signal.SIGTERM)
        async with asyncio.timeout(45):
            out, _ = await started.communicate()
    assert started.returncode == 0 and SECRET not in out


async def test_a_task_that_is_no_command_may_not_have_a_time_limit(world: World, version: Version) -> None:
    task = world.reveal([version])
    odd = world.sign(structs.replace(task.document, seconds=5), world.administrator)
    async with linked(world) as (_, link, _daemon):
        answer = read_answer(world, link, odd, await link.perform(odd, (), [version.record.raw]))
        assert answer.code == "malformed"

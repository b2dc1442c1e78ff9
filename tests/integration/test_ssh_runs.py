"""Programs at OpenSSH's own server: their input and output, their bounds, and how each of them is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from delegate import ssh_session
from delegate.ssh import MOST_ERRORS, MOST_OUTPUT, Ran
from delegate.tails import Tail
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, NotFound, Unavailable
from tests.fakes.ssh import HOST, Way, Words
from tests.servers.sshd import PasswordServer, Sshd, keygen, public


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keygen(tmp_path_factory.mktemp("keys") / "id")


@pytest.fixture(scope="module")
def sshd(key: Path) -> Iterator[Sshd]:
    with Sshd() as running:
        running.authorize(key)
        yield running


@pytest.fixture
def way(sshd: Sshd, key: Path) -> Way:
    return Way(port=sshd.port, user=sshd.user, key=key, known=[sshd.known_hosts])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between SIGTERM and SIGKILL is short."""
    monkeypatch.setattr(ssh_session, "TERM_SECONDS", 0.3)


def at(sshd: Sshd, key: Path) -> Way:
    return Way(port=sshd.port, user=sshd.user, key=key, known=[sshd.known_hosts])


def told(ran: Ran) -> tuple[bytes, bytes, int | None]:
    return ran.stdout.reveal(), ran.stderr.reveal(), ran.exit


async def gone(pid: int) -> None:
    """Until that process of this machine, which the server runs on too, is no more."""
    async with asyncio.timeout(30):
        while alive(pid):
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it ended before it was opened, or before it was read
        return False


async def pid_in(file: Path) -> int:
    async with asyncio.timeout(30):
        while not (file.exists() and file.read_text().endswith("\n")):
            await asyncio.sleep(0.02)
    return int(file.read_text())


# ---- what goes in and what comes out


async def test_a_program_reads_its_input_and_its_outputs_and_status_come_back_apart(way: Way) -> None:
    ran = await way.target().run(Words(b"echo out; echo err >&2; exit 7"))
    assert told(ran) == (b"out\n", b"err\n", 7)
    assert (ran.signal, ran.truncated, ran.reason) == (None, False, "exited")
    assert "***" in repr(ran) and "out\\n" not in repr(ran)


async def test_every_byte_goes_in_and_comes_out(way: Way) -> None:
    every = bytes(range(256)) * 2_000
    assert told(await way.target().run(Words(every, ("cat",)))) == (every, b"", 0)


async def test_a_program_that_ends_without_reading_its_input_is_no_error(way: Way) -> None:
    assert told(await way.target().run(Words(bytes(4_000_000), ("true",)))) == (b"", b"", 0)


async def test_words_of_the_program_are_not_parsed_by_any_shell(way: Way) -> None:
    words = ("$(id)", "`id`", "a b", "'", '"', "\\", "*", "!!", "; id", "&& id", "-n", "", "é")
    ran = await way.target().run(Words(b"", ("printf", "%s|", *words)))
    assert told(ran) == ("".join(f"{word}|" for word in words).encode(), b"", 0)


async def test_a_program_runs_in_its_directory(way: Way, tmp_path: Path) -> None:
    directory = tmp_path / "a ' strange $(place)"
    directory.mkdir()
    assert told(await way.target().run(Words(b"pwd"), directory=str(directory)))[0].decode().strip() == str(directory)


async def test_a_directory_and_a_program_that_are_not_there_are_each_told(way: Way, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        await way.target().run(Words(), directory=str(tmp_path / "none"))
    assert missing.value.code == "ssh_directory_missing"
    with pytest.raises(NotFound) as missing:
        await way.target().run(Words(b"", ("no-such-program",)))
    assert missing.value.code == "ssh_program_missing"


async def test_no_argument_or_environment_over_there_holds_anything_of_the_input(way: Way, tmp_path: Path) -> None:
    value, ready = "hunter2-in-the-input", tmp_path / "ready"
    script = f"v={value}; echo $$ > {ready}; read -t 20 < {tmp_path}/go; echo $v"
    os.mkfifo(tmp_path / "go")
    running = asyncio.create_task(way.target().run(Words(script.encode())))
    await pid_in(ready)
    processes = [one for one in Path("/proc").iterdir() if one.name.isdigit()]
    shown = [one / name for one in processes for name in ("cmdline", "environ")]
    found = [path for path in shown if value.encode() in readable(path)]
    (tmp_path / "go").write_text("go\n")
    assert told(await running)[0] == f"{value}\n".encode()
    assert found == []


def readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_nothing_of_the_delegates_environment_nor_its_rights_are_forwarded(
    way: Way, monkeypatch: pytest.MonkeyPatch, key: Path
) -> None:
    monkeypatch.setenv("LC_PRIVYSEAL", "ours")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    monkeypatch.setenv("DISPLAY", ":0")
    with Sshd("AcceptEnv *", "AllowAgentForwarding yes", "X11Forwarding yes") as sshd:
        sshd.authorize(key)
        environment = told(await at(sshd, key).target().run(Words(b"", ("env",))))[0].decode()
    names = {line.partition("=")[0] for line in environment.splitlines()}
    assert not names & {"LC_PRIVYSEAL", "SSH_AUTH_SOCK", "DISPLAY", "SSH_TTY"}


async def test_what_a_login_prints_is_not_the_programs(key: Path) -> None:
    with Sshd('ForceCommand echo noise; echo more >&2; eval "$SSH_ORIGINAL_COMMAND"') as sshd:
        sshd.authorize(key)
        ran = await at(sshd, key).target().run(Words(b"echo mine"))
        assert told(ran)[::2] == (b"mine\n", 0)


# ---- a host that runs something else


@pytest.mark.parametrize(
    "setting",
    ["ForceCommand internal-sftp", "ForceCommand true", "ForceCommand echo privyseal", "ForceCommand cat"],
)
async def test_a_user_who_may_run_no_commands_is_told_and_nothing_of_the_input_leaves(
    setting: str, key: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Sshd(setting.replace("cat", f"tee {log}")) as sshd:
        sshd.authorize(key)
        with pytest.raises((Denied, Unavailable)) as refused:
            await at(sshd, key).target().run(Words(b"a value"), seconds=1)
    assert refused.value.code in {"ssh_command_refused", "ssh_not_started"}
    assert not log.exists() or log.read_bytes() == b""


async def test_a_key_that_may_run_one_command_alone_runs_no_other(key: Path) -> None:
    with Sshd() as sshd:
        sshd.authorize(key, 'command="echo this one",restrict')
        with pytest.raises(Denied) as refused:
            await at(sshd, key).target().run(Words(b"a value"))
    assert refused.value.code == "ssh_command_refused"


async def test_a_host_that_opens_no_session_is_told(key: Path) -> None:
    with Sshd("MaxSessions 0") as sshd:
        sshd.authorize(key)
        await at(sshd, key).target().check()
        with pytest.raises(Denied) as refused:
            await at(sshd, key).target().run(Words())
    assert refused.value.code == "ssh_command_refused"


async def test_endless_talk_of_a_login_ends_it(key: Path) -> None:
    with Sshd("ForceCommand yes") as sshd:
        sshd.authorize(key)
        with pytest.raises(Denied) as refused:
            await at(sshd, key).target().run(Words(b"a value"), seconds=10)
    assert refused.value.code == "ssh_command_refused"


# ---- bounds and ends


async def test_a_flood_of_output_ends_the_program_at_its_bound(way: Way, hasty: None, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    ran = await way.target().run(Words(f"echo $$ > {file}; exec yes".encode()), seconds=30, most=100_000)
    assert (ran.truncated, ran.reason) == (True, "cancelled")
    assert ran.stdout.reveal() == b"y\n" * 50_000
    await gone(await pid_in(file))


async def test_output_up_to_the_bound_is_taken_whole(way: Way) -> None:
    ran = await way.target().run(Words(f"head -c {MOST_OUTPUT} /dev/zero".encode()))
    assert (len(ran.stdout), ran.truncated, ran.reason) == (MOST_OUTPUT, False, "exited")
    ran = await way.target().run(Words(f"head -c {MOST_OUTPUT + 1} /dev/zero".encode()))
    assert (len(ran.stdout), ran.truncated) == (MOST_OUTPUT, True)


async def test_of_the_standard_error_the_end_is_kept(way: Way) -> None:
    ran = await way.target().run(Words(b"head -c 3000000 /dev/zero >&2; echo the end >&2"))
    assert len(ran.stderr) == MOST_ERRORS and ran.stderr.reveal().endswith(b"the end\n")
    assert (ran.exit, ran.reason) == (0, "exited")


async def test_a_flood_of_standard_error_ends_the_program_too(
    way: Way, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_session, "MOST_TALK", 200_000)
    ran = await way.target().run(Words(b"exec yes >&2"), seconds=30)
    assert (ran.truncated, ran.reason) == (False, "cancelled")


async def test_a_value_that_the_cut_goes_through_is_masked_in_what_is_logged(way: Way) -> None:
    value = b"".join(b"part-%d." % n for n in range(200))
    ran = await way.target().run(Words(b"v=" + value + b"; for i in {1..400}; do echo -n $v >&2; done; echo end >&2"))
    tail = Tail()
    tail.feed(ran.stderr.reveal())
    assert len(ran.stderr) == MOST_ERRORS and not ran.stderr.reveal().startswith(value)
    shown = "".join(await tail.lines([Plaintext(value)]))
    assert shown.endswith("end") and "part-" not in shown


async def test_at_its_time_limit_a_program_gets_term_and_all_of_its_group(way: Way, tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"trap 'echo bye; exit 9' TERM; sleep 600 & echo $! > {child}; echo begun; wait"
    ran = await way.target().run(Words(script.encode()), seconds=6)
    assert (told(ran)[0], ran.exit, ran.reason) == (b"begun\nbye\n", 9, "timed_out")
    await gone(await pid_in(child))


async def test_a_program_that_ignores_term_is_killed(way: Way, hasty: None, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {file}; while true; do sleep 1; done"
    ran = await way.target().run(Words(script.encode()), seconds=6)
    assert (ran.exit, ran.signal, ran.reason) == (None, signal.SIGKILL, "timed_out")
    await gone(await pid_in(file))


async def test_a_program_that_never_reads_a_long_input_is_ended_in_time(way: Way, hasty: None) -> None:
    ran = await way.target().run(Words(bytes(5_000_000), ("sleep", "600")), seconds=3)
    assert ran.reason == "timed_out"


async def test_a_program_is_ended_also_where_a_host_opens_one_session_alone(
    key: Path, tmp_path: Path, hasty: None
) -> None:
    file = tmp_path / "pid"
    with Sshd("MaxSessions 1") as sshd:
        sshd.authorize(key)
        running = at(sshd, key).target().run(Words(f"echo $$ > {file}; sleep 600 >/dev/null".encode()), seconds=6)
        before = time.monotonic()
        ran = await running
        assert ran.reason == "timed_out"
        assert time.monotonic() - before < 45
        # Servers take a signal on the channel for other users than root alone: what is left then ends when it writes.
        pid = await pid_in(file)
        if os.geteuid() != 0:
            await gone(pid)
        elif alive(pid):
            os.killpg(pid, signal.SIGKILL)


async def test_what_a_program_leaves_behind_does_not_hold_it_up(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    before = time.monotonic()
    ran = await way.target().run(Words(f"sleep 600 & echo $! > {file}; echo done".encode()), seconds=60)
    assert told(ran) == (b"done\n", b"", 0)
    assert time.monotonic() - before < 45
    os.kill(await pid_in(file), signal.SIGKILL)


async def test_a_signal_that_ends_a_program_is_told_by_its_number(way: Way) -> None:
    ran = await way.target().run(Words(b"kill -SEGV $$"))
    assert (ran.exit, ran.signal, ran.reason) == (None, signal.SIGSEGV, "exited")


async def test_a_cancelled_run_ends_its_program_and_its_connection(way: Way, sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    running = asyncio.create_task(way.target().run(Words(f"trap '' TERM; echo $$ > {file}; sleep 600; :".encode())))
    pid = await pid_in(file)
    running.cancel()
    before = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - before < 30
    await gone(pid)


async def test_a_time_limit_from_outside_ends_the_program_too(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    async def limited() -> None:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:

            async def ends_when_it_runs() -> None:
                await pid_in(file)
                limit.reschedule(asyncio.get_running_loop().time())

            group.create_task(ends_when_it_runs())
            await way.target().run(Words(f"echo $$ > {file}; sleep 600".encode()))

    with pytest.raises(TimeoutError):
        await limited()
    await gone(await pid_in(file))


async def test_ten_runs_at_once_are_ten_connections_and_none_is_left(way: Way, sshd: Sshd) -> None:
    target = way.target()
    every = await asyncio.gather(*(target.run(Words(f"echo {n}".encode())) for n in range(10)))
    assert [told(one)[0] for one in every] == [f"{n}\n".encode() for n in range(10)]
    async with asyncio.timeout(30):
        while Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split():
            await asyncio.sleep(0.02)


# ---- faults of the way


async def test_a_host_that_dies_while_a_program_runs_is_told_and_may_have_done_it(key: Path, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with Sshd() as sshd:
        sshd.authorize(key)
        running = asyncio.create_task(at(sshd, key).target().run(Words(f"echo $$ > {file}; sleep 600".encode())))
        pid = await pid_in(file)
        # The process that serves this connection, and what runs below it.
        server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(server, signal.SIGKILL)
        with pytest.raises(Unavailable) as lost:
            await asyncio.wait_for(running, 30)
        assert lost.value.code == "ssh_lost"
        os.killpg(pid, signal.SIGKILL)


async def test_a_host_that_hangs_after_the_login_is_given_up_in_time(tmp_path: Path) -> None:
    async def wait(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await process.wait_closed()

    with pytest.raises(Unavailable) as silent:
        await _at_ours(PasswordServer("word"), tmp_path, seconds=0.5, handle=wait)
    assert silent.value.code == "ssh_not_started"


async def test_a_start_that_a_host_makes_up_is_its_own_affair_and_ends_no_process_of_its_choice(tmp_path: Path) -> None:
    async def lie(process: asyncssh.SSHServerProcess[bytes]) -> None:
        asked.append(process.command or "")
        process.stdout.write(b"\nprivyseal-started 1 ready\n")
        await process.wait_closed()

    asked: list[str] = []
    server = PasswordServer("word")
    ran = await _at_ours(server, tmp_path, seconds=5.0, handle=lie)
    assert ran.reason == "timed_out"
    assert len(asked) == 1


async def _at_ours(server: PasswordServer, tmp_path: Path, *, seconds: float, handle: Callable[..., object]) -> Ran:
    acceptor = await server.listen(handle, keygen(tmp_path / "host"))
    try:
        known = [f"[{HOST}]:{acceptor.get_port()} {public(tmp_path / 'host')}"]
        way = Way(port=acceptor.get_port(), user="deploy", password="word", known=known)
        return await way.target().run(Words(b"echo"), seconds=seconds)
    finally:
        acceptor.close()
        await acceptor.wait_closed()


async def test_a_login_leaves_nothing_behind_in_the_next_one(way: Way) -> None:
    target = way.target()
    await target.run(Words(b"export LEFT=1; cd /"))
    assert told(await target.run(Words(b"echo ${LEFT-none}")))[0] == b"none\n"
    await replace(way).target().check()

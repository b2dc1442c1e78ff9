"""Commands: run with secrets in their environment and nothing else of the delegate's, to their end, with all that is theirs."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from delegate import commands as module
from delegate.commands import MOST_BYTES, Commands, Ended
from delegate.masking import MASK, Patterns
from shared.command import Command
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, PrivySealError, Unavailable

SECRET = b"hunter2 is long"
ENOUGH_SECONDS = 3
"""For a program to come as far as its test needs on a busy machine, where its time has to run out."""

HELD_UP_SECONDS = 30
"""Less than anything that could hold a command up in these tests, and far more than a busy machine does."""

PATH = "/usr/bin:/bin"
OURS = {"PATH": PATH, "PRIVYSEAL_DELEGATE_KEYRING_FILE": "/keyring", "AWS_SECRET_ACCESS_KEY": "aws", "LANG": "C.UTF-8"}


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs under asyncio's own loop and under uvloop, which is the delegate's."""

    def run(loop: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(**arguments))

    wanted = inspect.signature(test)
    first = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = wanted.replace(parameters=[first, *wanted.parameters.values()])  # type: ignore[attr-defined]
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return cast("Callable[..., None]", pytest.mark.parametrize("loop", loops, ids=["asyncio", "uvloop"])(run))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where private directories are made; nothing may be left in it."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


class Told:
    """What a command wrote, by stream."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.came = asyncio.Event()

    async def __call__(self, stream: int, data: bytes) -> None:
        self.pieces.append((stream, data))
        self.came.set()

    def of(self, stream: int) -> bytes:
        return b"".join(data for number, data in self.pieces if number == stream)

    async def until(self, condition: Callable[[Told], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self):
                self.came.clear()
                await self.came.wait()


async def run(
    *argv: str,
    secrets: Mapping[str, bytes] | None = None,
    told: module.Write | None = None,
    stop: asyncio.Event | None = None,
    seconds: float = 20,
    term_seconds: float = 5,
    **rest: object,
) -> Ended:
    secrets = {} if secrets is None else secrets
    values = [Plaintext(value) for value in secrets.values()]
    command = Command(argv=argv, names=tuple(secrets), **rest)  # type: ignore[arg-type]
    return await Commands(OURS, term_seconds).run(
        command, values, Patterns(values), seconds, told or Told(), stop or asyncio.Event()
    )


async def shell(script: str, told: module.Write | None = None, **rest: object) -> Ended:
    return await run("sh", "-c", script, told=told, **rest)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that nobody has waited for yet is dead too.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


async def gone(pid: int) -> bool:
    async with asyncio.timeout(30):
        while is_alive(pid):
            await asyncio.sleep(0.01)
    return True


@on_each_loop
async def test_a_command_gets_the_values_and_its_output_comes_masked_by_stream() -> None:
    told = Told()
    ended = await shell('echo "it is $TOKEN"; echo "no $TOKEN" >&2; exit 7', told, secrets={"TOKEN": SECRET})
    assert ended == Ended(7, None, False, "exited")
    assert told.of(1) == b"it is " + MASK + b"\n" and told.of(2) == b"no " + MASK + b"\n"


@on_each_loop
async def test_a_command_gets_no_variable_of_the_delegates(temporary: Path) -> None:
    told = Told()
    await run("env", told=told, secrets={"TOKEN": SECRET}, env={"STAGE": "test"})
    variables = dict(line.split("=", 1) for line in told.of(1).decode().splitlines())
    home = variables.pop("HOME")
    assert Path(home).parent == temporary and variables.pop("TMPDIR") == home
    assert variables == {"PATH": PATH, "LANG": "C.UTF-8", "TOKEN": MASK.decode(), "STAGE": "test"}


@on_each_loop
async def test_a_command_runs_in_a_private_directory_that_goes_with_it(temporary: Path) -> None:
    told = Told()
    await shell('pwd; echo kept > file; mkdir -p a/b; stat -c %a .; ls -A "$TMPDIR"', told)
    place, mode, *files = told.of(1).decode().splitlines()
    assert Path(place).parent == temporary and mode == "700" and files == ["a", "file"]


@on_each_loop
async def test_a_private_directory_goes_that_is_read_only_or_deeper_than_paths_reach(temporary: Path) -> None:
    deep = "i=0; while [ $i -lt 1500 ]; do mkdir d; cd d; i=$((i+1)); done; : > file"
    locked = 'cd "$HOME"; mkdir -p cache/module; : > cache/module/file; ln -s / cache/root; chmod -R a-w cache; mkdir -m 0 closed'
    ended = await shell(f"{deep}; {locked}")
    assert (ended.exit, list(temporary.iterdir())) == (0, [])


@on_each_loop
async def test_a_command_runs_where_it_is_told(tmp_path: Path) -> None:
    told = Told()
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    assert (await run("./mine", told=told, directory=str(tmp_path))).exit == 0
    assert told.of(1).decode().strip() == str(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@on_each_loop
async def test_a_command_inherits_no_descriptor_no_input_no_session_and_no_ignored_signal() -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    try:
        told = Told()
        script = (
            "ls /proc/self/fd; readlink /proc/self/fd/0; ps -o pgid=,sid= -p $$; echo $$; grep SigIgn /proc/$$/status"
        )
        await shell(script, told)
    finally:
        os.close(ours)
        os.close(theirs)
    *numbers, entry, groups, pid, ignored = told.of(1).decode().split("\n")[:-1]
    # The fourth is the folder that ls reads.
    assert numbers == ["0", "1", "2", "3"] and entry == "/dev/null"
    assert groups.split() == [pid, pid]
    # 32 and 33 are the C library's own: no program can set them back where whoever started us ignores them.
    # Nohup means what it ignores, and so does a shell of what it starts in the background.
    inherited = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    ours_too = sum(1 << (one - 1) for one in inherited if signal.getsignal(one) is signal.SIG_IGN)
    assert int(ignored.split()[1], 16) & ~(1 << 31 | 1 << 32 | ours_too) == 0


@on_each_loop
async def test_no_core_file_is_written_of_what_a_sheltered_delegate_runs() -> None:
    script = (
        "import asyncio, resource\nfrom delegate.shelter import shelter\nshelter()\n"
        "from tests.unit.delegate.test_commands import Told, shell\n"
        "told = Told()\nasyncio.run(shell('ulimit -c; ulimit -Hc', told))\nprint(told.of(1).decode())"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "0"], done.stderr


@on_each_loop
async def test_a_signal_that_ends_a_command_is_told() -> None:
    assert await shell("kill -KILL $$") == Ended(None, signal.SIGKILL, False, "exited")


@on_each_loop
async def test_output_comes_as_it_is_written() -> None:
    told, stop = Told(), asyncio.Event()
    running = asyncio.create_task(shell("echo first; sleep 60", told, stop=stop))
    await told.until(lambda one: one.of(1).endswith(b"first\n"))
    assert not running.done()
    stop.set()
    assert await running == Ended(None, signal.SIGTERM, False, "cancelled")


@on_each_loop
async def test_a_command_ends_with_its_group_when_its_time_is_over() -> None:
    told = Told()
    began = time.monotonic()
    ended = await shell("sleep 90 & echo $!; wait", told, seconds=ENOUGH_SECONDS, term_seconds=60)
    assert ended == Ended(None, signal.SIGTERM, False, "timed_out")
    assert await gone(int(told.of(1)))
    assert time.monotonic() - began < HELD_UP_SECONDS


@on_each_loop
async def test_a_command_may_end_in_its_own_way_when_it_is_told_to_stop() -> None:
    told, stop = Told(), asyncio.Event()
    script = "trap 'echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    running = asyncio.create_task(shell(script, told, stop=stop, term_seconds=60))
    await told.until(lambda one: b"ready" in one.of(1))
    stop.set()
    assert await running == Ended(3, None, False, "cancelled")
    assert told.of(1) == b"ready\ncleaned\n"


@on_each_loop
async def test_a_group_that_does_not_heed_is_killed() -> None:
    told = Told()
    script = "trap '' TERM; (trap '' TERM; exec sleep 60) & echo $!; while :; do sleep 0.05; done"
    ended = await shell(script, told, seconds=ENOUGH_SECONDS, term_seconds=0.3)
    assert ended == Ended(None, signal.SIGKILL, False, "timed_out")
    assert await gone(int(told.of(1)))


@on_each_loop
async def test_what_a_command_leaves_behind_ends_with_it() -> None:
    told = Told()
    script = "sleep 90 & echo $!; sleep 90 > /dev/null 2>&1 & echo $!; (sleep 0.05; echo late) & exit 0"
    began = time.monotonic()
    ended = await shell(script, told, seconds=100, term_seconds=60)
    first, second, late = told.of(1).decode().split()
    assert ended == Ended(0, None, False, "exited") and late == "late"
    assert await gone(int(first)) and await gone(int(second))
    assert time.monotonic() - began < HELD_UP_SECONDS


@on_each_loop
async def test_what_left_the_group_and_keeps_the_pipe_open_holds_nothing_up(tmp_path: Path) -> None:
    escaped = tmp_path / "pid"
    script = (
        f"setsid sh -c 'echo $$ > {escaped}; exec sleep 90' & while [ ! -s {escaped} ]; do sleep 0.01; done; echo done"
    )
    told = Told()
    began = time.monotonic()
    try:
        ended = await shell(script, told, term_seconds=0.2, seconds=100)
        assert ended == Ended(0, None, False, "exited") and told.of(1) == b"done\n"
        assert time.monotonic() - began < HELD_UP_SECONDS
        assert is_alive(int(escaped.read_text()))
    finally:
        os.kill(int(escaped.read_text()), signal.SIGKILL)


@on_each_loop
async def test_what_left_the_group_and_writes_without_end_holds_nothing_up(tmp_path: Path) -> None:
    escaped = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {escaped}; exec yes' & while [ ! -s {escaped} ]; do sleep 0.01; done"
    try:
        assert (await shell(script, term_seconds=0.2)).exit == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(escaped.read_text()), signal.SIGKILL)


@on_each_loop
async def test_output_beyond_the_bound_is_left_out_and_the_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    told = Told()
    ended = await shell("head -c 90000 /dev/zero; head -c 90000 /dev/zero >&2; head -c 400000 /dev/zero; exit 5", told)
    assert ended == Ended(5, None, True, "exited")
    assert len(told.of(1)) + len(told.of(2)) == 100_000
    assert MOST_BYTES == 8 * 1024 * 1024


@on_each_loop
async def test_output_that_just_fits_is_not_called_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    told = Told()
    ended = await shell("head -c 100000 /dev/zero", told)
    assert not ended.truncated and len(told.of(1)) == 100_000


@on_each_loop
async def test_a_command_waits_while_its_output_is_not_taken() -> None:
    gate, taken = asyncio.Event(), 0

    async def slow(_: int, data: bytes) -> None:
        nonlocal taken
        await gate.wait()
        taken += len(data)

    told = Told()
    # It says on its other output how far it came.
    script = "for i in 1 2 3 4 5 6 7 8; do head -c 65536 /dev/zero; echo $i >&2; done"

    async def write(stream: int, data: bytes) -> None:
        await (slow if stream == 1 else told)(stream, data)

    running = asyncio.create_task(shell(script, write))
    await told.until(lambda one: b"1" in one.of(2))
    done, _ = await asyncio.wait({running}, timeout=0.3)
    assert not done and b"8" not in told.of(2)
    gate.set()
    assert (await running).exit == 0 and taken == 8 * 65536 and told.of(2).endswith(b"8\n")


@on_each_loop
async def test_many_small_pieces_are_gathered() -> None:
    told = Told()
    script = "import os\nfor i in range(20000): os.write(1, b'.')"
    ended = await run(sys.executable, "-c", script, told=told)
    assert ended.exit == 0 and told.of(1) == b"." * 20000
    assert len(told.pieces) < 5_000


@on_each_loop
async def test_a_command_ends_when_nobody_takes_its_output() -> None:
    pids = []

    async def refuse(_: int, data: bytes) -> None:
        pids.append(int(data))
        raise Unavailable("stream_lost", "the stream has ended")

    with pytest.raises(Unavailable) as caught:
        await shell("echo $$; sleep 60", refuse)
    assert caught.value.code == "stream_lost" and await gone(pids[0])


@on_each_loop
async def test_a_command_does_not_outlive_the_task_that_runs_it() -> None:
    told = Told()
    running = asyncio.create_task(shell("trap '' TERM; echo $$; while :; do sleep 0.05; done", told))
    await told.until(lambda one: b"\n" in one.of(1))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(int(told.of(1)))


def _file(folder: Path, text: str, mode: int) -> str:
    path = folder / "program"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("make", "error", "code"),
    [
        (lambda _: ["there-is-no-such-program"], NotFound, "program_missing"),
        (lambda _: ["/no/such/program"], NotFound, "program_missing"),
        (lambda folder: [_file(folder, "#!/bin/sh\n", 0o644)], Denied, "program_not_executable"),
        (lambda folder: [_file(folder, "no first line\n", 0o755)], Denied, "program_not_executable"),
        (lambda folder: [_file(folder, "#!/no/such/interpreter\n", 0o755)], NotFound, "program_missing"),
        (lambda folder: [str(folder)], NotFound, "program_missing"),
        (lambda _: ["x" * 5000], NotFound, "program_missing"),
    ],
)
@on_each_loop
async def test_a_program_that_cannot_be_run_is_a_clear_error(
    tmp_path: Path, make: Callable[[Path], list[str]], error: type[PrivySealError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await run(*make(tmp_path))
    assert caught.value.code == code and caught.value.hint


@on_each_loop
async def test_a_directory_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        await run("true", directory=str(tmp_path / "missing"))
    assert caught.value.code == "directory_missing"


@on_each_loop
async def test_a_value_that_no_variable_can_hold_is_a_clear_error_that_does_not_repeat_it() -> None:
    with pytest.raises(Malformed) as caught:
        await run("true", secrets={"TOKEN": b"secret\0value"})
    assert caught.value.code == "value_unfit" and "secret\0" not in caught.value.detail
    with pytest.raises(Malformed) as caught:
        await run("true", secrets={"TOKEN": b"x" * 140_000})
    assert caught.value.code in {"command_too_large", "values_too_large"}


@on_each_loop
async def test_arguments_that_the_system_does_not_take_are_a_clear_error() -> None:
    with pytest.raises(Malformed) as caught:
        await run("true", "x" * 131_073)
    assert caught.value.code == "command_too_large"


@on_each_loop
async def test_a_delegate_without_a_writable_place_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/no/such/place")
        with pytest.raises(Unavailable) as caught:
            await run("true")
    assert caught.value.code == "directory_unwritable"

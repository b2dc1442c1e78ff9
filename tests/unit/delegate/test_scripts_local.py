"""Scripts on the delegate: run with limits, ended with all that is theirs, and told about without a value."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from delegate import scripts_local as module
from delegate.commands import Commands
from delegate.masking import MASK
from delegate.processes import Process
from delegate.scripts import Absence, Input, Program, program
from delegate.scripts_local import LocalScripts
from delegate.tails import UNTOLD
from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Denied, Expired, Malformed, NotFound, Unavailable
from shared.logs import Allowed
from shared.templates import Shell
from tests.unit.delegate.test_commands import ENOUGH_SECONDS, HELD_UP_SECONDS, gone, on_each_loop

PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"
OURS = {"PATH": PATH, "LANG": "C.UTF-8", "PRIVYSEAL_DELEGATE_KEYRING_FILE": "/keyring", "AWS_SECRET_ACCESS_KEY": "aws"}
SECRET = b"hunter2 is long"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where private directories are made; nothing may be left in it."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """The lines that were logged, each as the delegate's own log would take it."""
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, line: Any) -> Any:
        lines.append(dict(Allowed(strict=True)(_logger, _method, line)))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep])
    yield lines
    structlog.configure(**before)


async def run(
    script: str,
    shell: Shell = "Bash",
    *,
    known: tuple[Plaintext, ...] = (),
    seconds: float = 20,
    directory: str = "",
    term_seconds: float = 5,
    ours: dict[str, str] | None = None,
    is_read: bool = True,
    **inputs: Input,
) -> Plaintext | Absence:
    scripts = LocalScripts(Commands(OURS if ours is None else ours, term_seconds))
    one = program(shell, script, inputs, {})
    return await scripts.run(one, known, seconds, directory, is_read=is_read, about={"connector": "c"})


def pid_in(path: Path) -> int:
    return int(path.read_text())


@pytest.mark.parametrize(("shell", "script"), [("Bash", "secret=$path"), ("Python", "secret = path")])
@on_each_loop
async def test_a_scripts_value_comes_out(shell: Shell, script: str, told: list[Any]) -> None:
    raw = b"it's $(x)\n\xff"
    assert await run(script, shell, path=Plaintext(raw)) == Plaintext(raw)
    assert told == []


@on_each_loop
async def test_values_of_the_largest_size_go_in_and_out() -> None:
    raw = b"'\n" + b"x" * (LARGEST_VALUE_BYTES - 2)
    assert await run("secret=$path", path=Plaintext(raw)) == Plaintext(raw)


@on_each_loop
async def test_a_value_that_is_too_long_is_refused_and_its_script_ended(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"secret=$path$path; trap 'echo $$ > {mark}; sleep 90' EXIT"
    began = time.monotonic()
    with pytest.raises(Malformed) as caught:
        await run(script, path=Plaintext(b"x" * (LARGEST_VALUE_BYTES // 2 + 1)), term_seconds=0.3, seconds=100)
    assert caught.value.code == "value_too_long" and caught.value.hint
    assert time.monotonic() - began < HELD_UP_SECONDS
    assert not mark.exists() or await gone(pid_in(mark))


@on_each_loop
async def test_a_script_runs_in_a_private_directory_with_a_minimal_environment(temporary: Path) -> None:
    found = await run('umask; touch file; secret="$PWD $(env | sort | tr "\\n" " ")"')
    assert isinstance(found, Plaintext)
    place, *variables = found.reveal().decode().split()
    assert Path(place).parent == temporary
    names = {one.partition("=")[0] for one in variables}
    # The last ones are the shell's own.
    assert names - {"OLDPWD"} == {"HOME", "LANG", "PATH", "TMPDIR", "PWD", "SHLVL", "_"}


@on_each_loop
async def test_a_script_runs_where_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("here")
    assert await run("secret=$(cat token)", directory=str(tmp_path)) == Plaintext(b"here")
    with pytest.raises(NotFound) as caught:
        await run("secret=x", directory=str(tmp_path / "missing"))
    assert caught.value.code == "directory_missing"


@on_each_loop
async def test_a_script_has_limits() -> None:
    found = await run('secret="$(ulimit -c) $(ulimit -t) $(ulimit -f) $(ulimit -u) $(ulimit -v)"', seconds=20)
    most = min(module.PROCESSES, resource.getrlimit(resource.RLIMIT_NPROC)[1] % 2**63)
    wanted = f"0 21 {module.FILE_BYTES // 1024} {most} {module.ADDRESS_BYTES // 1024}"
    assert found == Plaintext(wanted.encode())


@on_each_loop
async def test_a_file_that_grows_without_end_is_ended(monkeypatch: pytest.MonkeyPatch, told: list[Any]) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 1024 * 1024)
    with pytest.raises(Unavailable) as caught:
        await run("set -e; head -c 2000000 /dev/zero > large; secret=x")
    assert caught.value.code == "script_failed" and len(told) == 1


@pytest.mark.parametrize(
    ("script", "absence"),
    [("true", Absence.UNSET), ("secret=", Absence.EMPTY), ("secret=null", Absence.NULL)],
)
@on_each_loop
async def test_a_script_without_a_value_is_told_apart_and_why_is_in_the_log(
    script: str, absence: Absence, told: list[Any]
) -> None:
    assert await run(f"echo no such host >&2; {script}") is absence
    (line,) = told
    assert (line["event"], line["reason"], line["output"]) == ("script.failed", absence.value, ["no such host"])
    assert line["connector"] == "c"


@on_each_loop
async def test_a_script_that_only_writes_needs_no_value(told: list[Any]) -> None:
    assert await run("true", is_read=False) is Absence.UNSET
    assert told == []


@on_each_loop
async def test_a_script_that_fails_is_told_in_the_log_masked_and_nowhere_else(told: list[Any]) -> None:
    script = 'secret="harvested one"; echo "$path and $secret"; printf %s "$path" | base64 >&2; exit 3'
    with pytest.raises(Unavailable) as caught:
        await run(script, path=Plaintext(SECRET), known=(Plaintext(SECRET),))
    assert caught.value.code == "script_failed" and "status 3" in caught.value.detail
    assert not {"hunter2", "harvested"} & set((caught.value.detail + caught.value.hint).split())
    (line,) = told
    mask = MASK.decode()
    assert line["output"] == [f"{mask} and {mask}", mask]
    assert "hunter2" not in str(line) and "harvested" not in str(line) and "aHVudGVyM" not in str(line)


@pytest.mark.parametrize("script", ["set -e; secret=x; false", "secret=x; exit 3", "secret=x; kill -KILL $$", "'"])
@on_each_loop
async def test_a_script_that_fails_gives_nothing_whatever_it_set(script: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await run(script)
    assert caught.value.code == "script_failed"


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("Bash", "secret='fetched, not given'; echo \"$secret\"; exit 3"),
        ("Bash", "secret='fetched, not given'; echo \"$secret\"; sleep 60"),
        ("Python", "secret = 'fetched, not given'; print(secret, flush=True); raise ValueError(secret)"),
        ("Python", "import time; secret = b'fetched, not given'; print(secret, flush=True); time.sleep(60)"),
        ("Python", "import sys; secret = 'fetched, not given'; print(secret); sys.exit(3)"),
    ],
)
async def test_what_a_failing_script_had_fetched_is_masked_too(shell: Shell, script: str, told: list[Any]) -> None:
    with pytest.raises((Unavailable, Expired)):
        # Python has to start and to print within it.
        await run(script, shell, seconds=2 * ENOUGH_SECONDS if "sleep" in script else 60)
    (line,) = told
    assert MASK.decode() in str(line["output"]) and "fetched" not in str(line)


@on_each_loop
async def test_of_what_was_cut_off_in_its_handing_over_nothing_is_shown(told: list[Any]) -> None:
    cut = Program(("sh", "-c", "echo 'fetched, not given' >&2; printf '+18:fetched, no'; kill -KILL $$"), b"")
    with pytest.raises(Unavailable):
        await LocalScripts(Commands(OURS)).run(cut, [], 20)
    (line,) = told
    assert line["output"] == [UNTOLD]


@on_each_loop
async def test_a_script_that_replaces_itself_gives_nothing(told: list[Any]) -> None:
    with pytest.raises(Unavailable) as caught:
        await run("secret=x; exec true")
    assert caught.value.code == "script_unfinished" and len(told) == 1


@on_each_loop
async def test_a_script_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"secret=x; sleep 90 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(Expired) as caught:
        await run(script, seconds=ENOUGH_SECONDS, term_seconds=60)
    assert caught.value.code == "script_timed_out"
    assert await gone(pid_in(tmp_path / "pid")) and time.monotonic() - began < HELD_UP_SECONDS


@on_each_loop
async def test_a_script_that_ignores_being_told_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM; (trap '' TERM; exec sleep 60) & echo $! > {tmp_path}/pid; while :; do sleep 0.05; done"
    with pytest.raises(Expired):
        await run(script, seconds=ENOUGH_SECONDS, term_seconds=0.3)
    assert await gone(pid_in(tmp_path / "pid"))


@on_each_loop
async def test_what_a_script_leaves_behind_ends_with_it_and_holds_nothing_up(tmp_path: Path) -> None:
    began = time.monotonic()
    found = await run(f"sleep 90 & echo $! > {tmp_path}/pid; secret=x", seconds=100, term_seconds=60)
    assert found == Plaintext(b"x") and time.monotonic() - began < HELD_UP_SECONDS
    assert await gone(pid_in(tmp_path / "pid"))


@on_each_loop
async def test_a_script_ends_with_the_task_that_awaits_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    running = asyncio.create_task(run(f"trap '' TERM; echo $$ > {mark}; while :; do sleep 0.05; done"))
    async with asyncio.timeout(30):
        while not (mark.exists() and mark.read_text().strip()):
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(pid_in(mark))


@on_each_loop
async def test_a_script_that_prints_without_end_uses_no_memory_and_ends_in_time(told: list[Any]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Expired):
        await run("secret=the-value; yes 'not it'", seconds=ENOUGH_SECONDS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert told[0]["output"][-2] == "not it" and len(told[0]["output"]) == 100


@on_each_loop
async def test_much_output_before_a_value_is_no_matter() -> None:
    assert await run("head -c 5000000 /dev/zero; secret=x") == Plaintext(b"x")


@on_each_loop
async def test_input_that_nobody_reads_is_no_error() -> None:
    """What stands for a shell ends, or goes on, without having read a megabyte."""
    scripts = LocalScripts(Commands(OURS))
    data = b"x" * 1_000_000
    assert await scripts.run(Program(("sh", "-c", "printf +1:x"), data), [], 20) == Plaintext(b"x")
    closing = Program(("sh", "-c", "exec < /dev/null; sleep 0.3; printf +1:y"), data)
    assert await scripts.run(closing, [], 20) == Plaintext(b"y")
    waiting = Program(("sh", "-c", "sleep 0.3; printf +1:z"), data)
    assert await scripts.run(waiting, [], 20) == Plaintext(b"z")


@on_each_loop
async def test_input_is_given_as_fast_as_it_is_read_and_the_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    mark, ticks = tmp_path / "ticked", 0

    async def tick() -> None:
        nonlocal ticks
        while not mark.exists():
            await asyncio.sleep(0.02)
            ticks += 1
            if ticks > 5:
                mark.touch()

    ticking = asyncio.create_task(tick())
    # It reads nothing before the loop has gone on, and its time runs out if that doesn't.
    script = f"while [ ! -e {mark} ]; do sleep 0.02; done; printf +7:; wc -c | tr -d '\\n'"
    found = await LocalScripts(Commands(OURS)).run(Program(("sh", "-c", script), b"x" * 1_000_000), [], 20)
    assert isinstance(found, Plaintext) and found.reveal() == b"1000000"
    await ticking
    assert ticks > 5


@on_each_loop
async def test_descriptors_are_all_closed() -> None:
    await run("secret=x")
    # What tests before this one have left is closed whenever it is collected.
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for script in ("secret=x", "exit 3", "exec true", "exec < /dev/null; secret=x"):
        try:
            await run(script)
        except Unavailable:
            pass
    with pytest.raises(NotFound):
        Process.start("/no/such", ["x"], "/", {}, has_input=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@on_each_loop
async def test_a_shell_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        await run("secret=x", ours={"PATH": str(tmp_path)})
    assert caught.value.code == "shell_missing" and "bash" in caught.value.detail and caught.value.hint
    file = tmp_path / "bash"
    file.write_text("")
    with pytest.raises(Denied) as refused:
        await run("secret=x", ours={"PATH": str(tmp_path)})
    assert refused.value.code == "program_not_executable"


@on_each_loop
async def test_what_left_the_group_and_writes_as_the_script_did_holds_nothing_up(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {mark}; exec sleep 60' & while [ ! -s {mark} ]; do sleep 0.01; done; secret=x"
    try:
        assert await run(script, term_seconds=0.2) == Plaintext(b"x")
    finally:
        os.kill(pid_in(mark), 9)

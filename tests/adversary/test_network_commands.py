"""Commands through a manager in the attacker's hands: it neither reads nor changes nor repeats what runs and what that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from client import commands
from client.commands import Ran
from client.sdk import Client
from shared.canonical import blob_digest, unb64u
from shared.crypto.stream import OutputSealer
from shared.documents.jws import parse_as
from shared.documents.output import OutputDocument
from shared.documents.task import TaskDocument
from shared.errors import Denied, NotReady, PrivySealError, Tampered
from shared.messages import Documents, FromDelegate, FromManager, Output, Result, Task
from shared.values import PublicKey, Recipient
from shared.wire import submission_pb2 as pb
from tests.adversary.evil_manager import Tap, code_of
from tests.adversary.exchange import Exchange
from tests.adversary.stage import Stage

POLICY = "exec = true"
VALUE = b"the value that the command gets"
SCRIPT = 'echo "first $MARK"; echo second; echo third >&2; touch "$RAN.$$"; exit 3'
MARK = "a word of the command's own"


@pytest.fixture
async def client(stage: Stage) -> Client:
    one = stage.client()
    await one.store("account.token", VALUE)
    return one


class Shown:
    """What a command's reader was shown."""

    def __init__(self) -> None:
        self.out = b""
        self.errors = b""

    def __call__(self, stream: int, data: bytes) -> None:
        if stream == 1:
            self.out += data
        else:
            self.errors += data


async def run(stage: Stage, client: Client, shown: Shown | None = None, script: str = SCRIPT) -> Ran:
    """Runs the script, which leaves a file each time."""
    return await client.commands.run(
        ["sh", "-c", script],
        {"TOKEN": "account.token"},
        shown or Shown(),
        env={"MARK": MARK, "RAN": str(stage.folder / "ran")},
        seconds=20,
    )


def times(stage: Stage) -> int:
    """How often the script ran."""
    return len(list(stage.folder.glob("ran.*")))


def change_output(stage: Stage, change: Callable[[Output], Iterable[Output]]) -> None:
    def rewrite(_: Tap, message: FromDelegate) -> Iterable[FromDelegate]:
        return change(message) if isinstance(message, Output) else [message]

    stage.evil.on_up(rewrite)


async def refused(stage: Stage, client: Client, shown: Shown | None = None) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await run(stage, client, shown)
    return caught.value


async def test_a_command_runs_once_and_its_exit_and_output_come_back(stage: Stage, client: Client) -> None:
    shown = Shown()
    ran = await run(stage, client, shown)
    assert (ran.finished.exit, ran.finished.reason, ran.finished.truncated, ran.name) == (3, "exited", False, "alpha")
    assert (shown.out, shown.errors) == (f"first {MARK}\nsecond\n".encode(), b"third\n")
    assert times(stage) == 1


async def test_the_manager_learns_neither_the_command_nor_its_output_nor_the_value(
    stage: Stage, client: Client
) -> None:
    shown = Shown()
    await run(stage, client, shown, 'echo "$TOKEN and $MARK"')
    assert b"**************" in shown.out
    assert VALUE not in shown.out
    passed = [part for one in stage.evil.exchanges for part in (one.request, one.body)]
    passed += [repr(message).encode() for tap in stage.evil.taps for message in tap.heard]
    assert passed
    for text in (VALUE, MARK.encode(), b"sh -c", b"**************"):
        assert not any(text in part for part in passed)


@pytest.mark.parametrize("index", [1, 2, 3])
async def test_an_altered_part_is_refused_and_not_shown(stage: Stage, client: Client, index: int) -> None:
    def change(part: Output) -> Iterable[Output]:
        if part.index != index:
            return [part]
        return [replace(part, data=bytes([part.data[0] ^ 1]) + part.data[1:])]

    shown = Shown()
    change_output(stage, change)
    assert isinstance(await refused(stage, client, shown), Tampered)
    # What came before it was the delegate's, and nothing after it is shown.
    whole = (f"first {MARK}\nsecond\n".encode(), b"third\n")
    assert whole[0].startswith(shown.out)
    assert whole[1].startswith(shown.errors)
    assert index > 1 or shown.out + shown.errors == b""


async def test_an_output_without_its_end_is_refused(stage: Stage, client: Client) -> None:
    last: list[Output] = []

    def drop_the_last(tap: Tap, message: FromDelegate) -> Iterable[FromDelegate]:
        """Each part is held back until another follows."""
        if isinstance(message, Output):
            held, last[:] = list(last), [message]
            return held
        return [message]

    stage.evil.on_up(drop_the_last)
    why = await refused(stage, client)
    assert (type(why), why.code) == (Tampered, "output_cut")
    assert times(stage) == 1


async def test_an_output_that_never_ends_is_given_up(
    stage: Stage, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "END_SECONDS", 0.5)
    asked = 0

    def withhold(exchange: Exchange) -> None:
        nonlocal asked
        if "/output" in exchange.path:
            asked += 1
            exchange.answer_bytes(pb.OutputPage().SerializeToString(), b"application/x-protobuf", 200)

    stage.evil.on_reply(withhold)
    async with asyncio.timeout(30):
        why = await refused(stage, client)
    assert (type(why), why.code) == (Tampered, "output_cut")
    # Nor does it keep the client busy.
    assert asked < 50


async def test_a_part_left_out_or_in_another_order_is_refused(stage: Stage, client: Client) -> None:
    change_output(stage, lambda part: [] if part.index == 1 else [part])
    assert isinstance(await refused(stage, client), Tampered)
    stage.evil.behave()
    other = {1: 2, 2: 1}
    change_output(stage, lambda part: [replace(part, index=other.get(part.index, part.index))])
    shown = Shown()
    assert isinstance(await refused(stage, client, shown), Tampered)
    assert shown.out == b""


async def test_a_part_left_out_with_the_others_moved_up_is_refused(stage: Stage, client: Client) -> None:
    def move_up(part: Output) -> Iterable[Output]:
        if part.index == 1:
            return []
        return [part if part.index == 0 else replace(part, index=part.index - 1)]

    change_output(stage, move_up)
    assert isinstance(await refused(stage, client), Tampered)


async def test_an_output_of_the_attackers_own_is_refused(stage: Stage, client: Client) -> None:
    sealers: dict[str, OutputSealer] = {}
    tasks: dict[str, TaskDocument] = {}

    def remember(_: Tap, message: FromManager) -> Iterable[FromManager]:
        if isinstance(message, Task):
            tasks[message.id] = parse_as(TaskDocument, message.document).document
        return [message]

    def forge(part: Output) -> Iterable[Output]:
        task = tasks[part.id]
        if part.index:
            return [replace(part, data=sealers[part.id].chunk(1, b"all went well\n"))]
        reader = Recipient(PublicKey(unb64u(task.reader, 1216)))
        sealer = sealers[part.id] = OutputSealer(reader, task.acct, task.keyring, part.id, bytes)
        opening = OutputDocument(
            v=1, acct=task.acct, task=part.id, sealed=blob_digest(sealer.key.raw), iat=stage.world.now
        )
        return [replace(part, data=sealer.key.raw, opening=stage.mallory.sign_document(opening))]

    stage.evil.on_down(remember)
    change_output(stage, forge)
    shown = Shown()
    assert isinstance(await refused(stage, client, shown), Tampered)
    assert shown.out == b""


async def test_the_output_of_an_earlier_command_is_not_shown_for_a_later_one(stage: Stage, client: Client) -> None:
    earlier: list[Output] = []

    def keep(part: Output) -> Iterable[Output]:
        earlier.append(part)
        return [part]

    change_output(stage, keep)
    await run(stage, client, script="echo all went well")
    stage.evil.behave()
    change_output(
        stage, lambda part: [replace(one, id=part.id, attempt=part.attempt) for one in earlier[part.index :][:1]]
    )
    shown = Shown()
    assert isinstance(await refused(stage, client, shown), Tampered)
    assert shown.out == b""


async def test_a_command_that_is_handed_over_again_does_not_run_again(stage: Stage, client: Client) -> None:
    sent: list[Task] = []

    def keep(_: Tap, message: FromManager) -> Iterable[FromManager]:
        if isinstance(message, Task):
            sent.append(message)
        return [message]

    stage.evil.on_down(keep)
    await run(stage, client)
    (task,) = [one for one in sent if parse_as(TaskDocument, one.document).document.op == "exec"]
    result = await stage.evil.give("alpha", task.document, task.inputs, task.stored)
    assert code_of(result) == "conflict"
    assert times(stage) == 1


async def test_no_other_delegate_runs_it_and_no_other_command_runs_in_its_place(stage: Stage, client: Client) -> None:
    await stage.delegate("beta", policy="exec = true")
    sent: list[tuple[str, Task]] = []

    def withhold(tap: Tap, message: FromManager) -> Iterable[FromManager]:
        if isinstance(message, Task) and parse_as(TaskDocument, message.document).document.op == "exec":
            sent.append((tap.name, message))
            other = replace(message, inputs=(bytes(len(message.inputs[0])),))
            return [other]
        return [message]

    stage.evil.on_down(withhold)
    why = await refused(stage, client)
    assert isinstance(why, Tampered)
    stage.evil.behave()
    ((name, task),) = sent
    other = "beta" if name == "alpha" else "alpha"
    await stage.evil.connected(other)
    await stage.evil.tap(other).say(Documents(tuple(stage.world.documents)))
    result = await stage.evil.tap(other).give(task.document, task.inputs, task.stored)
    assert not isinstance(result, Result) or code_of(result) in {"denied", "not_ready", "conflict"}
    assert times(stage) == 0


async def test_a_delegate_whose_owner_allows_no_commands_runs_none(
    stage: Stage, client: Client, tmp_path: Path
) -> None:
    strict = Stage(tmp_path / "strict")
    strict.folder.mkdir()
    async with strict:
        await strict.delegate("gamma")
        careful = strict.client()
        await careful.store("account.token", VALUE)
        why = await refused(strict, careful)
        assert (type(why), why.code) == (NotReady, "no_delegate")
        assert "exec_off" in repr(why.facts)
        # A manager that says otherwise only finds out that the delegate says no.
        strict.lie(kinds=["exec"])
        why = await refused(strict, careful)
        assert (type(why), why.code) == (Denied, "local_policy")
        assert times(strict) == 0

"""Figure: from a task's acceptance to the delegate's handler and back, without the store's disk.

Manager and delegate are processes of their own, with all of the product between them but what the handler does: it answers at once
(`answering_delegate`), since its work is the task's and not the way's. The client signs reveals and submits them one after the
other. Measured: from the moment at which the manager takes up the parsed submission of a caller that it knows (`Tasks`), until the
delegate's result is read from the stream again: parsing and verifying the task, warrant, records, choice, sending; the
delegate's stream and runner; and the way back. That is `dispatch_ms` and `execution_ms` of the manager's own line for the task;
the access is written to the disk meanwhile, by another thread, and waited for afterwards.

Floor, in turns with it: one exchange over a bare grpc.aio stream between two processes, messages of the same sizes
(`echo`). The bounded figure is what the product adds to that.
"""

from __future__ import annotations

import os

from client import Client
from client.tasks import SignedTask, Subject, sign_task
from shared.codec import delegate_messages, manager_messages
from shared.crypto.seal import SEED_BYTES, SealingKey
from shared.messages import Result, Task
from shared.wire import submission_pb2 as pb
from tests.bench.child import Unmeasured
from tests.bench.finished import Finished
from tests.bench.floors import Floors, Sizes
from tests.bench.report import Row, against_value, info, median
from tests.bench.rig import Rig

NAME = "account.one"
FIRST = 50
ANSWER_BYTES = 500


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    rounds = 300 if quick else 1_000
    async with Rig() as rig:
        assert rig.manager is not None
        real, _ = await rig.start_delegate()
        await rig.store(["one"])
        client = rig.reader()
        await client.reveal(NAME)
        await real.stop()
        await rig.start_delegate(program="tests.bench.answering_delegate")
        for _ in range(FIRST):
            await _submit(client, await _sign(client))
        finished = Finished(rig.manager.log)
        await finished.read(0)
        echoes: list[float] = []
        async with Floors(rig.folder, _sizes(await _sign(client))) as floors:
            await floors.measure("stream", FIRST)
            for _ in range(rounds):
                await _submit(client, await _sign(client))
                echoes += await floors.measure("stream", 1)
        lines = await finished.read(rounds)
    taken, echo = median([(one.dispatch_ms or 0.0) + one.execution_ms for one in lines]), median(echoes) * 1000
    handed = median([one.execution_ms for one in lines])
    return [
        against_value("accept to handler and back, beyond a stream echo", taken - echo, "ms", 0.3, "at most"),
        info("accept to handler and back, p50", taken, "ms"),
        info("of it, accept to handing over (the manager's checks), p50", taken - handed, "ms"),
        info("of it, handing over to handler and back, beyond a stream echo", handed - echo, "ms"),
        info("stream echo, p50 (the floor)", echo, "ms"),
    ]


async def _sign(client: Client) -> SignedTask:
    """A reveal, as the client signs one; nobody will open its answer."""
    account, directory = client.account, client.directory
    known = await directory.one(client.secrets.reference(NAME))
    subject = Subject(known.secret, known.connector, known.n, known.version, latest=True)
    reader = SealingKey(os.urandom(SEED_BYTES))
    return sign_task(account.book, account.identity, "reveal", [subject], reader, account.clock())


async def _submit(client: Client, task: SignedTask) -> None:
    body = pb.Submission(document=task.compact).SerializeToString()
    reply = await client.account.ask("POST", "tasks", data=body, query={"wait": 60})
    outcome = pb.Outcome.FromString(reply.body)
    if outcome.code != "ok":
        raise Unmeasured(f"a task ended as {outcome.code or outcome.state}")


def _sizes(task: SignedTask) -> Sizes:
    """Bytes of both messages; the other parts of a floor aren't asked for."""
    down = Task(task.digest, 1, task.compact)
    up = Result(task.digest, 1, "x" * ANSWER_BYTES)
    return Sizes(
        request=0,
        response=0,
        task=0,
        down=sum(wire.ByteSize() for wire in manager_messages(down, 1)),
        up=sum(wire.ByteSize() for wire in delegate_messages(up, 1)),
        answer=0,
        output=0,
        authorization="",
        rows=(("",), ("",)),
    )

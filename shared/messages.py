"""What manager and delegate say to each other on the stream, as plain values; `codec` turns them into bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Challenge:
    """Manager: 32 random bytes to sign."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """Delegate: who it is, with proof, and what it can do."""

    certificate: str
    proof: bytes
    origin: str
    version: str
    kinds: tuple[str, ...]
    generations: tuple[int, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """Manager: the stream is open."""

    heartbeat_ms: int
    silence_ms: int
    now: int


@dataclass(frozen=True, slots=True)
class Use:
    """What a delegate uses of a resource, in percent of what it may have; a limit of 0 is none.

    `over`: it takes no new tasks until it uses less.
    """

    percent: int
    limit_percent: int
    over: bool


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Either: still here; a delegate says how many tasks it executes and what it uses, None for what isn't measured.

    `now` is the time by its clock, 0 where it doesn't say.
    """

    executing: int = 0
    cpu: Use | None = None
    memory: Use | None = None
    now: int = 0

    @property
    def is_over(self) -> bool:
        """Whether a limit keeps the delegate from taking new tasks."""
        return (self.cpu is not None and self.cpu.over) or (self.memory is not None and self.memory.over)


@dataclass(frozen=True, slots=True)
class Documents:
    """Manager: signed documents, compact."""

    compact: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Manager: a signed task with its sealed inputs, the records that it opens and those of its credentials.

    `traceparent` is unsigned, and for traces alone. Where `run` isn't 0, `document` is an order, and this its run `run` - 1.
    """

    id: str
    attempt: int
    document: str
    inputs: tuple[bytes, ...] = ()
    stored: tuple[bytes, ...] = ()
    credentials: tuple[bytes, ...] = ()
    traceparent: str = ""
    run: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Manager: nobody waits for that task any more."""

    id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Manager: connectors, by their documents' digests, of which it would like to know whether they work there now."""

    connectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Either: no new tasks; running ones end."""


@dataclass(frozen=True, slots=True)
class Credit:
    """Delegate: so many more tasks may be sent."""

    tasks: int


@dataclass(frozen=True, slots=True)
class Result:
    """Delegate: the signed answer, the output sealed to the reader, the records to store."""

    id: str
    attempt: int
    answer: str
    sealed: bytes = b""
    stored: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Delegate: how far a task is."""

    id: str
    attempt: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Output:
    """Delegate: a part of what a command writes, in order of `index`; the first has the signed `opening` and the sealed key."""

    id: str
    attempt: int
    index: int
    data: bytes
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """Delegate: documents that it needs before it can judge a task; the task isn't running."""

    id: str
    attempt: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """Delegate: a newer certificate of the same identity."""

    certificate: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Delegate: a connection test that it made by itself, as a signed document."""

    document: str


FromManager = Challenge | Welcome | Heartbeat | Documents | Task | Cancel | Probe | Drain
FromDelegate = Hello | Heartbeat | Credit | Result | Progress | Output | Checked | Need | Drain | NewCertificate
Message = FromManager | FromDelegate

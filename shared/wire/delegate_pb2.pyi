from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FromManager(_message.Message):
    __slots__ = ("challenge", "welcome", "heartbeat", "documents", "task", "cancel", "drain", "probe", "chunk")
    CHALLENGE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    challenge: Challenge
    welcome: Welcome
    heartbeat: Heartbeat
    documents: Documents
    task: Task
    cancel: Cancel
    drain: Drain
    probe: Probe
    chunk: Chunk
    def __init__(self, challenge: _Optional[_Union[Challenge, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., documents: _Optional[_Union[Documents, _Mapping]] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ...) -> None: ...

class FromDelegate(_message.Message):
    __slots__ = ("hello", "heartbeat", "credit", "result", "progress", "need", "drain", "certificate", "output", "checked", "chunk")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    credit: Credit
    result: Result
    progress: Progress
    need: Need
    drain: Drain
    certificate: Certificate
    output: Output
    checked: Checked
    chunk: Chunk
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., need: _Optional[_Union[Need, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., certificate: _Optional[_Union[Certificate, _Mapping]] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., checked: _Optional[_Union[Checked, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ...) -> None: ...

class Challenge(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("certificate", "proof", "origin", "version", "kinds", "generations", "capacity")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    certificate: str
    proof: bytes
    origin: str
    version: str
    kinds: _containers.RepeatedScalarFieldContainer[str]
    generations: _containers.RepeatedScalarFieldContainer[int]
    capacity: int
    def __init__(self, certificate: _Optional[str] = ..., proof: _Optional[bytes] = ..., origin: _Optional[str] = ..., version: _Optional[str] = ..., kinds: _Optional[_Iterable[str]] = ..., generations: _Optional[_Iterable[int]] = ..., capacity: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("heartbeat_ms", "silence_ms", "now")
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    heartbeat_ms: int
    silence_ms: int
    now: int
    def __init__(self, heartbeat_ms: _Optional[int] = ..., silence_ms: _Optional[int] = ..., now: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("executing", "cpu", "memory", "now")
    EXECUTING_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    executing: int
    cpu: Use
    memory: Use
    now: int
    def __init__(self, executing: _Optional[int] = ..., cpu: _Optional[_Union[Use, _Mapping]] = ..., memory: _Optional[_Union[Use, _Mapping]] = ..., now: _Optional[int] = ...) -> None: ...

class Use(_message.Message):
    __slots__ = ("percent", "limit_percent", "over")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    percent: int
    limit_percent: int
    over: bool
    def __init__(self, percent: _Optional[int] = ..., limit_percent: _Optional[int] = ..., over: _Optional[bool] = ...) -> None: ...

class Documents(_message.Message):
    __slots__ = ("compact",)
    COMPACT_FIELD_NUMBER: _ClassVar[int]
    compact: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, compact: _Optional[_Iterable[str]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("id", "attempt", "document", "inputs", "stored", "credentials", "traceparent", "run")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    document: str
    inputs: _containers.RepeatedScalarFieldContainer[bytes]
    stored: _containers.RepeatedScalarFieldContainer[bytes]
    credentials: _containers.RepeatedScalarFieldContainer[bytes]
    traceparent: str
    run: int
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ..., document: _Optional[str] = ..., inputs: _Optional[_Iterable[bytes]] = ..., stored: _Optional[_Iterable[bytes]] = ..., credentials: _Optional[_Iterable[bytes]] = ..., traceparent: _Optional[str] = ..., run: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("id", "attempt")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Credit(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: int
    def __init__(self, tasks: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("id", "attempt", "answer", "sealed", "stored")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    answer: str
    sealed: bytes
    stored: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ..., answer: _Optional[str] = ..., sealed: _Optional[bytes] = ..., stored: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("id", "attempt", "done", "total")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    done: int
    total: int
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ..., done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("id", "attempt", "index", "data", "opening")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    index: int
    data: bytes
    opening: str
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ..., index: _Optional[int] = ..., data: _Optional[bytes] = ..., opening: _Optional[str] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("connectors",)
    CONNECTORS_FIELD_NUMBER: _ClassVar[int]
    connectors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, connectors: _Optional[_Iterable[str]] = ...) -> None: ...

class Checked(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: str
    def __init__(self, document: _Optional[str] = ...) -> None: ...

class Need(_message.Message):
    __slots__ = ("id", "attempt", "digests")
    ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    attempt: int
    digests: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., attempt: _Optional[int] = ..., digests: _Optional[_Iterable[str]] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: str
    def __init__(self, certificate: _Optional[str] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("stream", "index", "last", "data")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    stream: int
    index: int
    last: bool
    data: bytes
    def __init__(self, stream: _Optional[int] = ..., index: _Optional[int] = ..., last: _Optional[bool] = ..., data: _Optional[bytes] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Submission(_message.Message):
    __slots__ = ("document", "inputs", "documents")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    document: str
    inputs: _containers.RepeatedScalarFieldContainer[bytes]
    documents: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, document: _Optional[str] = ..., inputs: _Optional[_Iterable[bytes]] = ..., documents: _Optional[_Iterable[str]] = ...) -> None: ...

class OutputPage(_message.Message):
    __slots__ = ("chunks", "over")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    chunks: _containers.RepeatedCompositeFieldContainer[OutputChunk]
    over: bool
    def __init__(self, chunks: _Optional[_Iterable[_Union[OutputChunk, _Mapping]]] = ..., over: _Optional[bool] = ...) -> None: ...

class OutputChunk(_message.Message):
    __slots__ = ("index", "data", "opening")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    index: int
    data: bytes
    opening: str
    def __init__(self, index: _Optional[int] = ..., data: _Optional[bytes] = ..., opening: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("task", "state", "code", "answer", "certificate", "sealed")
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    task: str
    state: str
    code: str
    answer: str
    certificate: str
    sealed: bytes
    def __init__(self, task: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., answer: _Optional[str] = ..., certificate: _Optional[str] = ..., sealed: _Optional[bytes] = ...) -> None: ...

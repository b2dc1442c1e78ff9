"""Google Cloud on loopback: the real gRPC protocol of Cloud KMS and Secret Manager, who may do what there, and faults.

    with Google() as google:
        google.allow("serviceAccount:x@p.iam.gserviceaccount.com", "cloudkms.cryptoKeyVersions.useToEncrypt")
        google.faults["Encrypt"].append(refuse(StatusCode.RESOURCE_EXHAUSTED))
        google.asked                              # methods, in order

It does what the provider documents: "Cloud KMS API v1", "Secret Manager API v1", "Error model" (google.rpc.Status with
ErrorInfo), "Permission denied for what the caller may not know of". Everything is denied that isn't allowed; a call without
the routing header of its resource isn't taken. It runs in threads of its own, so that it serves any event loop.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import parse_qs

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc import StatusCode
from grpc_status import rpc_status

PROJECT, NUMBER = "acme-prod", "417203918273"
"""A project by its id and its number: answers name it by the number where Secret Manager gives them."""

THREADS = 64


class Refused(Exception):
    """How a call ends that Google refuses."""

    def __init__(self, code: StatusCode, message: str, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.code, self.message, self.reason, self.metadata = code, message, reason, metadata


@dataclass
class Call:
    """One call: who makes it, and its request."""

    method: str
    who: str
    request: Any
    headers: Mapping[str, str]


Fault = Callable[[Call, Callable[[], Any]], Any]
"""Gets the call and what would answer it; gives the answer, or raises Refused."""


def refuse(code: StatusCode, message: str = "hunter2", reason: str = "", **metadata: str) -> Fault:
    """Refuses with that status."""

    def fault(_: Call, __: Callable[[], Any]) -> Any:
        raise Refused(code, message, reason, **metadata)

    return fault


def stall(until: threading.Event) -> Fault:
    """Answers only after the event."""

    def fault(_: Call, go_on: Callable[[], Any]) -> Any:
        until.wait(30)
        return go_on()

    return fault


def change(**fields: Any) -> Fault:
    """Answers with other fields: what a fault on the way, or a wrong server, would do."""

    def fault(_: Call, go_on: Callable[[], Any]) -> Any:
        answer = go_on()
        for name, value in fields.items():
            setattr(answer, name, value(getattr(answer, name)) if callable(value) else value)
        return answer

    return fault


@dataclass
class Account:
    """A service account: the public keys by their ids, and whether it is enabled."""

    email: str
    keys: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True


@dataclass
class Issued:
    """An access token: whose, for which scopes, until when."""

    who: str
    scopes: frozenset[str]
    ends: float


class Google:
    """The parts that all services share. `clock` gives seconds since 1970, `tls` (private key, certificate)."""

    def __init__(self, clock: Callable[[], float] = time.time, tls: tuple[bytes, bytes] | None = None) -> None:
        # Here, since each imports this module.
        from tests.fakes.google_kms import Keys
        from tests.fakes.google_secrets import Secrets
        from tests.fakes.google_tokens import TokenServer

        self.clock = clock
        self.lock = threading.RLock()
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Issued] = {}
        self.allowed: set[tuple[str, str, str]] = set()
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.calls: list[Call] = []
        self.keys = Keys(self)
        self.secrets = Secrets(self)
        self.http = TokenServer(self)
        self._server = grpc.server(ThreadPoolExecutor(THREADS))
        for service in (self.keys, self.secrets):
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(self._handler(name, serve), request.deserialize, _serialize)
                for name, (request, serve) in service.methods().items()
            }
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.NAME, handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        if tls is not None:
            self.secure_port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))

    def __enter__(self) -> Self:
        self._server.start()
        self.http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.http.stop()
        self._server.stop(None).wait(5)

    def forget(self) -> None:
        """As at the start: no account, token, grant, fault or secret, and nobody asked anything."""
        for forgotten in (self.accounts, self.tokens, self.allowed, self.faults, self.calls):
            forgotten.clear()
        self.keys.keys.clear()
        self.secrets.kept.clear()
        self.http.forget()

    @property
    def endpoints(self) -> str:
        """For the delegate's option gcp_endpoints."""
        services = {"cloudkms": self.port, "secretmanager": self.port}
        services |= dict.fromkeys(("oauth2", "sts", "iamcredentials"), self.http.port)
        return ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in services.items())

    @property
    def asked(self) -> list[str]:
        """The methods that were called, in order."""
        return [call.method for call in self.calls]

    def allow(self, who: str, *permissions: str, on: str = f"projects/{PROJECT}") -> None:
        """Grants permissions on a resource and what lies below it."""
        self.allowed |= {(who, permission, on) for permission in permissions}

    def deny(self, who: str, permission: str) -> None:
        """Takes a permission away everywhere."""
        self.allowed -= {one for one in self.allowed if one[:2] == (who, permission)}

    def check(self, call: Call, permission: str, resource: str) -> None:
        """Raises Refused for who may not; "or it may not exist", since that isn't told either."""
        named = resource.replace(f"projects/{NUMBER}", f"projects/{PROJECT}", 1)
        if not any(
            (who, what) == (call.who, permission) and (named == on or named.startswith(f"{on}/"))
            for who, what, on in self.allowed
        ):
            raise Refused(
                StatusCode.PERMISSION_DENIED,
                f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
                "IAM_PERMISSION_DENIED",
                permission=permission,
            )

    def _handler(self, name: str, serve: Callable[[Call], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            call = Call(name, "", request, headers)
            try:
                with self.lock:
                    self.calls.append(call)
                    fault = self.faults[name].popleft() if self.faults[name] else None
                if fault is None:
                    return self._served(call, serve)
                return fault(call, lambda: self._served(call, serve))
            except Refused as why:
                _abort(context, why)

        return handle

    def _served(self, call: Call, serve: Callable[[Call], Any]) -> Any:
        with self.lock:
            scheme, _, token = call.headers.get("authorization", "").partition(" ")
            issued = self.tokens.get(token) if scheme == "Bearer" else None
            if issued is None or issued.ends <= self.clock():
                raise Refused(
                    StatusCode.UNAUTHENTICATED,
                    "Request had invalid authentication credentials.",
                    "ACCESS_TOKEN_TYPE_UNSUPPORTED" if issued is None else "ACCESS_TOKEN_EXPIRED",
                )
            call.who = issued.who
            service = self.keys if call.method in self.keys.methods() else self.secrets
            if not issued.scopes & service.SCOPES:
                raise Refused(
                    StatusCode.PERMISSION_DENIED,
                    "Request had insufficient authentication scopes.",
                    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                )
            routed = parse_qs(call.headers.get("x-goog-request-params", ""))
            if not any(value in _names(call.request) for values in routed.values() for value in values):
                raise Refused(StatusCode.INVALID_ARGUMENT, "The request is missing its routing header.")
            return serve(call)


def _names(request: Any) -> Iterable[str]:
    for name in ("name", "parent"):
        yield getattr(request, name, "")
    yield getattr(getattr(request, "secret", None), "name", "")


def _serialize(answer: Any) -> bytes:
    raw: bytes = answer.SerializeToString() if hasattr(answer, "SerializeToString") else type(answer).serialize(answer)
    return raw


def _abort(context: grpc.ServicerContext, why: Refused) -> NoReturn:
    status = Status(code=Code.Value(why.code.name), message=why.message)
    if why.reason:
        detail = AnyMessage()
        detail.Pack(ErrorInfo(reason=why.reason, domain="googleapis.com", metadata=why.metadata))
        status.details.append(detail)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError

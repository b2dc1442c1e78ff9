"""What passes between a client and the manager over HTTP, in the attacker's hands: read whole, changed, and passed on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.wire import submission_pb2 as pb


@dataclass(slots=True)
class Exchange:
    """One request of a client and the answer that it is about to get; the attacker changes either."""

    method: str
    path: str
    authorization: str
    request: bytes
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    cut_after: int | None = None
    """Break the connection after so many bytes of the body."""
    no_conditions: bool = False
    """Answer in full, whatever the client has already."""

    def json(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.body)

    def answer_json(self, value: Any, status: int | None = None) -> None:
        """Answer this instead."""
        self.answer_bytes(json.dumps(value).encode(), b"application/json", status)

    def answer_bytes(self, body: bytes, media_type: bytes, status: int | None = None) -> None:
        """Answer these bytes instead."""
        self.body, self.status = body, status or self.status
        kept = [(key, value) for key, value in self.headers if key not in {b"content-type", b"content-length"}]
        self.headers = [*kept, (b"content-type", media_type), (b"content-length", str(len(body)).encode())]

    def submission(self) -> pb.Submission:
        """What the client submitted."""
        return pb.Submission.FromString(self.request)

    def outcome(self) -> pb.Outcome:
        """The outcome that it is about to get."""
        return pb.Outcome.FromString(self.body)

    def answer_outcome(self, outcome: pb.Outcome) -> None:
        """Answer this outcome instead."""
        self.answer_bytes(outcome.SerializeToString(), b"application/x-protobuf", 200)

    @property
    def ends_task(self) -> bool:
        """Whether this is a task's outcome."""
        return self.status == 200 and ("/tasks" in self.path) and self.method in {"POST", "GET"} and bool(self.body)


class Hands(Protocol):
    """Whoever reads and changes exchanges."""

    def request(self, exchange: Exchange) -> None: ...

    async def reply(self, exchange: Exchange) -> None: ...


class Between:
    """ASGI: the whole request, then the whole answer, through the attacker's hands."""

    def __init__(self, inner: Any, hands: Hands) -> None:
        self._inner = inner
        self._hands = hands

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        exchange = await self._exchange(scope, receive)
        self._hands.request(exchange)
        sent = False

        async def replay() -> Any:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": exchange.request, "more_body": False}

        async def collect(event: Any) -> None:
            if event["type"] == "http.response.start":
                exchange.status, exchange.headers = event["status"], list(event["headers"])
            else:
                exchange.body += event.get("body", b"")

        left_out = {b"content-length", b"if-none-match" if exchange.no_conditions else b"content-length"}
        headers = [(key, value) for key, value in scope["headers"] if key not in left_out]
        length = (b"content-length", str(len(exchange.request)).encode())
        await self._inner({**scope, "headers": [*headers, length]}, replay, collect)
        await self._hands.reply(exchange)
        await send({"type": "http.response.start", "status": exchange.status, "headers": exchange.headers})
        if exchange.cut_after is not None:
            await send({"type": "http.response.body", "body": exchange.body[: exchange.cut_after], "more_body": True})
            raise ConnectionResetError("the attacker breaks the connection")
        await send({"type": "http.response.body", "body": exchange.body, "more_body": False})

    @staticmethod
    async def _exchange(scope: Any, receive: Any) -> Exchange:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        query = scope["query_string"].decode()
        headers = dict(scope["headers"])
        path = scope["path"] + ("?" + query if query else "")
        return Exchange(scope["method"], path, headers.get(b"authorization", b"").decode(), body)

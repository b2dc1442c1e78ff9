"""What the HTTP servers of tests have in common: quiet, on loopback, untroubled by clients that break off."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open, and every method is one: `respond`."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = 65_536  # headers and body in one packet

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the library's word)
        """Nothing."""

    def handle(self) -> None:
        """As the library's, but a client that breaks off is no error."""
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def respond(self) -> None:
        """Answer one request."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """As every other method."""
        self.respond()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 (the library's names)


class Server(ThreadingHTTPServer):
    """On a free port of loopback; its end waits for nobody."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, *_: Any) -> None:
        """A client that breaks off, or isn't let in, is no error here."""

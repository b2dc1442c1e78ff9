"""Asks a program in the same container whether it is well: `python -I healthcheck.py URL`; exit status 0 means yes.

Only on loopback, where the certificate's name proves nothing, so it isn't checked. Must not send anything but the question,
and needs nothing beside the standard library.
"""

from __future__ import annotations

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

SECONDS = 4
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(arguments: list[str]) -> int:
    """The exit status: 0 well, 1 not well, 2 asked wrongly."""
    parts = urlsplit(arguments[0] if len(arguments) == 1 else "")
    if parts.scheme not in {"http", "https"} or parts.hostname not in LOOPBACK:
        print("usage: healthcheck.py http[s]://127.0.0.1:PORT/PATH", file=sys.stderr)
        return 2
    connection = _connection(parts.scheme, parts.hostname, parts.port)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        said = answer.read(2_000).decode("utf-8", "replace")
    except (OSError, HTTPException) as why:
        print(f"no answer: {type(why).__name__}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if answer.status != 200:
        print(f"{answer.status}: {said}", file=sys.stderr)
        return 1
    return 0


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=SECONDS, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

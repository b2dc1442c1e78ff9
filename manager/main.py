"""The command `privyseal-manager`: reads the settings, builds the manager, and the operator's few commands."""

from __future__ import annotations

import gc
import os
import secrets
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path

from manager.options import PROGRAM, address, origins
from shared.errors import Malformed, PrivySealError
from shared.settings import Settings

TOKEN_SECONDS = 3_600
GARBAGE = 10_000, 20, 20
"""Thresholds of the collector of cycles."""

_COMMANDS = """
commands
  privyseal-manager [options]                serve
  privyseal-manager account add [options]    print a one-time token for `privyseal init`, good for an hour
  privyseal-manager account list [options]   accounts by id and name
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is that of the error's kind."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    words = []
    while argv and not argv[0].startswith("-"):
        words.append(argv.pop(0))
    try:
        return _run(words, argv)
    except PrivySealError as why:
        print(f"error: {why.detail}", file=sys.stderr)
        if why.hint:
            print(f"hint: {why.hint}", file=sys.stderr)
        return why.exit_status


def _run(words: list[str], argv: list[str]) -> int:
    request = PROGRAM.request(argv, os.environ)
    if request.action == "help":
        print(PROGRAM.help() + _COMMANDS, end="")
        return 0
    if request.action == "version":
        print(f"privyseal-manager {version_of('privy-seal')}")
        return 0
    settings = PROGRAM.parse(argv, os.environ, _text(request.config))
    if request.action == "check":
        _configuration(settings)
        print(settings.listing(), end="")
        return 0
    match words:
        case []:
            return _serve(settings)
        case ["account", "add"]:
            return _add_account(settings)
        case ["account", "list"]:
            return _list_accounts(settings)
    raise Malformed("command_unknown", "there is no such command", "see privyseal-manager --help")


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise Malformed(
            "config_unreadable", "the settings file can't be read", "check --config and its permissions"
        ) from None


def _configuration(settings: Settings):  # type: ignore[no-untyped-def]  # imported late: see _serve
    from manager.daemon import Configuration

    certificate, key = settings.maybe("tls_certificate", str), settings.maybe("tls_key", str)
    if (certificate is None) != (key is None):
        raise Malformed("tls_incomplete", "of tls_certificate and tls_key only one is given", "give both or neither")
    http, delegates = address(settings, "listen"), address(settings, "delegate_listen")
    heartbeat, silence = settings.get("heartbeat", float), settings.get("silence", float)
    if silence < 2 * heartbeat:
        raise Malformed(
            "silence_too_short",
            "the setting silence is shorter than two heartbeats, which would cut every delegate",
            "make silence longer or heartbeat shorter",
        )
    scheme = "http" if certificate is None else "https"
    return Configuration(
        url=origins(settings, "url", "listen", scheme)[0],
        delegate_urls=origins(settings, "delegate_url", "delegate_listen", scheme),
        http=http,
        grpc=delegates,
        database=settings.get("database", str),
        tls=(Path(certificate), Path(key)) if certificate and key else None,
        heartbeat_seconds=heartbeat,
        silence_seconds=silence,
        drain_seconds=settings.get("drain", float),
        cache_bytes=settings.get("cache", int),
        connections=settings.get("connections", int),
        waiting=settings.get("waiting", int),
        probe_seconds=(settings.get("probe_success_seconds", float), settings.get("probe_failure_seconds", float)),
        version=version_of("privy-seal"),
        otlp_endpoint=settings.maybe("otlp_endpoint", str) or "",
    )


def _serve(settings: Settings) -> int:
    # Late, so that --help and the operator's commands don't load two servers.
    import uvloop

    from manager.daemon import serve
    from shared.logs import configure, uncaught

    chosen = settings.get("log_format", str)
    json = chosen == "json" or (chosen == "auto" and not sys.stdout.isatty())
    configure("manager", json, settings.get("log_level", str), colours=not json and "NO_COLOR" not in os.environ)
    sys.excepthook = uncaught
    os.umask(0o077)
    # Hardly anything that a task leaves behind is in a cycle, and a full pass over all documents and delegates takes as long as
    # some tasks.
    gc.set_threshold(*GARBAGE)
    uvloop.run(serve(_configuration(settings)))
    return 0


def _add_account(settings: Settings) -> int:
    from manager.api.accounts import token_hash
    from manager.store import add_token

    token, now = secrets.token_urlsafe(32), int(time.time())
    os.umask(0o077)
    add_token(settings.get("database", str), token_hash(token), now, now + TOKEN_SECONDS)
    print(token)
    if sys.stderr.isatty():
        print("One account can be made with it within the hour: privyseal init --manager URL", file=sys.stderr)
    return 0


def _list_accounts(settings: Settings) -> int:
    from manager.store import list_accounts

    for row in list_accounts(settings.get("database", str)):
        print(f"{row.account}  {row.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

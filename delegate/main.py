"""The program `privyseal-delegate`: settings in, one object graph, an exit code out.

Promises: everything is constructed here and nowhere else; what can't work is refused before anything is dialled, with
what to do about it; `--check-config` tries all of it. Exit codes are those of `shared.errors`, 70 for a bug.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TextIO

from delegate.configuration import PROGRAM, Configuration
from delegate.familiar import environment
from delegate.files import read_text
from delegate.shelter import shelter
from shared import logs
from shared.errors import PrivySealError
from shared.settings import Settings


def main() -> None:
    """The console script."""
    # Before anything secret is read.
    shelter()
    sys.exit(run(sys.argv[1:], os.environ, sys.stdout, sys.stderr))


def run(argv: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """The program with everything that it takes from outside; gives its exit code."""
    try:
        request = PROGRAM.request(argv, environ)
        match request.action:
            case "help":
                out.write(PROGRAM.help())
                return 0
            case "version":
                out.write(f"{PROGRAM.name} {version()}\n")
                return 0
        toml = None if request.config is None else read_text(request.config, "settings")
        known = environment(environ)
        settings = PROGRAM.parse(argv, known, toml)
        configuration = Configuration.of(settings, known, socket.gethostname())
        if request.action == "check":
            out.write(settings.listing())
            out.write(
                f"{PROGRAM.name}: the settings, the keyring {configuration.keyring.name} and the policy are fine\n"
            )
            return 0
        _configure_logs(settings, out)
        sys.excepthook = logs.uncaught
        threading.excepthook = thread_crashed
        # The libraries of the providers look for a proxy there.
        os.environ.update({name: known[name] for name in ("HTTPS_PROXY",) if name in known})
        # Late, so that --help and --check-config don't load an event loop.
        import uvloop

        return uvloop.run(serve(configuration))
    except PrivySealError as why:
        err.write(f"{PROGRAM.name}: {why.detail}\n" + (f"  {why.hint}\n" if why.hint else ""))
        return why.exit_status


def thread_crashed(told: threading.ExceptHookArgs) -> None:
    """For `threading.excepthook`: a thread of some library must not print the text of its error, which may have a value in it."""
    logs.uncaught(told.exc_type, told.exc_value or RuntimeError(), told.exc_traceback)


async def serve(configuration: Configuration) -> int:
    """Run a delegate until it is told to end."""
    # gRPC's core writes to standard error past every logger; what matters it also tells us.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import structlog

    from delegate.build import build

    daemon, health = build(configuration, version(), secrets.token_bytes)
    daemon.listen_to_signals()
    structlog.get_logger().info(
        "delegate.started",
        version=version(),
        delegate=configuration.name,
        selectors=list(daemon.passport.tags),
        group=daemon.passport.group,
        keyring=configuration.keyring.name,
        account=configuration.keyring.account,
        address=configuration.address.origin,
        pid=os.getpid(),
    )
    await daemon.run(health)
    return 0


def version() -> str:
    """The installed package's, or that of a source tree."""
    try:
        return installed_version("privy-seal")
    except PackageNotFoundError:
        return "0+source"


def _configure_logs(settings: Settings, out: TextIO) -> None:
    form = settings.get("log_format", str)
    as_json = form == "json" or (form == "auto" and not out.isatty())
    logs.configure("delegate", as_json, settings.get("log_level", str), colours=out.isatty(), stream=out)


if __name__ == "__main__":
    main()

"""`privyseal doctor`: looks at everything that a reveal depends on, and says what to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from client.cli.output import plain
from client.cli.session import Leaf, Session, session
from shared.errors import PrivySealError

if TYPE_CHECKING:
    from client.doctor import Finding


@click.command(cls=Leaf)
@click.pass_context
def doctor(context: click.Context) -> int:
    """Check context, key files, clocks, trust, status, grants, keyrings, delegates and the audit.

    Exits with 1 when something fails; a warning alone doesn't.
    """
    run = session(context)
    findings = _findings(run)
    if run.out.format != "table":
        run.out.data([one._asdict() for one in findings])
    else:
        for one in findings:
            # Names of delegates are the manager's word.
            print(f"{one.level:<4}  {plain(one.subject)}: {plain(one.detail)}")
            if one.remedy and one.level != "ok":
                print(f"      -> {plain(one.remedy)}")
    return int(any(one.level == "fail" for one in findings))


def _findings(run: Session) -> list[Finding]:
    from client.doctor import Finding, check_files, examine, failure

    try:
        name, chosen = run.chosen()
    except PrivySealError as why:
        return [failure("context", why)]
    findings = [Finding("ok", "context", f"{name}: {chosen.manager}, as {chosen.identity}"), *check_files(run.folder())]

    async def act() -> list[Finding]:
        async with run.client() as client:
            return [
                Finding("ok", "identity", f"{chosen.identity} {client.account.identity.kid}"),
                *await examine(client),
            ]

    try:
        return findings + asyncio.run(act())
    except PrivySealError as why:
        return [*findings, failure("identity", why)]

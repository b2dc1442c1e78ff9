"""`privyseal audit`: the account's audit, listed and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.audit import Link


@click.group(cls=Nouns)
def audit() -> None:
    """List and verify the audit. It needs admin over the account."""


def _row(link: Link) -> dict[str, Any]:
    import msgspec

    try:
        entry = msgspec.json.decode(link.entry, type=dict[str, Any])
    except msgspec.MsgspecError:
        entry = {}
    about = entry.get("targets") or " ".join(str(entry[one]) for one in ("kind", "id", "rev") if one in entry)
    return {"seq": link.seq, "when": moment(entry.get("at")), **entry, "about": about, "hash": link.hash}


@audit.command("list", cls=Leaf)
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="entries after this number")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N")
@click.pass_context
def list_(context: click.Context, after: int, limit: int) -> None:
    """List entries in order, as the manager shows them (unverified: see verify)."""
    run = session(context)

    async def act(client: Client) -> list[Link]:
        return [link async for link in client.audit.entries(after, limit)]

    rows = [_row(link) for link in run.run(act)]
    run.out.table(
        [
            ("SEQ", "seq"),
            ("WHEN", "when"),
            ("OP", "op"),
            ("OUTCOME", "outcome"),
            ("CODE", "code"),
            ("ABOUT", "about"),
            ("PRINCIPAL", "principal"),
        ],
        rows,
        "no entries",
    )


@audit.command("verify", cls=Leaf)
@click.option("--since-last", is_flag=True, help="go on from where the last verification ended")
@click.pass_context
def verify(context: click.Context, since_last: bool) -> None:
    """Recompute the chain and compare it with what this client saw before: changes, gaps, forks and a cut end are found."""
    run = session(context)
    verdict = run.run(lambda client: client.audit.verify(since_last=since_last))
    from shared.canonical import b64u

    before = f", {verdict.before.seq} of them seen before" if verdict.before.seq and not since_last else ""
    run.out.done(
        f"the audit holds: {verdict.entries} entries{before}; head {verdict.head.seq} {b64u(verdict.head.hash)}",
        entries=verdict.entries,
        seq=verdict.head.seq,
        hash=b64u(verdict.head.hash),
        seen_before=verdict.before.seq,
    )

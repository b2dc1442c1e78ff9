"""`privyseal delegate`: who is connected, and the revocation of one identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from client.cli.explain import choice
from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.sdk import Client


@click.group(cls=Nouns)
def delegate() -> None:
    """List, show, explain and revoke delegates."""


delegate.add_command(choice)


@delegate.command("list", cls=Leaf)
@click.option("--search", metavar="TEXT", default="", help="whose name, selectors, keyring, version or id have it")
@click.option("--selector", "selectors", multiple=True, metavar="SELECTOR", help="that have this one; all, if several")
@click.pass_context
def list_(context: click.Context, search: str, selectors: tuple[str, ...]) -> None:
    """List delegates as the manager knows them; CERTIFIED says whether the account's keyring vouches for them."""
    run = session(context)
    found = run.run(lambda client: client.views.delegates(search, selectors))
    rows: list[dict[str, Any]] = [
        {
            **one,
            "load": load_of(one),
            "clock": clock_of(one),
            "seen": moment(one.get("last_seen")),
            "connected": moment(one.get("connected_at")),
        }
        for one in found
    ]
    run.out.table(
        [
            ("NAME", "name"),
            ("STATE", "state"),
            ("CERTIFIED", "certified"),
            ("SELECTORS", "tags"),
            ("GROUP", "group"),
            ("KEYRING", "keyring"),
            ("GENERATIONS", "generations"),
            ("LOAD", "load"),
            ("CLOCK", "clock"),
            ("LAST SEEN", "seen"),
            ("VERSION", "version"),
            ("ID", "delegate"),
        ],
        rows,
        "no such delegate is connected or was within the last hour"
        if search or selectors
        else "no delegate is connected or was within the last hour",
    )


@delegate.command("get", cls=Leaf)
@click.argument("id")
@click.pass_context
def get(context: click.Context, id: str) -> None:
    """Show one delegate, by its name or its id: its load, its limits, and why it takes no tasks if it doesn't."""
    run = session(context)
    one = run.run(lambda client: client.views.delegate(id))
    run.out.record({**one, "load": load_of(one), "clock": clock_of(one)})


def clock_of(one: Mapping[str, Any]) -> str:
    """By how many seconds its clock is ahead of the manager's, where it says so."""
    seconds = one.get("clock")
    return f"{seconds:+d} s" if isinstance(seconds, int) else ""


def load_of(one: Mapping[str, Any]) -> str:
    """Tasks of how many, and what it uses of which resource; the limit where it is over it."""
    parts = [f"{one.get('executing', '?')}/{one.get('capacity', '?')}"]
    for name in ("cpu", "memory"):
        use = one.get(name)
        if isinstance(use, dict):
            over = f" (over {use.get('limit_percent')}%)" if use.get("over") else ""
            parts.append(f"{name} {use.get('percent')}%{over}")
    return " ".join(parts)


@delegate.command("revoke", cls=Leaf)
@click.argument("id")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def revoke(context: click.Context, id: str, yes: bool) -> None:
    """Cut a delegate off and block its identity.

    Whoever holds its keyring can still certify another: to shut the holder out, privyseal keyring rotate --compromised.
    """
    run = session(context)

    async def act(client: Client) -> str:
        full = await client.views.thumbprint(id)
        confirm(f"Revoke the delegate {full}?", "--yes", yes)
        await client.publisher.revoke_key(full)
        return full

    full = run.run(act)
    run.out.done(f"revoked the delegate {full}", delegate=full)

"""`privyseal group`: the tags that all delegates of a group have besides their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, session
from shared.errors import Malformed

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.documents.group import GroupDocument
    from shared.documents.jws import Verified


@click.group(cls=Nouns)
def group() -> None:
    """Give tags to all delegates of a group (--group of privyseal-delegate) at once, without restarting any."""


@group.command("list", cls=Leaf)
@click.pass_context
def list_(context: click.Context) -> None:
    """List the groups that have tags, and who of the connected delegates is of them."""
    run = session(context)
    rows = run.run(_rows)
    run.out.table(
        [
            ("GROUP", "group"),
            ("TAGS", "tags"),
            ("DELEGATES", "delegates"),
            ("CHANGED", "changed"),
            ("SIGNER", "signer"),
        ],
        rows,
        "no group has tags yet: privyseal group set NAME --tag TAG",
    )


@group.command("show", cls=Leaf)
@click.argument("name")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show one group: its tags, and who of the connected delegates is of it."""
    run = session(context)

    async def act(client: Client) -> dict[str, Any]:
        found = await client.groups.get(name)
        return _row(found, await client.views.delegates())

    run.out.record(run.run(act))


@group.command("set", cls=Leaf)
@click.argument("name")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="exactly these, once for each")
@click.option("--add", multiple=True, metavar="TAG", help="besides those that it has")
@click.option("--remove", multiple=True, metavar="TAG", help="no longer this one")
@click.option("--no-tags", is_flag=True, help="none at all; its name stays a tag")
@click.pass_context
def set_(
    context: click.Context,
    name: str,
    tags: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    no_tags: bool,
) -> None:
    """Say which tags the delegates of a group have, besides its name and their own. Counts from the next task on.

    Only an administrator does. Together with the group the account's status is signed anew: a delegate that was shown the
    status and not the group takes no tasks until it has both.
    """
    run = session(context)
    if not (tags or add or remove or no_tags) or (no_tags and (tags or add)):
        raise Malformed(
            "tags_unclear", "it isn't said which tags the group is to have", "--tag, --add, --remove or --no-tags"
        )
    wanted: Sequence[str] | None = () if no_tags else tags or None
    made = run.run(lambda client: client.groups.set(name, wanted, add=add, remove=remove)).document
    run.out.done(
        f"the delegates of {made.id} have the tags {', '.join(made.tags) or 'of their own alone'}",
        group=made.id,
        tags=list(made.tags),
        revision=made.rev,
    )


@group.command("delete", cls=Leaf)
@click.argument("name")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def delete(context: click.Context, name: str, yes: bool) -> None:
    """Take a group's tags from its delegates. Its name stays a tag of those who say that they are of it."""
    run = session(context)
    confirm(f"Delegates that have tags by the group {name} lose them. Go on?", "--yes", yes)
    gone = run.run(lambda client: client.groups.delete(name)).document
    run.out.done(f"deleted the group {gone.id}", group=gone.id, revision=gone.rev)


async def _rows(client: Client) -> list[dict[str, Any]]:
    found = await client.groups.all()
    delegates = await client.views.delegates()
    return [_row(one, delegates) for one in found]


def _row(one: Verified[GroupDocument], delegates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    document = one.document
    mine = {str(other.get("name")) for other in delegates if other.get("group") == document.id and _is_here(other)}
    return {
        "group": document.id,
        "tags": list(document.tags),
        "delegates": sorted(mine),
        "revision": document.rev,
        "changed": moment(document.iat),
        "signer": one.kid,
    }


def _is_here(one: dict[str, Any]) -> bool:
    return one.get("certified") == "yes" and one.get("state") != "disconnected"

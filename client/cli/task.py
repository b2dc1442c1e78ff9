"""`privyseal task`: what was asked for, and what became of it, by the manager's word."""

from __future__ import annotations

from typing import Any

import click

from client.cli.digests import OfDigest
from client.cli.explain import task as explain
from client.cli.output import moment
from client.cli.session import Leaf, Nouns, session


@click.group(cls=Nouns)
def task() -> None:
    """List, show, explain and cancel tasks."""


task.add_command(explain)


def _row(told: dict[str, Any]) -> dict[str, Any]:
    return {
        **told,
        "submitted": moment(told.get("submitted_at")),
        "finished": moment(told.get("finished_at")),
    }


@task.command("list", cls=Leaf)
@click.option("--all", "everything", is_flag=True, help="everybody's, for administrators")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, metavar="N")
@click.pass_context
def list_(context: click.Context, everything: bool, limit: int) -> None:
    """List tasks, the newest first."""
    run = session(context)
    found = run.run(lambda client: client.views.tasks(limit, everybody=everything))
    run.out.table(
        [
            ("TASK", "task"),
            ("OP", "op"),
            ("STATE", "state"),
            ("CODE", "code"),
            ("DELEGATE", "name"),
            ("ATTEMPTS", "attempts"),
            ("SUBMITTED", "submitted"),
        ],
        [_row(one) for one in found],
        "no tasks",
    )


@task.command("show", cls=OfDigest)
@click.argument("id")
@click.pass_context
def show(context: click.Context, id: str) -> None:
    """Show one task."""
    run = session(context)
    run.out.record(_row(run.run(lambda client: client.views.task(id))))


@task.command("cancel", cls=OfDigest)
@click.argument("id")
@click.pass_context
def cancel(context: click.Context, id: str) -> None:
    """Give a task up. What runs already may have happened all the same."""
    run = session(context)
    run.run(lambda client: client.views.cancel(id))
    run.out.done(f"cancelled {id}", task=id)

"""`privyseal order`: what delegates do again and again, by one signature, and what came of it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from client.choice import Choice
from client.cli.delegates import choosing
from client.cli.output import moment
from client.cli.pairs import pairs
from client.cli.prompts import confirm
from client.cli.running import running
from client.cli.session import Leaf, Nouns, session
from client.cli.usage import stated, stating
from client.cli.variables import variables_of, varying
from shared.documents.order import LONGEST_ORDER_SECONDS
from shared.errors import Malformed

if TYPE_CHECKING:
    from client.orders import Ordered, Timing
    from client.run_outcomes import OpenedRun, Run
    from client.sdk import Client
    from shared.documents.jws import Verified
    from shared.documents.order import OrderDocument

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@click.group(cls=Nouns)
def order() -> None:
    """Have delegates run a command or test secret managers again and again, by one signature, with nobody there.

    An order lasts 90 days at most. Each run is checked by the delegate as a task is, by its own clock: the signature, that no newer
    revision is known, the grants behind it, and that the run is due. A run that nobody could begin in its time is skipped.
    """


@order.command("create", cls=Leaf)
@click.argument("name")
@click.option(
    "--every", metavar="TIME", help="time from one run to the next: 90s, 15m, 6h, 1d; without it there is one run"
)
@click.option(
    "--for", "lasting", default="30d", show_default=True, metavar="TIME", help="how long it lasts, at most 90d"
)
@click.option("--runs", type=click.IntRange(min=1), metavar="N", help="no more runs than these")
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME=REFERENCE", help="a secret as a variable of the command"
)
@running("how long a run may take")
@click.option(
    "--check", "connectors", multiple=True, metavar="CONNECTOR", help="instead of a command: test this secret manager"
)
@choosing
@varying
@stating
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.pass_context
def create(
    context: click.Context,
    name: str,
    every: str | None,
    lasting: str,
    runs: int | None,
    secrets: tuple[str, ...],
    plain: tuple[str, ...],
    directory: str,
    timeout: int,
    connectors: tuple[str, ...],
    delegates: Choice,
    variables: tuple[str, ...],
    application: str | None,
    environment: str | None,
    command: tuple[str, ...],
) -> None:
    """Give an order: a command with secrets in its environment, or with --check tests of secret managers.

    By signing it you say that a run does no harm when it happens twice. It is about the revisions and versions that there are now:
    when one of them changes its runs end, and say so, until you sign it anew with `privyseal order renew`. The delegate's owner has to
    allow commands (exec in its policy file). What came of runs opens here alone: the key lies in PRIVYSEAL_HOME.
    """
    run = session(context)
    if bool(command) == bool(connectors):
        raise Malformed("order_unclear", "an order is for a command or for --check", "write -- COMMAND..., or --check")
    timing, usage = _timing(every, lasting, runs), stated(application, environment)
    given, more, named = pairs("--secret", secrets), pairs("--env", plain), variables_of(variables)

    async def act(client: Client) -> Verified[OrderDocument]:
        if connectors:
            return await client.orders.check(name, timing, connectors, selectors=delegates, usage=usage)
        return await client.orders.command(
            name,
            timing,
            command,
            given,
            env=more,
            directory=directory,
            seconds=timeout,
            selectors=delegates,
            usage=usage,
            variables=named,
        )

    made = run.run(act).document
    run.out.done(f"ordered {made.name} until {moment(made.exp)}", **_facts(made))


@order.command("list", cls=Leaf)
@click.option("--all", "everybodys", is_flag=True, help="everybody's, for who administers the account")
@click.pass_context
def list_(context: click.Context, everybodys: bool) -> None:
    """List your orders: when the next run is, and how the last one ended by the manager's word."""
    run = session(context)

    async def act(client: Client) -> list[dict[str, Any]]:
        now = client.account.clock()
        return [_row(one, now) for one in await client.orders.all(everybodys=everybodys)]

    run.out.table(
        [
            ("NAME", "name"),
            ("OP", "op"),
            ("STATE", "state"),
            ("EVERY", "every"),
            ("NEXT", "next"),
            ("LAST", "last"),
            ("MISSED", "overdue"),
            ("UNTIL", "until"),
            ("ID", "id"),
        ],
        run.run(act),
        "you gave no order: privyseal order create",
    )


@order.command("show", cls=Leaf)
@click.argument("name")
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Show one order, as it is signed."""
    run = session(context)

    async def act(client: Client) -> dict[str, Any]:
        found = await client.orders.find(name, everybodys=client.account.is_administrator)
        document = found.order.document
        return {
            **_row(found, client.account.clock()),
            "revision": document.rev,
            "digest": found.order.digest,
            "owner": document.owner,
            "begins": moment(document.iat),
            "runs": document.runs,
            "timeout": document.seconds,
            "keyring": document.keyring,
            "selectors": [f"{one.selector} ({one.origin})" for one in document.selectors],
            "where": document.where,
            "targets": [one.secret or one.connector for one in document.targets],
        }

    run.out.record(run.run(act))


@order.command("runs", cls=Leaf)
@click.argument("name")
@click.option("--open", "opened", is_flag=True, help="open what came of the last one, or of --run")
@click.option("--run", "n", type=click.IntRange(min=0), metavar="N", help="open what came of this one, by its number")
@click.pass_context
def runs_(context: click.Context, name: str, opened: bool, n: int | None) -> None:
    """List an order's runs, the newest first, or open what came of one.

    The list is the manager's word. What --open shows was signed by the delegate that did it, for that run. The last hundred runs
    are kept, and of a command's output 1 MiB.
    """
    run = session(context)
    if opened or n is not None:
        _print(run.run(lambda client: client.orders.open(name, n)), run.out)
        return

    async def act(client: Client) -> list[dict[str, Any]]:
        _, found = await client.orders.runs(name)
        return [_told(one) for one in found]

    run.out.table(
        [
            ("RUN", "n"),
            ("REVISION", "revision"),
            ("STARTED", "started"),
            ("STATE", "state"),
            ("CODE", "code"),
            ("DELEGATE", "delegate"),
            ("SKIPPED", "skipped"),
            ("TASK", "task"),
        ],
        run.run(act),
        "it hasn't run yet; who could take it, and why not: privyseal delegate explain",
    )


@order.command("renew", cls=Leaf)
@click.argument("name")
@click.option(
    "--for", "lasting", metavar="TIME", help="how long from now, in whole days: 30d; by default as long as before"
)
@click.option("--runs", type=click.IntRange(min=1), metavar="N", help="no more runs than these")
@click.pass_context
def renew(context: click.Context, name: str, lasting: str | None, runs: int | None) -> None:
    """Sign an order anew from now on, about the newest revisions and versions of what it names."""
    run = session(context)
    days = days_of(lasting) if lasting is not None else None
    made = run.run(lambda client: client.orders.renew(name, days, runs)).document
    run.out.done(f"renewed {made.name} until {moment(made.exp)}", **_facts(made))


@order.command("cancel", cls=Leaf)
@click.argument("name")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def cancel(context: click.Context, name: str, yes: bool) -> None:
    """End an order: a run that is under way is ended, and no other begins. An administrator ends anybody's.

    A manager that withheld this from delegates could go on until the order's end: where you don't trust it, revoke the grant too.
    """
    run = session(context)
    confirm(f"No further run of {name} begins. Go on?", "--yes", yes)
    gone = run.run(lambda client: client.orders.cancel(name)).document
    run.out.done(f"cancelled {gone.name}", **_facts(gone))


def _timing(every: str | None, lasting: str, runs: int | None) -> Timing:
    from client.orders import Timing

    timing = Timing(_seconds("--every", every) if every else 0, _seconds("--for", lasting), runs)
    timing.check()
    return timing


def _seconds(option: str, text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if found is None:
        raise Malformed("time_malformed", f"{option} is no time", f"write {option} 90s, 15m, 6h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def days_of(text: str) -> int:
    """What `renew --for` says: a time as `create` takes it, or a number of days. Raises Malformed."""
    days, rest = divmod(_seconds("--for", f"{text}d" if text.isdecimal() else text), _UNITS["d"])
    if rest or not 1 <= days <= LONGEST_ORDER_SECONDS // _UNITS["d"]:
        raise Malformed("time_malformed", "--for is no whole number of days, 1 to 90", "write --for 30d")
    return days


def _facts(document: OrderDocument) -> dict[str, Any]:
    return {
        "order": document.name,
        "id": document.id,
        "revision": document.rev,
        "every": document.interval,
        "runs": document.runs,
        "until": moment(document.exp),
    }


def _row(one: Ordered, now: int) -> dict[str, Any]:
    from shared.orders import next_start

    document, last = one.order.document, one.last
    following = next_start(document, now) if one.state(now) == "standing" else None
    return {
        "name": document.name,
        "id": document.id,
        "op": document.op,
        "state": one.state(now),
        "every": document.interval or "once",
        "next": moment(following) if following is not None else "",
        "last": f"{last.state} ({last.code})"
        if last is not None and last.code
        else last.state
        if last is not None
        else "",
        "overdue": one.overdue,
        "until": moment(document.exp),
    }


def _told(one: Run) -> dict[str, Any]:
    return {
        "n": one.n,
        "revision": one.rev,
        "started": moment(one.started_at),
        "finished": moment(one.finished_at) if one.finished_at is not None else "",
        "state": one.state,
        "code": one.code,
        "delegate": one.name,
        "skipped": one.skipped,
        "task": one.run,
    }


def _print(opened: OpenedRun, out: Any) -> None:
    finished, printed = opened.finished, opened.printed
    told: dict[str, Any] = {**_told(opened.run), "delegate": opened.opened.name, "code": opened.opened.code}
    if finished is None or printed is None:
        told["items"] = [getattr(one, "code", "ok") for one in opened.opened.items]
        out.record(told)
        return
    ended = {
        "exit": finished.exit,
        "signal": finished.signal,
        "reason": finished.reason,
        "truncated": finished.truncated,
    }
    if out.format != "table":
        texts = {"stdout": _text(printed.out), "stderr": _text(printed.err)}
        out.data({**told, **ended, **texts, "whole": printed.is_whole})
        return
    for file, data in ((sys.stdout.buffer, printed.out), (sys.stderr.buffer, printed.err)):
        file.write(data)
        file.flush()
    how = f"exit {finished.exit}" if finished.exit is not None else f"signal {finished.signal}"
    out.note(f"run {opened.run.n} on {opened.opened.name}: {how} ({finished.reason})")
    if not printed.is_whole:
        out.warning("the end of what it wrote wasn't kept")


def _text(raw: bytes) -> str:
    """As text, what is none replaced: a command's output is for people."""
    return raw.decode("utf-8", "replace")

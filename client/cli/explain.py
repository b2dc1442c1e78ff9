"""`privyseal task explain`, `privyseal delegate explain`: why a task went where it did, and where the next one would go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from client.choice import Choice
from client.cli.delegates import choosing
from client.cli.digests import OfDigest
from client.cli.output import Output, moment, plain
from client.cli.rules import RULES, rows_of, those
from client.cli.session import Leaf, session


@click.command("explain", cls=Leaf)
@click.option("--connector", "reference", required=True, metavar="REF", help="the connector that a task would be about")
@click.option(
    "--op",
    type=click.Choice(["reveal", "store", "exec", "check", "delete"]),
    default="reveal",
    show_default=True,
    help="what the task would do",
)
@choosing
@click.option(
    "--scope", default="", metavar="SCOPE", help="where its secret lives: account, org/ORG, org/ORG/project/PROJECT"
)
@click.pass_context
def choice(context: click.Context, reference: str, op: str, delegates: Choice, scope: str) -> None:
    """Say which delegate would get a task now, and of every delegate each rule. Nothing is sent to any of them."""
    run = session(context)
    run.check_reference(reference)
    told = run.run(lambda client: client.explanations.choice(reference, op, selectors=delegates, scope=scope))
    if run.out.format != "table":
        run.out.data(told)
        return
    run.out.record({"op": told["op"], "connector": told["connector"], "needs": _needs(told["wanted"]), **_answer(told)})
    print()
    run.out.table(RULES, rows_of(told["delegates"]), "no delegate is connected to this account")
    _more(run.out, told)


def _answer(told: Mapping[str, Any]) -> dict[str, Any]:
    winner = told["winner"]
    if winner is not None:
        found = f"{winner.get('name')}: {winner.get('why')}"
    elif told["drawn"]:
        found = f"one of these, drawn by the client: {', '.join(told['drawn'])}"
    else:
        found = "nobody can take it; a task would wait for room" if told["waits"] else "nobody can take it"
    return {"winner": found, **({} if told["certified"] == "yes" else {"certified": told["certified"]})}


@click.command("explain", cls=OfDigest)
@click.argument("id")
@click.pass_context
def task(context: click.Context, id: str) -> None:
    """Say why a task went where it did: who was tried when, and who couldn't have it then; also while it is under way."""
    run = session(context)
    told = run.run(lambda client: client.explanations.task(id))
    if run.out.format != "table":
        run.out.data(told)
        return
    shown = {key: told.get(key) for key in ("task", "op", "state", "code", "attempts")}
    run.out.record({**shown, "delegate": told.get("name"), "needs": _needs(told.get("wanted"))})
    print()
    run.out.table(
        [
            ("WHEN", "when"),
            ("WHAT", "what"),
            ("DELEGATE", "name"),
            ("CODE", "code"),
            ("WHY", "why"),
            ("REMEDY", "remedy"),
        ],
        list(_steps(those(told.get("steps")))),
        "it was given to nobody yet",
    )
    waiting = those(told.get("delegates"))
    if waiting:
        print()
        run.out.table(RULES, rows_of(waiting))
    _more(run.out, told)


def _steps(steps: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """A line for each step, and one for each reason of those who were passed over then."""
    for step in steps:
        yield {**step, "when": moment(step.get("at"))}
        given = step.get("passed_over")
        passed: Mapping[str, Any] = given if isinstance(given, dict) else {}
        for group in those(passed.get("refused")):
            for reason in those(group.get("reasons")):
                said = {key: reason.get(key) for key in ("code", "remedy")}
                yield {"what": "passed over", "name": group.get("delegates"), "why": reason.get("detail"), **said}
        others = passed.get("others")
        for code, count in others.items() if isinstance(others, dict) else ():
            yield {"what": "passed over", "name": f"{count} more", "code": code}


def _needs(wanted: object) -> list[str]:
    return [f"{key}: {plain(value)}" for key, value in wanted.items() if value] if isinstance(wanted, dict) else []


def _more(out: Output, told: Mapping[str, Any]) -> None:
    others = told.get("others")
    if isinstance(others, dict) and others:
        out.note(f"not shown: {', '.join(f'{count} {code}' for code, count in others.items())}")

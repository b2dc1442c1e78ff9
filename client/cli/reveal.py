"""`privyseal reveal`: opens values here and writes them where they were asked for, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.choice import Choice
from client.cli.delegates import choosing
from client.cli.session import Leaf, Session, session
from client.cli.usage import stated, stating
from client.cli.variables import variables_of, varying
from client.cli.waiting import waiting
from client.home import write_private
from shared.errors import Malformed, PrivySealError

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.crypto.output import Item
    from shared.crypto.plaintext import Plaintext


@click.command(cls=Leaf)
@click.argument("references", nargs=-1, required=True, metavar="REFERENCE...")
@click.option("--version", "version", type=click.IntRange(1), metavar="N", help="this version instead of the newest")
@click.option("--out", metavar="FILE", help="write the value there, mode 0600")
@click.option("--excluded", is_flag=True, help="also a value of an excluded keyring generation: it may be forged")
@choosing
@varying
@stating
@click.pass_context
@waiting
def reveal(
    context: click.Context,
    references: tuple[str, ...],
    version: int | None,
    out: str | None,
    excluded: bool,
    delegates: Choice,
    variables: tuple[str, ...],
    application: str | None,
    environment: str | None,
) -> int:
    """Open secrets' values.

    A reference is account.NAME, org.NAME or NAME; or TYPE://CONNECTOR/PATH#KEY for what a connector reads without a stored
    secret, which takes a grant of fetch over that path; or an expression that makes either, as in <+secrets.getValue("x")>.

    To a pipe one value goes out exactly as it was stored; a terminal gets a line break after it. Several values come as
    lines of reference, tab and value, or as JSON with --output json. A value that was stored under an excluded generation of
    its keyring comes only with --excluded, since whoever has the old keyring may have forged it: compare it with another
    source before you use it.
    """
    run, usage, named = session(context), stated(application, environment), variables_of(variables)
    if len(references) > 1 and (version or out):
        raise Malformed("one_reference_only", "--version and --out are for one reference", "name one secret")

    async def act(client: Client) -> list[Item]:
        if version is not None:
            one = await client.reveal(
                references[0], version=version, selectors=delegates, excluded=excluded, usage=usage, variables=named
            )
            return [one]
        return await client.reveal_all(references, selectors=delegates, excluded=excluded, usage=usage, variables=named)

    items = run.run(act)
    failed = [item for item in items if isinstance(item, PrivySealError)]
    if len(items) == 1 and failed:
        raise failed[0]
    values = dict(zip(references, items, strict=True))
    if out:
        value = items[0]
        assert not isinstance(value, PrivySealError)
        write_private(Path(out).expanduser().absolute(), value.reveal())
        run.out.note(f"written to {out}")
    elif run.output in {"json", "yaml"}:
        run.out.data(_for_programs(values))
    elif len(items) == 1:
        _write(items[0])
    else:
        _write_lines(run, values)
    return failed[0].exit_status if failed else 0


def _write(value: Item) -> None:
    assert not isinstance(value, PrivySealError)
    raw = value.reveal()
    if sys.stdout.isatty():
        if not _is_text(raw):
            raise Malformed(
                "value_unprintable", "the value is not text and would garble the terminal", "use --out FILE or a pipe"
            )
        raw = raw.removesuffix(b"\n") + b"\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def _write_lines(run: Session, values: dict[str, Item]) -> None:
    for reference, item in values.items():
        if isinstance(item, PrivySealError):
            run.out.error(item)
            continue
        raw = item.reveal()
        if not _is_text(raw) or b"\n" in raw.removesuffix(b"\n"):
            raise Malformed(
                "value_not_a_line",
                f"the value of {reference} is not a line of text",
                "use --output json, or one at a time",
            )
        sys.stdout.buffer.write(reference.encode() + b"\t" + raw.removesuffix(b"\n") + b"\n")
    sys.stdout.buffer.flush()


def _for_programs(values: dict[str, Item]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for reference, item in values.items():
        if isinstance(item, PrivySealError):
            rows.append({"reference": reference, "error": item.problem()})
        else:
            rows.append({"reference": reference, **_encoded(item)})
    return rows


def _encoded(value: Plaintext) -> dict[str, str]:
    """Text as it is, other bytes in base64."""
    import base64

    raw = value.reveal()
    try:
        return {"value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def _is_text(raw: bytes) -> bool:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(one.isprintable() or one in "\n\t\r" for one in text)

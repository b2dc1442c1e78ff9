"""`privyseal keyring`: makes, rotates and shows keyrings. Seeds stay in the file that their owner guards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.cli.output import moment
from client.cli.prompts import confirm
from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.sdk import Client
    from shared.crypto.keyring import Keyring
    from shared.documents.jws import Verified
    from shared.documents.secret import SecretDocument


@click.group(cls=Nouns)
def keyring() -> None:
    """Make, rotate and show keyrings: one for each zone of trust."""


@keyring.command("new", cls=Leaf)
@click.argument("name")
@click.option("--keyring-out", metavar="FILE", help="where to write it [NAME-keyring.json]")
@click.option(
    "--platform", is_flag=True, help="for the platform's own delegates: connectors with executeOnDelegate: false"
)
@click.option("--i-have-a-backup", is_flag=True, help="the file will be backed up; don't ask")
@click.pass_context
def new(context: click.Context, name: str, keyring_out: str | None, platform: bool, i_have_a_backup: bool) -> None:
    """Make a keyring for a new zone, with a built-in connector local_NAME. An interrupted one is completed.

    With --platform its delegates serve connectors with executeOnDelegate: false and no others; every other keyring's
    delegates serve all but those.
    """
    run = session(context)
    path = Path(keyring_out or f"{name}-keyring.json").expanduser().absolute()
    confirm(
        f"The file {path} will open every secret of its zone. Will you back it up now?",
        "--i-have-a-backup",
        i_have_a_backup,
    )
    made = run.run(lambda client: client.keyrings.create(name, path, platform=platform))
    run.out.done(
        f"made the keyring {name}: {path}\nGive it to the delegates of its zone; its connector is account.local_{name}",
        keyring=made.name,
        path=str(path),
        connector=f"local_{name}",
        platform=platform,
    )


@keyring.command("rotate", cls=Leaf)
@click.argument("name")
@click.option(
    "--keyring-file", required=True, metavar="FILE", help="the keyring's file; its older form is kept beside it"
)
@click.option("--compromised", is_flag=True, help="exclude the older generations: somebody has them")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def rotate(context: click.Context, name: str, keyring_file: str, compromised: bool, yes: bool) -> None:
    """Add a generation to a keyring.

    Delegates need the new file before they can take tasks again. Where the keyring has an OIDC issuer, publish its keys before
    that (privyseal oidc publish), since ID tokens are signed with the new one. With --compromised the older generations no longer count:
    nothing is sealed to them and no delegate is certified by them, and what they stored comes only with reveal --excluded,
    since it may be forged. The secrets whose values somebody may know by now are listed: change each where it is used, then
    store it again.
    """
    run = session(context)
    path = Path(keyring_file).expanduser().absolute()
    if compromised:
        confirm("Delegates that have only older generations are shut out after this. Go on?", "--yes", yes)

    async def act(client: Client) -> tuple[Keyring, str, list[Verified[SecretDocument]]]:
        rotated = await client.keyrings.rotate(name, path, compromised=compromised)
        issuer = client.account.book.keyrings[name].document.issuer
        return rotated, issuer, await client.keyrings.dependents(name) if compromised else []

    rotated, issuer, exposed = run.run(act)
    rows = _rows(exposed)
    if issuer:
        run.out.warning(_publish(name, issuer, compromised))
    run.out.done(
        f"the keyring {name} is at generation {rotated.newest.number}\n"
        f"Give {path} to its delegates and restart them; back it up.",
        keyring=name,
        generation=rotated.newest.number,
        path=str(path),
        compromised=compromised,
        issuer=issuer,
        to_rotate=rows,
    )
    if exposed and run.out.format == "table":
        run.out.note(
            "\nWhoever has the old keyring may know these values. Change each where it is used, then store it again; until "
            "then it comes only with reveal --excluded, and may be forged:"
        )
        run.out.table([("SECRET", "identifier"), ("SCOPE", "scope")], rows)


@keyring.command("exclude", cls=Leaf)
@click.argument("name")
@click.option("--yes", is_flag=True, help="don't ask")
@click.pass_context
def exclude(context: click.Context, name: str, yes: bool) -> None:
    """Exclude every generation of a keyring but the current one: delegates that have only older ones are shut out.

    What was stored under the older ones comes only with reveal --excluded from then on, until it is stored anew.
    """
    run = session(context)
    confirm("Delegates that have only older generations are shut out after this. Go on?", "--yes", yes)

    async def act(client: Client) -> tuple[int, str, list[Verified[SecretDocument]]]:
        floor = await client.keyrings.exclude(name)
        return floor, client.account.book.keyrings[name].document.issuer, await client.keyrings.dependents(name)

    floor, issuer, dependents = run.run(act)
    rows = _rows(dependents)
    if issuer:
        run.out.warning(_publish(name, issuer, True))
    run.out.done(f"of the keyring {name} only generation {floor} counts now", keyring=name, floor=floor, secrets=rows)
    if rows and run.out.format == "table":
        run.out.note(
            "\nWhat these secrets have from older generations comes only with reveal --excluded, and may be forged, until "
            "it is stored anew:"
        )
        run.out.table([("SECRET", "identifier"), ("SCOPE", "scope")], rows)


@keyring.command("show", cls=Leaf)
@click.argument("name", required=False)
@click.pass_context
def show(context: click.Context, name: str | None) -> None:
    """Show keyrings, without anything secret."""
    run = session(context)
    found = run.run(lambda client: client.keyrings.all())
    rows: list[dict[str, Any]] = [
        {
            "keyring": one.document.id,
            "generation": one.document.gen,
            "accepted": [certifier.gen for certifier in one.document.certifiers],
            "platform": one.document.platform,
            "issuer": one.document.issuer,
            "revision": one.document.rev,
            "changed": moment(one.document.iat),
            "signer": one.kid,
        }
        for one in found
        if name in {None, one.document.id}
    ]
    columns = [
        ("KEYRING", "keyring"),
        ("GENERATION", "generation"),
        ("ACCEPTED", "accepted"),
        ("PLATFORM", "platform"),
        ("ISSUER", "issuer"),
        ("CHANGED", "changed"),
    ]
    run.out.table(columns, rows, "no such keyring")


def _publish(name: str, issuer: str, excluded: bool) -> str:
    why = "clouds still believe the excluded keys there" if excluded else "clouds don't know the new key yet"
    return f"{why}: publish {issuer} anew before delegates start, privyseal oidc publish DIRECTORY --keyring {name}"


def _rows(secrets: list[Verified[SecretDocument]]) -> list[dict[str, Any]]:
    return [
        {"identifier": one.document.identifier, "scope": one.document.scope, "id": one.document.id} for one in secrets
    ]

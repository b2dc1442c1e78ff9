"""`privyseal oidc`: gives a keyring an issuer that clouds trust, and writes what they read of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from client.cli.session import Leaf, Nouns, session

if TYPE_CHECKING:
    from client.oidc import Holder, Issuer
    from client.sdk import Client

LONGEST_GOOGLE_SUBJECT = 127
"""Bytes of `google.subject` (cloud.google.com/iam/docs/workload-identity-federation)."""


@click.group(cls=Nouns)
def oidc() -> None:
    """Let clouds trust a keyring's delegates by ID tokens, instead of stored credentials. See docs/oidc.md."""


_KEYRING = click.option("--keyring", metavar="NAME", help="the keyring [that of the built-in]")


@oidc.command("enable", cls=Leaf)
@click.option("--issuer", required=True, metavar="URL", help="where its keys will be published, https://HOST/PATH")
@_KEYRING
@click.option("--replace", is_flag=True, help="in the place of another issuer; policies that name that one then refuse")
@click.pass_context
def enable(context: click.Context, issuer: str, keyring: str | None, replace: bool) -> None:
    """Sign the keyring's next revision, which names its issuer. Publish its keys next: privyseal oidc publish."""
    run = session(context)

    async def act(client: Client) -> Issuer:
        return await client.issuers.enable(issuer, keyring, replace=replace)

    enabled = run.run(act)
    _, chosen = run.chosen()
    if urlsplit(issuer).hostname == urlsplit(chosen.manager).hostname:
        run.out.warning(
            "the issuer's host is the manager's: whoever holds the manager can publish keys of his own there and take every "
            "role that trusts it. For trying out only"
        )
    elif issuer.startswith("http://"):
        run.out.warning("an issuer on loopback is for trying out only: no cloud can read it")
    run.out.done(
        f"the keyring {enabled.keyring} speaks as {enabled.url}\n"
        f"Publish its keys there: privyseal oidc publish DIRECTORY --keyring {enabled.keyring}",
        **_described(enabled),
    )


@oidc.command("publish", cls=Leaf)
@click.argument("directory", metavar="DIRECTORY")
@_KEYRING
@click.pass_context
def publish(context: click.Context, directory: str, keyring: str | None) -> None:
    """Write what clouds read of the issuer into DIRECTORY, to be uploaded to where the issuer's URL leads.

    Do it again after each privyseal keyring rotate or exclude. Nothing in it is secret, but whoever can change it there can
    take every role that trusts the issuer: keep it away from the manager.
    """
    run = session(context)
    site = run.run(lambda client: client.issuers.publish(Path(directory).expanduser().absolute(), keyring))
    files = [{"path": str(path), "url": url, "type": "application/json"} for url, path in site.files.items()]
    lines = [f"  {one['path']}\n    at {one['url']}" for one in files]
    run.out.done(
        f"wrote what clouds read of {site.issuer.url}, {_count(len(site.issuer.keys))}\n"
        "Serve each file at its URL, as application/json and without a redirect; jwks.json first:\n" + "\n".join(lines),
        directory=directory,
        files=files,
        **_described(site.issuer),
    )


@oidc.command("show", cls=Leaf)
@click.option("--keyring", metavar="NAME", help="only this keyring")
@click.pass_context
def show(context: click.Context, keyring: str | None) -> None:
    """Show issuers, their keys, and the exact subject and audience of each connector that uses ID tokens."""
    run = session(context)

    async def act(client: Client) -> tuple[list[Issuer], list[Holder]]:
        found = [await client.issuers.find(keyring)] if keyring else await client.issuers.all()
        return found, await client.issuers.holders(keyring)

    issuers, holders = run.run(act)
    urls = {one.keyring: one.url for one in issuers}
    rows = [
        {
            "connector": one.connector.identifier,
            "scope": one.connector.scope,
            "type": one.connector.type,
            "keyring": one.connector.keyring,
            "issuer": urls.get(one.connector.keyring, ""),
            "subject": one.subject,
            "audience": one.audience,
        }
        for one in holders
    ]
    if run.out.format != "table":
        run.out.data({"issuers": [_described(one) for one in issuers], "connectors": rows})
        return
    keys = [
        {"keyring": one.keyring, "issuer": one.url, "generation": key.generation, "kid": key.kid}
        for one in issuers
        for key in one.keys or ()
    ]
    run.out.table(
        [("KEYRING", "keyring"), ("ISSUER", "issuer"), ("GENERATION", "generation"), ("KEY", "kid")],
        keys,
        "no keyring has a key for ID tokens: privyseal keyring rotate makes one",
    )
    if keys:
        print()
    for row in rows:
        run.out.record({key: row[key] for key in ("connector", "scope", "type", "keyring", "subject", "audience")})
        print()
    if not rows:
        run.out.note("no connector uses ID tokens")
    if any(len(one.subject) > LONGEST_GOOGLE_SUBJECT for one in holders):
        run.out.note(
            f"Google takes subjects of at most {LONGEST_GOOGLE_SUBJECT} bytes: map shorter claims, as docs/oidc.md tells"
        )


def _described(issuer: Issuer) -> dict[str, Any]:
    return {
        "keyring": issuer.keyring,
        "issuer": issuer.url,
        "keys": [{"generation": one.generation, "kid": one.kid, "pem": one.pem} for one in issuer.keys],
    }


def _count(keys: int) -> str:
    return "1 key" if keys == 1 else f"{keys} keys"

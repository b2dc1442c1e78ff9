"""`privyseal init`: makes an account, with every key on disk before the manager hears of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from client.cli.prompts import confirm, interactive, new_passphrase, passphrase, read_token
from client.cli.session import Leaf, Session, session
from client.clock import system_clock
from client.home import write_private
from shared.errors import Malformed, NotReady


@click.command(cls=Leaf)
@click.option("--manager", metavar="URL", help="the manager, https://HOST[:PORT]")
@click.option("--token-file", metavar="FILE", help="the operator's one-time token; asked for when not given")
@click.option("--name", required=True, metavar="NAME", help="the account's name, and the context's")
@click.option("--identity", default="default", show_default=True, metavar="NAME", help="your identity; made if missing")
@click.option("--no-passphrase", is_flag=True, help="keep a new identity without a passphrase")
@click.option("--root-out", metavar="FILE", help="where to write the root key [NAME-root.pem]")
@click.option("--recovery-out", metavar="FILE", help="write the recovery key there instead of showing it")
@click.option("--keyring-out", metavar="FILE", help="where to write the keyring [NAME-keyring-main.json]")
@click.option("--i-have-a-backup", is_flag=True, help="the keyring's file will be backed up; don't ask")
@click.option("--resume", is_flag=True, help="go on with an init that was interrupted")
@click.pass_context
def init(
    context: click.Context,
    manager: str | None,
    token_file: str | None,
    name: str,
    identity: str,
    no_passphrase: bool,
    root_out: str | None,
    recovery_out: str | None,
    keyring_out: str | None,
    i_have_a_backup: bool,
    resume: bool,
) -> None:
    """Make an account.

    Makes the root key (take it offline), a recovery key (write it down), your administrator's identity and the keyring
    `main` (back it up; give it to your delegates), signs the account's first documents, and registers it at the manager
    with the operator's one-time token. If the manager fails, `--resume` goes on with the same keys.
    """
    from client.context import Contexts, parse_origin
    from client.founding import Places, begin, complete, identity_for, unfinished
    from client.identities import Identities

    run = session(context)
    home = run.folder()
    if resume:
        founding = unfinished(home, name)
    else:
        if not manager:
            raise Malformed("manager_missing", "the manager's URL is missing", "add --manager https://HOST")
        origin = parse_origin(manager)
        Contexts(home).check_free(name)
        if not interactive() and not (recovery_out and i_have_a_backup):
            raise NotReady(
                "confirmation_missing",
                "nobody can be asked whether the recovery key is written down and the keyring backed up",
                "add --recovery-out FILE and --i-have-a-backup",
            )
        places = Places(_path(root_out or f"{name}-root.pem"), _path(keyring_out or f"{name}-keyring-main.json"))
    token = read_token(token_file)
    if resume:
        key = Identities(home).load(founding.identity, passphrase)
    else:
        key = identity_for(home, identity, passphrase, lambda: new_passphrase(no_passphrase))

        def confirmed(recovery: str) -> None:
            _confirm_recovery(recovery, recovery_out)

        ca_file = str(_path(run.ca_file)) if run.ca_file else ""
        founding = begin(home, name, origin, identity, key, places, confirmed, ca_file, system_clock)
    confirm(
        f"The keyring {founding.keyring_path} opens every secret of this account. Is a backup of it in a safe place?",
        "--i-have-a-backup",
        i_have_a_backup,
    )
    try:
        asyncio.run(complete(home, founding, token, key, system_clock))
    except Exception:
        run.out.note(f"The keys are kept. Go on with: privyseal init --resume --name {name} --token-file FILE")
        raise
    _report(run, founding.name, founding.manager, founding.account, founding.root_path, founding.keyring_path)


def _report(run: Session, name: str, manager: str, account: str, root: str, keyring: str) -> None:
    run.out.done(
        f"The account {name} is made.\n\n"
        f"  account   {account}\n"
        f"  address   {manager}/{account}\n"
        f"  root key  {root}   take it offline now: it is needed only to change administrators\n"
        f"  keyring   {keyring}   give it to your delegates, and keep a backup\n\n"
        "Next: start a delegate with the keyring, then privyseal secret set account.NAME",
        name=name,
        account=account,
        manager=manager,
        address=f"{manager}/{account}",
        root_key=root,
        keyring=keyring,
    )


def _confirm_recovery(recovery: str, out: str | None) -> None:
    if out:
        write_private(_path(out), f"{recovery}\n".encode(), once=True)
        return
    click.echo(
        "\nThis is the account's recovery key. It is a second root key, shown once and kept nowhere.\n"
        f"Write it down and put it in a safe:\n\n    {recovery}\n",
        err=True,
    )
    last = recovery.rpartition("-")[2]
    for _ in range(3):
        typed: str = click.prompt("Type its last group when it is written down", err=True)
        if typed.strip().upper() == last:
            click.clear()
            return
    raise Malformed("not_confirmed", "the recovery key wasn't confirmed; nothing was made", "begin again")


def _path(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 (as the shell would)

"""Founding an account: its keys and first documents, made here before anybody else knows of it.

Promises: every key is on disk (or shown) before the manager is asked; a founding that is interrupted goes on with the same
keys and the same account id. Must not send a private key, nor keep the recovery key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from client.clock import Clock
from client.context import Context, Contexts
from client.drafts import built_in_connector, first_status
from client.home import Home, write_private
from client.identities import Identities
from client.keyrings import new_keyring
from client.rootkeys import SEED_BYTES, recovery_text
from client.sdk import Client
from client.transport import Transport
from shared.crypto.identity import Identity
from shared.documents.account import AccountDocument, Administrator, account_id
from shared.errors import Malformed, NotReady, PrivySealError, Unauthenticated
from shared.names import check_name

FOLDER = "founding"
KEYRING = "main"

Confirm = Callable[[str], None]
"""Shown the recovery key once; returns when its owner has it in writing, else raises."""


class Founding(msgspec.Struct, frozen=True):
    """A founding under way: public documents and where the keys were put."""

    name: str
    manager: str
    account: str
    identity: str
    root_path: str
    keyring_path: str
    ca_file: str
    documents: list[str]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the keys are written; neither file may exist."""

    root: Path
    keyring: Path


_decoder = msgspec.json.Decoder(Founding)


def begin(
    home: Home,
    name: str,
    manager: str,
    identity: str,
    identity_key: Identity,
    places: Places,
    confirm: Confirm,
    ca_file: str,
    clock: Clock,
) -> Founding:
    """Makes root, recovery and keyring, and signs the first documents. Raises Malformed where a file exists already.

    Order matters: the recovery key is confirmed first, since it is kept nowhere; then files are written; nothing has been
    sent when it returns.
    """
    check_name(name, "context")
    if home.read(FOLDER, f"{name}.json") is not None:
        raise Malformed(
            "founding_unfinished", f"the account {name} is being made already", "go on with privyseal init --resume"
        )
    for path in (places.root, places.keyring):
        if path.exists():
            raise Malformed(
                "file_exists", f"{path} exists and is not overwritten", "name another file, or move it away"
            )
    root, seed = Identity.generate(), os.urandom(SEED_BYTES)
    recovery = Identity.from_seed(seed)
    now = clock()
    first = AccountDocument(
        v=1,
        acct="",
        rev=1,
        iat=now,
        name=name,
        roots=(root.key, recovery.key),
        administrators=(Administrator(check_name(identity, "administrator"), identity_key.key),),
    )
    first = msgspec.structs.replace(first, acct=account_id(first))
    keyring = new_keyring(first.acct, KEYRING)
    documents = [
        root.sign_document(first),
        *(
            identity_key.sign_document(one)
            for one in (
                first_status(first.acct, now),
                keyring.document(1, None, now),
                built_in_connector(first.acct, KEYRING, now),
            )
        ),
    ]
    confirm(recovery_text(seed))
    founding = Founding(name, manager, first.acct, identity, str(places.root), str(places.keyring), ca_file, documents)
    written: list[Path] = []
    try:
        for path, content in ((places.root, root.pem(None)), (places.keyring, keyring.text())):
            write_private(path, content, once=True)
            written.append(path)
        home.write(msgspec.json.encode(founding), FOLDER, f"{name}.json", once=True)
    except PrivySealError:
        # Nobody has heard of these keys yet, and half of them would only be in the way of the next try.
        for path in written:
            path.unlink()
        raise
    return founding


def unfinished(home: Home, name: str) -> Founding:
    """The founding of that name that was interrupted. Raises NotReady when there is none."""
    raw = home.read(FOLDER, f"{check_name(name, 'context')}.json")
    if raw is None:
        raise NotReady("founding_unknown", f"no account {name} is being made", "begin with privyseal init")
    try:
        return _decoder.decode(raw)
    except msgspec.MsgspecError:
        raise Malformed("founding_malformed", "the file of the unfinished founding is damaged", "begin anew") from None


async def complete(
    home: Home,
    founding: Founding,
    token: str,
    identity_key: Identity,
    clock: Clock,
    *,
    use: bool = True,
    replace: bool = False,
) -> Context:
    """Makes the account at the manager and keeps its context (`use`: as the current one, `replace`: in another's place).

    Raises what the manager says; then it can be tried again.
    """
    if not await _exists(founding, identity_key, clock):
        transport = Transport(founding.manager, founding.account, None, clock, ca_file=founding.ca_file, token=token)
        try:
            await transport.request("POST", "/v1/accounts", json={"documents": founding.documents})
        except PrivySealError:
            # The reply may have been lost after the account was made.
            if not await _exists(founding, identity_key, clock):
                raise
        finally:
            await transport.close()
    context = Context(founding.manager, founding.account, founding.identity, ca_file=founding.ca_file)
    async with Client.of_context(context, home, identity=identity_key) as client:
        await client.account.sync(force=True)
    Contexts(home).put(founding.name, context, use=use, replace=replace)
    home.path(FOLDER, f"{founding.name}.json").unlink(missing_ok=True)
    return context


async def _exists(founding: Founding, identity_key: Identity, clock: Clock) -> bool:
    transport = Transport(founding.manager, founding.account, identity_key, clock, ca_file=founding.ca_file)
    try:
        await transport.request("GET", f"/v1/accounts/{founding.account}/trust")
    except Unauthenticated:
        return False
    except PrivySealError as why:
        if why.http_status in {404, 400}:
            return False
        raise
    finally:
        await transport.close()
    return True


def identity_for(
    home: Home, name: str, passphrase: Callable[[str], bytes | None], new_passphrase: Callable[[], bytes | None]
) -> Identity:
    """The identity of that name: the existing one, or a new one under a passphrase of its owner's choice."""
    identities = Identities(home)
    if name in identities.names():
        return identities.load(name, passphrase)
    return identities.new(name, new_passphrase())

"""Who acts in the vectors: keys, ids and documents made from fixed names, so that every run makes the same bytes.

Nothing here is secret: anybody can compute these keys. `forged` signs any bytes as any kind, for the bad cases. Must not
use randomness or a clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from shared.canonical import b64u, digest, encode, sha256
from shared.crypto.identity import Identity
from shared.crypto.keyring import Keyring
from shared.crypto.seal import SealingKey
from shared.documents.account import AccountDocument, Administrator, account_id
from shared.documents.certificate import CertificateDocument
from shared.documents.connector import ConnectorDocument
from shared.documents.fields import Payload
from shared.documents.grant import DAY, GrantDocument, Principal
from shared.documents.jws import header_bytes, kind_of
from shared.documents.order import OrderDocument
from shared.documents.scope import ScopeDocument
from shared.documents.secret import SecretDocument
from shared.documents.status import DEFAULT_SECONDS, StatusDocument
from shared.documents.task import KnownStatus, Pin, Target
from shared.documents.template import TemplateContent, TemplateDocument, TemplateUse, content_digest
from shared.names import opaque_id
from tests.fakes.issuers import ISSUER_KEYS

NOW = 1_800_000_000
KEYRING = "main"
PROJECT = "org/orders/project/backend"


def fixed(name: str, length: int = 32) -> bytes:
    """Bytes that only depend on the name."""
    return sha256(b"privyseal vectors " + name.encode())[:length]


def identity(name: str) -> Identity:
    """The Ed25519 identity of that name."""
    return Identity.from_seed(fixed(f"identity {name}"))


def opaque(name: str) -> str:
    """The random-looking id of that name."""
    return opaque_id(fixed(f"id {name}", 16))


ROOT, SECOND_ROOT = identity("root"), identity("second root")
ADMINISTRATOR, SECOND_ADMINISTRATOR = identity("administrator"), identity("second administrator")
EDITOR, READER, OWNER, DEPUTY, RENEWER = map(identity, ("editor", "reader", "owner", "deputy", "renewer"))
DELEGATE, STRANGER = identity("delegate"), identity("stranger")
READER_KEY = SealingKey(fixed("reader key"))

IDENTITIES: Mapping[str, Identity] = {
    "root": ROOT,
    "second root": SECOND_ROOT,
    "administrator": ADMINISTRATOR,
    "second administrator": SECOND_ADMINISTRATOR,
    "editor": EDITOR,
    "reader": READER,
    "owner": OWNER,
    "deputy": DEPUTY,
    "renewer": RENEWER,
    "delegate": DELEGATE,
    "stranger": STRANGER,
}


def _account() -> AccountDocument:
    first = AccountDocument(
        v=1,
        acct="",
        rev=1,
        iat=NOW - DAY,
        name="Vectors",
        roots=(ROOT.key,),
        administrators=(Administrator("administrator", ADMINISTRATOR.key),),
    )
    return structs.replace(first, acct=account_id(first))


ACCOUNT_1 = _account()
ACCOUNT = ACCOUNT_1.acct
KEYS = Keyring(ACCOUNT, KEYRING, [(1, fixed("keyring 1")), (2, fixed("keyring 2"))])
KEYS_OIDC = Keyring(ACCOUNT, KEYRING, [(1, fixed("keyring 1")), (2, fixed("keyring 2"))], ISSUER_KEYS)
KEYS_1 = Keyring(ACCOUNT, KEYRING, [(1, fixed("keyring 1"))])


def status(rev: int = 1, prev: str | None = None, **changes: Any) -> StatusDocument:
    """A status of the account."""
    plain = StatusDocument(v=1, acct=ACCOUNT, id="status", rev=rev, prev=prev, iat=NOW - DAY, exp=NOW + DEFAULT_SECONDS)
    return structs.replace(plain, **changes)


def grant(name: str, holder: Identity, permissions: tuple[Any, ...], scope: str, **changes: Any) -> GrantDocument:
    """A grant of `permissions` to `holder`, for thirty days."""
    plain = GrantDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque(f"grant {name}"),
        rev=1,
        iat=NOW - DAY,
        principal=Principal(name, holder.key, "person"),
        permissions=permissions,
        scope=scope,
        exp=NOW + 30 * DAY,
    )
    return structs.replace(plain, **changes)


def scope_document(identifier: str, **changes: Any) -> ScopeDocument:
    """An organisation."""
    plain = ScopeDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque(f"scope {identifier}"),
        rev=1,
        iat=NOW - DAY,
        scope="account",
        identifier=identifier,
        name=identifier,
    )
    return structs.replace(plain, **changes)


def connector(identifier: str = "local", **changes: Any) -> ConnectorDocument:
    """A connector of the built-in kind."""
    plain = ConnectorDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque(f"connector {identifier}"),
        rev=1,
        iat=NOW - DAY,
        scope="account",
        identifier=identifier,
        name="Built-in secret manager",
        type="Local",
        keyring=KEYRING,
    )
    return structs.replace(plain, **changes)


def order(pins: tuple[Pin, ...], status: KnownStatus, **changes: Any) -> OrderDocument:
    """To test a connector every hour for a day, by the editor."""
    plain = OrderDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque("order nightly"),
        owner=EDITOR.kid,
        name="nightly",
        rev=1,
        keyring=KEYRING,
        gen=1,
        op="check",
        targets=(Target(connector=opaque("connector local")),),
        pins=pins,
        status=status,
        reader=b64u(READER_KEY.public.raw),
        jti=opaque("order"),
        iat=NOW,
        exp=NOW + DAY,
        interval=3_600,
        runs=24,
    )
    return structs.replace(plain, **changes)


def secret(identifier: str = "password", **changes: Any) -> SecretDocument:
    """A secret in the project."""
    plain = SecretDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque(f"secret {identifier}"),
        rev=1,
        iat=NOW - DAY,
        scope=PROJECT,
        identifier=identifier,
        name=identifier,
        type="SecretText",
        connector=opaque("connector local"),
    )
    return structs.replace(plain, **changes)


def template(identifier: str = "script", version: str = "1", scope: str = PROJECT, **content: Any) -> TemplateDocument:
    """A template in the project; `content` are members of its content."""
    script: dict[str, Any] = {"type": "SecretManager", "shell": "Bash", "script": "secret=x", **content}
    return TemplateDocument(
        v=1,
        acct=ACCOUNT,
        id=opaque(f"template {identifier} {version}"),
        rev=1,
        iat=NOW - DAY,
        scope=scope,
        identifier=identifier,
        version=version,
        name=identifier,
        content=TemplateContent(**script),
    )


def running(document: TemplateDocument) -> TemplateUse:
    """What a connector says that runs it."""
    return TemplateUse(id=document.id, content=content_digest(document))


def changed(payload: Any, **changes: Any) -> Any:
    """`payload` with other members."""
    return structs.replace(payload, **changes)


def certificate(**changes: Any) -> CertificateDocument:
    """The delegate's certificate."""
    plain = CertificateDocument(
        v=1,
        acct=ACCOUNT,
        keyring=KEYRING,
        gen=1,
        key=DELEGATE.key,
        name="delegate-1",
        tags=("delegate-1", "linux", "region:eu"),
        iat=NOW - 3_600,
        exp=NOW - 3_600 + 7 * DAY,
    )
    return structs.replace(plain, **changes)


def after(payload: Any, signer: Identity, **changes: Any) -> Any:
    """The revision after `payload`, which `signer` signed."""
    return structs.replace(payload, rev=payload.rev + 1, prev=digest(signer.sign_document(payload)), **changes)


def forged(
    signer: Identity, kind: str, payload: bytes, header: bytes | None = None, signature: bytes | None = None
) -> str:
    """A compact document of any payload and header, well signed unless a signature is given."""
    head = header_bytes(kind, signer.kid) if header is None else header
    signing_input = f"{b64u(head)}.{b64u(payload)}"
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode()) if signature is None else signature)}"


def plain_json(value: Any) -> bytes:
    """Canonical JSON by another encoder than the one under test."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def edited(signer: Identity, payload: Payload, edit: Callable[[dict[str, Any]], object]) -> str:
    """`payload` after `edit` changed its members in place, well signed by `signer`."""
    members = json.loads(encode(payload))
    edit(members)
    return forged(signer, kind_of(payload), plain_json(members))


def case(name: str, expect: str, **members: Any) -> dict[str, Any]:
    """One vector. `expect` is an outcome of docs/formats.md, with a finer code after a slash where there is one."""
    outcome, _, code = expect.partition("/")
    return {"name": name, "expect": outcome, **({"code": code} if code else {}), **members}


def file(about: str, cases: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    """The contents of one file of vectors."""
    names = [one["name"] for one in cases]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ValueError(f"vectors have one name: {sorted(doubled)}")
    return {"about": about, **members, "cases": cases}

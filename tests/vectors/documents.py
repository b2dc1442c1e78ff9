"""Vectors of signed documents: every kind, well formed and in every way malformed or tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import structs

from shared.canonical import b64u, digest, encode, unb64u
from shared.crypto.identity import Identity
from shared.documents.account import Administrator
from shared.documents.answer import AnswerDocument
from shared.documents.checked import CheckedDocument
from shared.documents.fields import Payload
from shared.documents.grant import PERMISSIONS, Principal
from shared.documents.group import GroupDocument
from shared.documents.jws import header_bytes, kind_of
from shared.documents.order import OrderDocument
from shared.documents.output import OutputDocument
from shared.documents.task import KnownStatus, Pin, Target, TaskDocument, WantedSelector
from shared.documents.usage import TaskUsage, Usage
from shared.trust.account import consent_message
from tests.vectors import actors as a
from tests.vectors import programs
from tests.vectors.limits import nested

Edit = Callable[[dict[str, Any]], object]

_TEXT = 'é \U0001f600 " \\ / \n \x00 \x7f \u2028'
_TAGS = {"team": "orders", "~": _TEXT}
_DIGESTS = tuple(b64u(a.fixed(f"digest {n}")) for n in range(4))


def _task(**changes: Any) -> TaskDocument:
    plain = TaskDocument(
        v=1,
        acct=a.ACCOUNT,
        keyring=a.KEYRING,
        gen=1,
        op="reveal",
        repeat="any",
        targets=(Target(secret=a.opaque("secret password"), n=1, version=_DIGESTS[0]),),
        pins=(Pin("account", "account", 1, _DIGESTS[1]),),
        status=KnownStatus(1, _DIGESTS[2]),
        reader=b64u(a.READER_KEY.public.raw),
        jti=a.opaque("task"),
        iat=a.NOW,
        exp=a.NOW + 86_400,
    )
    return structs.replace(plain, **changes)


def _order(**changes: Any) -> OrderDocument:
    pins, status = (Pin("account", "account", 1, _DIGESTS[1]),), KnownStatus(1, _DIGESTS[2])
    return a.order(pins, status, **{"name": "nightly 1.0-x_", **changes})


def _second_account() -> Payload:
    second = a.after(
        a.ACCOUNT_1,
        a.ROOT,
        roots=(a.ROOT.key, a.SECOND_ROOT.key),
        administrators=(
            Administrator("administrator", a.ADMINISTRATOR.key),
            Administrator("second-administrator", a.SECOND_ADMINISTRATOR.key),
        ),
    )
    consent = b64u(a.SECOND_ROOT.sign(consent_message(second, a.SECOND_ROOT.key)))
    document: Payload = structs.replace(second, consents={a.SECOND_ROOT.key: consent})
    return document


def _answer(**changes: Any) -> AnswerDocument:
    plain = AnswerDocument(v=1, acct=a.ACCOUNT, task=_DIGESTS[0], code="denied", iat=a.NOW)
    return structs.replace(plain, **changes)


def good() -> Mapping[str, tuple[Identity, Payload]]:
    """Well-formed documents by name, each kind at its smallest (named after it) and at its fullest."""
    certifying = a.KEYS.generation(1).certifying
    described = {"description": _TEXT, "tags": _TAGS, "deleted": True, "rev": 2, "prev": _DIGESTS[0]}
    longest = "a" * 128
    return {
        "account": (a.ROOT, a.ACCOUNT_1),
        "account, second revision": (a.ROOT, _second_account()),
        "keyring": (a.ADMINISTRATOR, a.KEYS_1.document(1, None, a.NOW)),
        "keyring, second generation": (a.ADMINISTRATOR, a.KEYS.document(2, _DIGESTS[0], a.NOW)),
        "keyring, with keys of an issuer": (a.ADMINISTRATOR, a.KEYS_OIDC.document(2, _DIGESTS[0], a.NOW)),
        "keyring, full": (
            a.ADMINISTRATOR,
            a.KEYS_OIDC.document(3, _DIGESTS[0], a.NOW, 2, platform=True, issuer="http://127.0.0.1:8080/a~b/c.d_e-f"),
        ),
        "status": (a.ADMINISTRATOR, a.status()),
        "status, full": (
            a.RENEWER,
            a.status(
                9,
                _DIGESTS[0],
                grants=(a.opaque("b"), a.opaque("a")),
                keys=(a.READER.kid,),
                secrets={a.opaque("secret z"): 2, a.opaque("secret a"): 9_007_199_254_740_991},
                keyrings={"main": 2, "other": 1},
                groups={"-a": 9_007_199_254_740_991, "builders": 1},
                base=_DIGESTS[1],
            ),
        ),
        "grant": (a.ADMINISTRATOR, a.grant("reader", a.READER, ("reveal",), "account")),
        "grant, full": (
            a.OWNER,
            a.grant(
                "service",
                a.RENEWER,
                PERMISSIONS,
                a.PROJECT,
                principal=Principal("build server 1.0-x_", a.RENEWER.key, "service"),
                resource=a.opaque("secret password"),
                parent=a.opaque("grant owner"),
                usage=Usage(applications=("1.0-x_", "A", longest), environments=("_",)),
                rev=2,
                prev=_DIGESTS[0],
            ),
        ),
        "group": (a.ADMINISTRATOR, GroupDocument(v=1, acct=a.ACCOUNT, id="builders", rev=1, iat=a.NOW)),
        "group, full": (
            a.ADMINISTRATOR,
            GroupDocument(
                v=1,
                acct=a.ACCOUNT,
                id="a/b@c+d=e.f_g-h:0",
                rev=2,
                prev=_DIGESTS[0],
                iat=a.NOW,
                tags=(*(f"{at:02}" for at in range(63)), "x" * 128),
            ),
        ),
        "group, deleted": (
            a.ADMINISTRATOR,
            GroupDocument(v=1, acct=a.ACCOUNT, id="builders", rev=2, prev=_DIGESTS[0], iat=a.NOW, deleted=True),
        ),
        "scope": (a.ADMINISTRATOR, a.scope_document("orders")),
        "scope, full": (a.OWNER, a.scope_document("backend", scope=f"org/{longest}", **described)),
        "connector": (a.ADMINISTRATOR, a.connector()),
        "connector, full": (
            a.OWNER,
            a.connector(
                "vault",
                type="VaultKv2",
                selectors=("linux", "region:eu", "a/b@c+d=e.f_g-h"),
                where="(a/b@c+d=e.f_g-h or android) and not (0 or -)",
                spec={"url": _TEXT, "list": [1, -1, True, None, {"b": [], "a": {}}], "_": 9_007_199_254_740_991},
                scope="org/orders",
                secrets=("A", "_", "account.a", f"account.{longest}", "org.a"),
                usage=Usage(applications=("orders",)),
                **described,
            ),
        ),
        "connector, with a secret of the account": (a.ADMINISTRATOR, a.connector(secrets=("account.a", "b"))),
        "connector, deep": (a.ADMINISTRATOR, a.connector(spec=nested(16))),
        "secret": (a.EDITOR, a.secret()),
        "secret, full": (
            a.EDITOR,
            a.secret(
                "certificate",
                scope=f"org/{longest}/project/{longest}",
                type="SecretFile",
                filename="schlüssel.pem",
                reference=f"{_TEXT}#a.b",
                metadata=_TAGS,
                usage=Usage(environments=tuple(f"e{at:02}" for at in range(64))),
                **described,
            ),
        ),
        "certificate": (certifying, a.certificate(tags=())),
        "certificate, full": (certifying, a.certificate()),
        "certificate, of a group": (certifying, a.certificate(group="builders")),
        "certificate, for some scopes": (certifying, a.certificate(scopes=("account", "org/orders", a.PROJECT))),
        "task": (a.READER, _task()),
        "task, full": (
            a.EDITOR,
            _task(
                op="delete",
                repeat="never",
                to=a.DELEGATE.kid,
                targets=(
                    Target(secret=a.opaque("secret password"), n=3, version=_DIGESTS[0], latest=True),
                    Target(secret=a.opaque("secret other")),
                    Target(connector=a.opaque("connector local")),
                    Target(connector=a.opaque("connector local"), reference=f"{_TEXT}#a.b", metadata=_TAGS),
                ),
                pins=(
                    Pin("account", "account", 2, _DIGESTS[1]),
                    Pin("keyring", a.KEYRING, 1, _DIGESTS[2]),
                    Pin("template", a.opaque("template script 1"), 1, _DIGESTS[3]),
                ),
                selectors=(WantedSelector("linux", "step"), WantedSelector("eu", "pipeline")),
                where=" or ".join(["not t=test"] * 64),
                input=(_DIGESTS[3],),
                usage=TaskUsage(application="orders", environment="production"),
            ),
        ),
        "order": (a.EDITOR, _order()),
        "order, full": (
            a.EDITOR,
            _order(
                op="exec",
                rev=2,
                prev=_DIGESTS[0],
                targets=(
                    Target(secret=a.opaque("secret password"), n=3, version=_DIGESTS[0], latest=True),
                    Target(connector=a.opaque("connector local"), reference=f"{_TEXT}#a.b", metadata=_TAGS),
                ),
                credentials=(Target(secret=a.opaque("secret key"), n=1, version=_DIGESTS[2], latest=True),),
                selectors=(WantedSelector("linux", "step"), WantedSelector("eu", "pipeline")),
                where="not t=test",
                input=(_DIGESTS[3],),
                seconds=86_400,
                usage=TaskUsage(application="orders", environment="production"),
                exp=a.NOW + 90 * 86_400,
                interval=60,
                runs=129_600,
                deleted=True,
            ),
        ),
        "order, once": (a.EDITOR, _order(interval=0, runs=1, exp=a.NOW + 1)),
        "task, a command": (
            a.READER,
            _task(
                op="exec",
                repeat="never",
                to=a.DELEGATE.kid,
                credentials=(
                    Target(secret=a.opaque("secret key"), n=2, version=_DIGESTS[3], latest=True),
                    Target(secret=a.opaque("secret other"), n=1, version=_DIGESTS[2], latest=True),
                ),
                input=(_DIGESTS[3],),
                seconds=86_400,
                usage=TaskUsage(environment="1.0-x_"),
                exp=a.NOW + 120,
            ),
        ),
        "answer": (a.DELEGATE, _answer()),
        "answer, full": (a.DELEGATE, _answer(code="partial", sealed=_DIGESTS[1], stored=(_DIGESTS[2], _DIGESTS[3]))),
        "output": (
            a.DELEGATE,
            OutputDocument(v=1, acct=a.ACCOUNT, task=_DIGESTS[0], sealed=_DIGESTS[1], iat=a.NOW),
        ),
        "checked": (
            a.DELEGATE,
            CheckedDocument(
                v=1, acct=a.ACCOUNT, connector=a.opaque("connector local"), revision=_DIGESTS[0], code="ok", iat=a.NOW
            ),
        ),
        **programs.good(),
    }


def documents() -> dict[str, Any]:
    """The file of vectors."""
    keys = {name: {"key": one.key, "kid": one.kid} for name, one in a.IDENTITIES.items()}
    certifying = a.KEYS.generation(1).certifying
    keys["certifying"] = {"key": certifying.key, "kid": certifying.kid}
    names = {one["kid"]: name for name, one in keys.items()}
    cases = []
    for name, (signer, payload) in good().items():
        compact = signer.sign_document(payload)
        cases.append(
            a.case(
                name,
                "accepted",
                kind=kind_of(payload),
                key=names[signer.kid],
                compact=compact,
                digest=digest(compact),
                payload=json.loads(encode(payload)),
            )
        )
    every = good()
    for kind in sorted({kind_of(payload) for _, payload in every.values()}):
        signer, payload = every[kind]
        for name, edit in [*_structure(payload), *programs.LIMITS[kind].items()]:
            bad = a.edited(signer, payload, edit)
            cases.append(a.case(f"{kind}: {name}", "malformed", kind=kind, key=names[signer.kid], compact=bad))
    cases += [a.case(name, expect, kind="secret", key="editor", compact=compact) for name, expect, compact in _broken()]
    return a.file("Signed documents (formats, sections 4 and 5). `key` names the key to verify with.", cases, keys=keys)


def _structure(payload: Payload) -> Iterator[tuple[str, Edit]]:
    """What is wrong with any kind: members missing, unknown, null, or spelt out although at their default."""
    yield "a member that isn't known", lambda members: members.update(zzz=1)
    for field in msgspec.structs.fields(type(payload)):
        name = field.encode_name
        default: Any = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.required:
            yield f"without {name}", _without(name)
        else:
            spelt = list(default) if isinstance(default, tuple) else default
            yield f"{name} spelt out at its default", _with(name, spelt)
        if default is not None:
            yield f"{name} is null", _with(name, None)


def _with(name: str, value: Any) -> Edit:
    return lambda members: members.update({name: value})


def _without(name: str) -> Edit:
    return lambda members: members.pop(name)


def _broken() -> Iterator[tuple[str, str, str]]:
    """(name, outcome, compact): what is wrong with the form or the signature, shown on a secret document."""
    signer, payload = a.EDITOR, a.secret()
    raw, kid = encode(payload), a.EDITOR.kid
    header = header_bytes("secret", kid)
    compact = signer.sign_document(payload)
    head, body, tail = compact.split(".")
    signature = unb64u(tail)

    headers = {
        "a header with another algorithm": header.replace(b"EdDSA", b"ES256"),
        "a header with the algorithm none": header.replace(b"EdDSA", b"none"),
        "a header with a symmetric algorithm": header.replace(b"EdDSA", b"HS256"),
        "a header with the algorithm's newer name": header.replace(b"EdDSA", b"Ed25519"),
        "a header with crit": b'{"alg":"EdDSA","crit":["b64"],' + header[15:],
        "a header with a key": header[:-1] + b',"x":"y"}',
        "a header without a kid": b'{"alg":"EdDSA","typ":"privyseal-secret+jws"}',
        "a header without a type": b'{"alg":"EdDSA","kid":"' + kid.encode() + b'"}',
        "a header in another order": b'{"typ":"privyseal-secret+jws","alg":"EdDSA","kid":"' + kid.encode() + b'"}',
        "a header with a space": header.replace(b":", b": ", 1),
        "a header with a doubled member": b'{"alg":"EdDSA",' + header[1:],
        "a header that is a list": b"[]",
        "a header that is empty": b"",
        "a type of a plain token": header.replace(b"privyseal-secret+jws", b"JWT"),
        "a type without its suffix": header.replace(b"+jws", b""),
        "a type in upper case": header.replace(b"secret", b"SECRET"),
        "a kind that is unknown": header.replace(b"secret", b"zzz"),
        "a kind that is empty": header.replace(b"secret", b""),
        "a kid that is too short": header.replace(kid.encode(), kid[:-1].encode()),
        "a kid with stray bits": header.replace(kid.encode(), kid[:-1].encode() + b"B"),
        "a kid that is too long": header.replace(kid.encode(), kid.encode() + b"A"),
    }
    for reserved in ("binding", "definition"):
        headers[f"the reserved kind {reserved}"] = header.replace(b"secret", reserved.encode())
    for name, changed in headers.items():
        yield name, "malformed", a.forged(signer, "secret", raw, changed)
    yield "the payload of another kind", "malformed", a.forged(signer, "secret", encode(a.scope_document("orders")))

    payloads = {
        "a payload with a space": raw.replace(b":", b": ", 1),
        "a payload out of order": b'{"v":1,' + raw[1:].replace(b',"v":1', b""),
        "a payload with a doubled member": b'{"acct":"' + a.ACCOUNT.encode() + b'",' + raw[1:],
        "a payload with another escape": raw.replace(b'"password"', b'"passw\\u006frd"'),
        "a payload with a fraction": raw.replace(b'"rev":1', b'"rev":1.0'),
        "a payload with an exponent": raw.replace(b'"rev":1', b'"rev":1e0'),
        "a payload with a text for a number": raw.replace(b'"rev":1', b'"rev":"1"'),
        "a payload with a boolean for a number": raw.replace(b'"rev":1', b'"rev":true'),
        "a payload that is a list": b"[" + raw + b"]",
        "a payload that is empty": b"",
        "a payload that is cut": raw[:-1],
        "a payload with bytes that are no UTF-8": raw.replace(b'"name":"password"', b'"name":"\xff"'),
        "a payload of version 2": raw.replace(b'"v":1', b'"v":2'),
        "a payload of version 1.0": raw.replace(b'"v":1', b'"v":1.0'),
        "a payload of version true": raw.replace(b'"v":1', b'"v":true'),
    }
    for name, changed in payloads.items():
        yield name, "malformed", a.forged(signer, "secret", changed)

    last = "AQgw".index(tail[-1])
    forms = {
        "nothing": "",
        "two parts": f"{head}.{body}",
        "four parts": f"{compact}.",
        "a signature with stray bits": compact[:-1] + "BRhx"[last],
        "a signature with padding": compact + "==",
        "a signature that is empty": f"{head}.{body}.",
        "a signature that is a byte short": f"{head}.{body}.{b64u(signature[:-1])}",
        "a signature that is a byte long": f"{head}.{body}.{b64u(signature + bytes(1))}",
        "a payload with padding": f"{head}.{body}=.{tail}",
        "a payload in the other alphabet": f"{head}.+{body[1:]}.{tail}",
        "a line break at the end": compact + "\n",
        "a space in front": " " + compact,
        "a character outside of ASCII": f"{head}.{body}\u00e9.{tail}",
        "the JSON serialisation": json.dumps({"protected": head, "payload": body, "signature": tail}),
    }
    for name, changed_text in forms.items():
        yield name, "malformed", changed_text

    # Ed25519's group order: S + L is the same signature to a careless verifier.
    order = 2**252 + 27742317777372353535851937790883648493
    loose = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    other = a.secret(name="other")
    signatures = {
        "a signature with a bit flipped": a.forged(signer, "secret", raw, signature=flipped),
        "a signature with S above the group order": a.forged(signer, "secret", raw, signature=signature[:32] + loose),
        "a signature of zeros": a.forged(signer, "secret", raw, signature=bytes(64)),
        "another payload under the signature": a.forged(signer, "secret", encode(other), signature=signature),
        "a signature by another key": a.forged(a.STRANGER, "secret", raw, header),
        "a kid of another key": a.STRANGER.sign_document(payload),
        "a signature over the payload alone": a.forged(signer, "secret", raw, signature=signer.sign(raw)),
        "the signature of another kind": a.forged(
            signer, "secret", raw, signature=signer.sign(f"{b64u(header_bytes('scope', kid))}.{body}".encode())
        ),
    }
    for name, changed_text in signatures.items():
        yield name, "tampered/signature_invalid", changed_text

"""Writes the vectors of docs/formats.md: `python -m tests.vectors.generate`, with `--check` to compare and write nothing.

Everything is made from fixed names, so a second run makes the same bytes. Only sealed values are random: `--seal` here
and `node tests/node/seal.mjs` have made them once from `kept/requests.json`, and they stay as they are. Whoever changes
what is to be sealed runs both again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.canonical import b64u, unb64u
from shared.crypto.plaintext import Plaintext
from shared.crypto.seal import VERSION, seal
from shared.values import PublicKey, Recipient
from tests.vectors import (
    answers,
    audits,
    choices,
    conditions,
    credentials,
    documents,
    fetches,
    forms,
    grants,
    groups,
    inputs,
    logins,
    oidc,
    orders,
    records,
    references,
    revisions,
    sealing,
    streams,
    templates,
    tokens,
    trust,
    usages,
    warrants,
)

HERE = Path(__file__).parent
KEPT = HERE / "kept"
MAKERS = ("python", "node")


def sealed_once() -> dict[str, str]:
    """Each request, sealed now; the name to base64url."""
    made = {}
    for request in sealing.requests():
        recipient = Recipient(PublicKey(unb64u(request["public"])))
        info, padded = bytes.fromhex(request["info"]), bytes.fromhex(request["padded"])
        made[request["name"]] = b64u(_seal_padded(recipient, padded, info))
    return made


def _seal_padded(recipient: Recipient, padded: bytes, info: bytes) -> bytes:
    """As `seal`, of bytes that needn't be padded as they must."""
    length = int.from_bytes(padded[:4], "big")
    value = Plaintext(padded[4 : 4 + length])
    if value.padded() == Plaintext(padded):
        return seal(recipient, value, info).raw
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

    raw = recipient.key.raw
    public = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(raw[:1184]), X25519PublicKey.from_public_bytes(raw[1184:])
    )
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return VERSION + suite.encrypt(padded, public, info)


def files() -> Mapping[str, Any]:
    """Every file that is generated, by its name."""
    kept = {maker: json.loads((KEPT / f"{maker}.json").read_text("utf-8")) for maker in MAKERS}
    return {
        "aad.json": forms.aads(),
        "accounts.json": trust.accounts(),
        "aead.json": sealing.aeads(),
        "audit.json": audits.audits(),
        "base64url.json": forms.base64url(),
        "canonical.json": forms.canonical(),
        "certificates.json": warrants.certificates(),
        "choices.json": choices.choices(),
        "commands.json": credentials.commands(),
        "conditions.json": conditions.conditions(),
        "credentials.json": credentials.credentials(),
        "documents.json": documents.documents(),
        "fetches.json": fetches.fetches(),
        "framing.json": forms.framing(),
        "grants.json": grants.grants(),
        "groups.json": groups.groups(),
        "hello.json": sealing.hellos(),
        "inputs.json": inputs.inputs(),
        "keyring_files.json": sealing.keyring_files(),
        "keyrings.json": sealing.keyrings(),
        "logins.json": logins.logins(),
        "oidc.json": oidc.issuers(),
        "orders.json": orders.orders(),
        "outcomes.json": answers.outcomes(kept),
        "output.json": answers.outputs(),
        "padding.json": sealing.padding(),
        "records.json": records.records(),
        "references.json": references.references(),
        "revisions.json": revisions.revisions(),
        "sealed.json": sealing.sealed(kept),
        "statuses.json": trust.statuses(),
        "streams.json": streams.streams(),
        "tasks.json": warrants.tasks(),
        "templates.json": templates.templates(),
        "tokens.json": tokens.tokens(),
        "usages.json": usages.usages(),
    }


def text(value: Any) -> str:
    """A file's text."""
    return json.dumps(value, indent=1, ensure_ascii=True) + "\n"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main(arguments: list[str]) -> int:
    """The exit status."""
    requests = {"kept/requests.json": text(sealing.requests())}
    if arguments == ["--seal"]:
        KEPT.mkdir(exist_ok=True)
        (KEPT / "requests.json").write_text(requests["kept/requests.json"], "utf-8")
        (KEPT / "python.json").write_text(text(sealed_once()), "utf-8")
        _say("sealed: now run node tests/node/seal.mjs, then this without --seal")
        return 0
    wanted = requests | {name: text(contents) for name, contents in files().items()}
    if arguments == ["--check"]:
        present = {str(path.relative_to(HERE)): path.read_text("utf-8") for path in HERE.rglob("*.json")}
        kept = {f"kept/{maker}.json" for maker in (*MAKERS, "issuers", "streams")}
        different = sorted(
            name for name in wanted.keys() | present.keys() - kept if wanted.get(name) != present.get(name)
        )
        for name in different:
            _say(
                f"tests/vectors/{name} is not what tests/vectors/generate.py makes: run make vectors and look at the change"
            )
        return 1 if different else 0
    if arguments:
        sys.stderr.write("python -m tests.vectors.generate [--check | --seal]" + "\n")
        return 2
    for name, contents in wanted.items():
        (HERE / name).write_text(contents, "utf-8")
    _say(f"{len(wanted)} files in {HERE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

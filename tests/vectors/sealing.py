"""Vectors of sealing: keyring derivation, padding, sealed values, encryption at rest, hello.

Sealed values are random by nature. `requests` says what to seal; `generate --seal` here and `tests/node/seal.mjs` there
have sealed it once each, and what they made is kept in `kept/`. All else is made anew each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import serialization

from shared.aad import Aad
from shared.canonical import b64u, blob_digest, digest, lp, unb64u
from shared.crypto import aead
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.hello import hello_message
from shared.labels import ANSWER, INPUT, RECORD, WRAP
from tests.fakes.issuers import ISSUER_KEYS
from tests.vectors import actors as a
from tests.vectors.answers import OUTPUTS, answer_info

STORED = Aad(
    "store", a.ACCOUNT, a.KEYRING, a.PROJECT, a.opaque("secret password"), 1, b64u(a.fixed("store task")),
    a.opaque("connector local"),
)  # fmt: skip
SENT = replace(STORED, version="")
VALUES: Mapping[str, bytes] = {
    "an empty value": b"",
    "a short value": b"hunter2",
    "a value that fills a block": a.fixed("block") * 7 + a.fixed("rest", 28),
    "a value that just doesn't": a.fixed("block") * 7 + a.fixed("rest", 29),
    "a value of a thousand bytes": (a.fixed("thousand") * 32)[:1000],
}
"""By name; a block holds 252 bytes of a value."""


def keyrings() -> dict[str, Any]:
    """What is derived from seeds, and the keyring file."""
    cases = []
    for account, name, number in ((a.ACCOUNT, a.KEYRING, 1), (a.ACCOUNT, a.KEYRING, 2), ("a" * 52, "other", 2**32 - 1)):
        seed = a.fixed(f"keyring {number}")
        held = Keyring(account, name, [(number, seed)]).newest
        cases.append(
            a.case(
                f"generation {number} of {name}",
                "accepted",
                account=account,
                keyring=name,
                generation=number,
                seed=seed.hex(),
                sealing_seed=aead.derive(
                    seed, b"", lp(b"privyseal/v1/keyring-seal", account.encode(), name.encode(), number.to_bytes(8, "big")), 32
                ).hex(),
                sealing_public=b64u(held.sealing.public.raw),
                certifying_public=held.certifying.key,
                certifying_kid=held.certifying.kid,
                kek=held.kek.hex(),
                mac_key=held.mac_key.hex(),
            )
        )  # fmt: skip
    return a.file("Keys of a keyring's generations (formats, section 15). These seeds are public.", cases)


def keyring_files() -> dict[str, Any]:
    """The keyring file, as text."""
    good = json.loads(a.KEYS.text())
    first, second = good["generations"]
    with_keys = json.loads(a.KEYS_OIDC.text())
    pem = with_keys["generations"][0]["oidc"]

    def text(**changes: Any) -> str:
        return json.dumps({**good, **changes}, indent=2)

    bad = {
        "another kind of file": text(privyseal="identity"),
        "another version": text(v=2),
        "a member that isn't known": text(note="x"),
        "no generation": text(generations=[]),
        "generations out of order": text(generations=[second, first]),
        "a generation twice": text(generations=[first, first]),
        "generation zero": text(generations=[{**first, "generation": 0}]),
        "a generation past four bytes": text(generations=[{**first, "generation": 2**32}]),
        "a seed that is too short": text(generations=[{**first, "seed": first["seed"][:-1]}]),
        "a seed with padding": text(generations=[{**first, "seed": first["seed"] + "="}]),
        "a seed with stray bits": text(generations=[{**first, "seed": first["seed"][:-1] + "B"}]),
        "an account id that is none": text(account="x"),
        "a name that is no identifier": text(keyring="a-b"),
        "without its account": json.dumps({name: value for name, value in good.items() if name != "account"}),
        "a key for ID tokens that is null": text(generations=[{**first, "oidc": None}]),
        "a key for ID tokens that is none": text(generations=[{**first, "oidc": "x"}]),
        "a key for ID tokens with a line more": text(generations=[{**first, "oidc": pem + "\n"}]),
        "a key for ID tokens without its last line": text(
            generations=[{**first, "oidc": pem.partition("-----END")[0]}]
        ),
        "a key for ID tokens in the form of PKCS#1": text(generations=[{**first, "oidc": _other_form(pem)}]),
        "a key for ID tokens that is public": text(generations=[{**first, "oidc": _public(pem)}]),
        "a key for ID tokens of another kind": text(generations=[{**first, "oidc": a.ROOT.pem(None).decode()}]),
        "cut off": text()[:-3],
        "nothing": "",
    }
    cases = [
        a.case("as it is written", "accepted", text=a.KEYS.text().decode(), generations=[1, 2]),
        a.case("on one line, in another order", "accepted", text=json.dumps(dict(reversed(good.items()))), generations=[1, 2]),
        a.case(
            "with keys for ID tokens", "accepted", text=a.KEYS_OIDC.text().decode(), generations=[1, 2],
            oidc={number: key.n for number, key in ISSUER_KEYS.items()},
        ),
        a.case(
            "of which only the second generation has a key for ID tokens", "accepted",
            text=text(generations=[first, with_keys["generations"][1]]), generations=[1, 2], oidc={2: ISSUER_KEYS[2].n},
        ),
        *(a.case(name, "malformed/keyring_malformed", text=changed) for name, changed in bad.items()),
    ]  # fmt: skip
    return a.file("The keyring file (formats, section 15). These seeds are public.", cases)


def _other_form(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None)
    other = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, other, serialization.NoEncryption()).decode()


def _public(pem: str) -> str:
    key = serialization.load_pem_private_key(pem.encode(), None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def padding() -> dict[str, Any]:
    """Padded values."""
    cases = [
        a.case(name, "accepted", value=value.hex(), padded=Plaintext(value).padded().reveal().hex())
        for name, value in VALUES.items()
    ]
    whole = Plaintext(b"hunter2").padded().reveal()
    bad = {name: padded.hex() for name, padded in _badly_padded(whole).items()}
    cases += [a.case(name, "malformed/padding_malformed", padded=padded) for name, padded in bad.items()]
    return a.file("Padding to 256 bytes (formats, section 13).", cases)


def _badly_padded(whole: bytes) -> dict[str, bytes]:
    return {
        "nothing at all": b"",
        "no padding": whole[:11],
        "a byte too few": whole[:-1],
        "a block too many": whole + bytes(256),
        "a byte that isn't zero": whole[:-1] + b"\x01",
        "a length past the end": b"\x00\x00\x01\x00" + whole[4:],
        "a length that is one too small": b"\x00\x00\x00\x06" + whole[4:],
        "a length of four gigabytes": b"\xff\xff\xff\xff" + whole[4:],
    }


def requests() -> list[dict[str, str]]:
    """What is to be sealed: name, recipient (base64url), info and the padded value (hexadecimal)."""
    sealing = a.KEYS.generation(1).sealing.public.raw
    wanted = {name: Plaintext(value).padded().reveal() for name, value in VALUES.items()}
    wanted |= {f"badly padded: {name}": padded for name, padded in _badly_padded(wanted["a short value"]).items()}
    info = SENT.encode(INPUT)
    made = [
        {"name": name, "public": b64u(sealing), "info": info.hex(), "padded": padded.hex()}
        for name, padded in wanted.items()
    ]
    made += [
        {
            "name": f"output: {name}",
            "public": b64u(a.READER_KEY.public.raw),
            "info": answer_info().hex(),
            "padded": output.padded().reveal().hex(),
        }
        for name, output in OUTPUTS.items()
    ]
    return made


def sealed(kept: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Sealed inputs; `kept` has by maker what was sealed, by request's name in base64url."""
    seed = aead.derive(
        a.fixed("keyring 1"), b"",
        lp(b"privyseal/v1/keyring-seal", a.ACCOUNT.encode(), a.KEYRING.encode(), (1).to_bytes(8, "big")), 32,
    )  # fmt: skip
    info = SENT.encode(INPUT)
    cases = []
    for maker, made in kept.items():
        for name, value in VALUES.items():
            cases.append(
                a.case(
                    f"{name}, sealed by {maker}", "accepted",
                    seed=seed.hex(), info=info.hex(), sealed=made[name], value=value.hex(),
                    digest=blob_digest(unb64u(made[name])),
                )
            )  # fmt: skip
        short = unb64u(made["a short value"])
        places = {
            "the version": 0,
            "the first byte of ML-KEM's part": 1,
            "the last byte of ML-KEM's part": 1088,
            "the first byte of X25519's part": 1089,
            "the ciphertext": 1121,
            "the tag": len(short) - 1,
        }
        bad = {f"{what} changed": (seed, info, flipped(short, at)) for what, at in places.items()}
        bad |= {
            "nothing": (seed, info, b""),
            "the version alone": (seed, info, short[:1]),
            "cut in the key": (seed, info, short[:1000]),
            "cut in the tag": (seed, info, short[:-1]),
            "a byte left over": (seed, info, short + b"\x00"),
            "without its version": (seed, info, short[1:]),
            "opened with another key": (a.fixed("other"), info, short),
            "opened for another version": (seed, replace(SENT, n=2).encode(INPUT), short),
            "opened for another secret": (seed, replace(SENT, secret=a.opaque("secret other")).encode(INPUT), short),
            "opened for another scope": (seed, replace(SENT, scope="account").encode(INPUT), short),
            "opened for another connector": (
                seed,
                replace(SENT, connector=a.opaque("connector x")).encode(INPUT),
                short,
            ),
            "opened for another account": (seed, replace(SENT, account="a" * 52).encode(INPUT), short),
            "opened for another keyring": (seed, replace(SENT, keyring="other").encode(INPUT), short),
            "opened under another label": (seed, SENT.encode(ANSWER), short),
            "opened without info": (seed, b"", short),
        }
        bad |= {name: (seed, info, unb64u(one)) for name, one in made.items() if name.startswith("badly padded: ")}
        cases += [
            a.case(
                f"{name}, sealed by {maker}", "opening_failed",
                seed=key.hex(), info=where.hex(), sealed=b64u(changed),
            )
            for name, (key, where, changed) in bad.items()
        ]  # fmt: skip
    return a.file("Sealed values and their recipient's seed (formats, section 13). These seeds are public.", cases)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def aeads() -> dict[str, Any]:
    """Encryption at rest."""
    key, salt, place = a.fixed("data key"), a.fixed("salt"), STORED.encode(RECORD)
    cases = []
    for name, value in VALUES.items():
        ciphertext = aead.encrypt(key, Plaintext(value), place, salt)
        cases.append(
            a.case(
                name, "accepted",
                key=key.hex(), aad=place.hex(), salt=salt.hex(), plaintext=value.hex(), ciphertext=ciphertext.hex(),
            )
        )  # fmt: skip
    whole = aead.encrypt(key, Plaintext(b"hunter2"), place, salt)
    swapped = aead.derive(a.fixed("other"), salt, place, 64)[32:]
    bad = {
        "the salt changed": (key, place, flipped(whole, 0)),
        "the commitment changed": (key, place, flipped(whole, 32)),
        "the commitment of another key": (key, place, whole[:32] + swapped + whole[64:]),
        "the ciphertext changed": (key, place, flipped(whole, 64)),
        "the tag changed": (key, place, flipped(whole, len(whole) - 1)),
        "cut": (key, place, whole[:-1]),
        "a byte left over": (key, place, whole + b"\x00"),
        "shorter than can be": (key, place, whole[:79]),
        "nothing": (key, place, b""),
        "another key": (a.fixed("other"), place, whole),
        "another place": (key, replace(STORED, n=2).encode(RECORD), whole),
        "another label": (key, STORED.encode(WRAP), whole),
    }
    cases += [
        a.case(name, "decryption_failed", key=with_key.hex(), aad=where.hex(), ciphertext=changed.hex())
        for name, (with_key, where, changed) in bad.items()
    ]
    return a.file("Encryption at rest with key commitment (formats, section 14).", cases)


def hellos() -> dict[str, Any]:
    """Proofs of a delegate's identity."""
    certificate = a.KEYS.generation(1).certifying.sign_document(a.certificate())
    origin, nonce = "https://privyseal.example:8443", a.fixed("nonce")
    message = hello_message(origin, nonce, certificate)
    proof = a.DELEGATE.sign(message)
    plain = {
        "origin": origin,
        "nonce": nonce.hex(),
        "certificate": certificate,
        "key": a.DELEGATE.key,
        "proof": b64u(proof),
    }
    other = a.KEYS.generation(1).certifying.sign_document(a.certificate(iat=a.NOW))
    bad: dict[str, dict[str, str]] = {
        "another origin": {"origin": "https://elsewhere.example:8443"},
        "another nonce": {"nonce": a.fixed("other nonce").hex()},
        "a nonce that is cut": {"nonce": nonce[:-1].hex()},
        "another certificate": {"certificate": other},
        "a proof by another key": {"proof": b64u(a.STRANGER.sign(message))},
        "a proof that is changed": {"proof": b64u(flipped(proof, 0))},
        "a proof that is cut": {"proof": b64u(proof[:-1])},
        "a proof without framing": {
            "proof": b64u(a.DELEGATE.sign(origin.encode() + nonce + digest(certificate).encode()))
        },
    }
    cases = [a.case("as it must be", "accepted", **plain, message=message.hex())]
    cases += [a.case(name, "tampered/signature_invalid", **{**plain, **changes}) for name, changes in bad.items()]
    return a.file("A delegate's proof on one stream (formats, section 17).", cases)

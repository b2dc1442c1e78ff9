"""Vectors of records: how the built-in secret manager stores a value, and every way in which one may be changed."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from shared.aad import Aad
from shared.canonical import b64u
from shared.crypto import aead, record
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import Record
from shared.labels import RECORD, WRAP
from tests.vectors import actors as a
from tests.vectors.sealing import STORED, VALUES, flipped


def records() -> dict[str, Any]:
    """Records of `Local`."""
    cases = []

    def wrapped(place: Aad, key: bytes, kek: bytes) -> bytes:
        return aead.encrypt(kek, Plaintext(key), place.encode(WRAP), a.fixed("wrap salt"))

    def made(
        value: bytes, place: Aad = STORED, *, number: int = 1, name: str | None = None, kek: bytes | None = None
    ) -> Record:
        one = a.KEYS.generation(number)
        key = a.fixed("data key")
        return Record(
            name or f"local/{a.KEYRING}/{number}",
            wrapped(place, key, kek or one.kek),
            number,
            aead.encrypt(key, Plaintext(value).padded(), place.encode(RECORD), a.fixed("salt")),
        )

    def packed(one: Record, place: Aad = STORED, mac_key: bytes | None = None) -> bytes:
        return record.pack(one, mac_key or a.KEYS.generation(one.generation).mac_key, place).raw

    for name, value in VALUES.items():
        cases.append(a.case(name, "accepted", value=value.hex(), record=packed(made(value)).hex()))
    second = made(b"hunter2", number=2)
    cases.append(a.case("a second generation", "accepted", value=b"hunter2".hex(), record=packed(second).hex()))

    plain = made(b"hunter2")
    whole = packed(plain)
    start = whole.index(plain.ciphertext)
    for name, at in {
        "the HMAC changed": len(whole) - 1,
        "the salt changed": start,
        "the commitment changed": start + 32,
        "the ciphertext changed": start + 64,
        "the key name changed": 5,
        "the wrapped key changed": whole.index(plain.wrapped_key) + 70,
    }.items():
        cases.append(a.case(name, "tampered", record=flipped(whole, at).hex()))
    made_up = replace(plain, generation=2)
    for name, raw in {
        "another generation claimed": made_up.body() + whole[-32:],
        "a generation that isn't held": replace(plain, generation=99).body() + whole[-32:],
        "an HMAC of another generation's key": packed(plain, mac_key=a.KEYS.generation(2).mac_key),
        "an HMAC of zeros": whole[:-32] + bytes(32),
    }.items():
        cases.append(a.case(name, "tampered", record=raw.hex()))
    for field, other in {
        "account": "a" * 52,
        "keyring": "other",
        "scope": "account",
        "secret": a.opaque("secret other"),
        "n": 2,
        "version": b64u(a.fixed("other task")),
        "connector": a.opaque("connector x"),
    }.items():
        moved = {**asdict(STORED), field: other}
        cases.append(a.case(f"moved to another {field}", "tampered", record=whole.hex(), place=moved))

    # Whoever holds the MAC key alone makes records whose HMAC fits; they still don't decrypt.
    resealed = {
        "the salt changed, HMAC made anew": replace(plain, ciphertext=flipped(plain.ciphertext, 0)),
        "the commitment changed, HMAC made anew": replace(plain, ciphertext=flipped(plain.ciphertext, 32)),
        "the ciphertext changed, HMAC made anew": replace(plain, ciphertext=flipped(plain.ciphertext, 64)),
        "the wrapped key changed, HMAC made anew": replace(plain, wrapped_key=flipped(plain.wrapped_key, 70)),
        "a wrapped key that is empty": replace(plain, wrapped_key=b""),
        "a ciphertext that is empty": replace(plain, ciphertext=b""),
        "a key wrapped by another generation": made(b"hunter2", kek=a.KEYS.generation(2).kek),
        "a ciphertext of another place": replace(plain, ciphertext=made(b"x", replace(STORED, n=2)).ciphertext),
        "a wrapped key of another place": replace(plain, wrapped_key=made(b"x", replace(STORED, n=2)).wrapped_key),
    }
    cases += [a.case(name, "decryption_failed", record=packed(one).hex()) for name, one in resealed.items()]
    for name in ("local/other/1", "local/main/99", "local/main/01", "kms/key"):
        cases.append(a.case(f"wrapped with {name}", "denied", record=packed(made(b"hunter2", name=name)).hex()))
    cases += [
        a.case(name, "malformed/record_malformed", record=raw.hex())
        for name, raw in {
            "nothing": b"",
            "another version": b"\x02" + whole[1:],
            "cut in the HMAC": whole[:-1],
            "cut in the ciphertext": whole[: start + 90],
            "cut in a length": whole[:3],
            "a byte left over": whole + b"\x00",
            "a length past the end": whole[:1] + b"\xff\xff\xff\xff" + whole[5:],
            "a key name that is too long": packed(replace(plain, key_name="a" * 2049)),
            "a wrapped key that is too long": packed(replace(plain, wrapped_key=bytes(65_537))),
            "a key name outside of ASCII": packed(replace(plain, key_name="é")),
        }.items()
    ]
    unpadded = replace(
        plain, ciphertext=aead.encrypt(a.fixed("data key"), Plaintext(b"x"), STORED.encode(RECORD), a.fixed("salt"))
    )
    cases.append(a.case("a value without padding", "decryption_failed", record=packed(unpadded).hex()))
    generations = {
        str(number): {"kek": a.KEYS.generation(number).kek.hex(), "mac_key": a.KEYS.generation(number).mac_key.hex()}
        for number in a.KEYS.numbers
    }
    return a.file(
        "Records of Local at `place`, unless a case names another (formats, section 14). These keys are public.",
        cases, place=asdict(STORED), keyring=a.KEYRING, generations=generations,
    )  # fmt: skip

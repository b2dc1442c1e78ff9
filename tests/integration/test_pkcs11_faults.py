"""Tokens that lock, lose themselves, answer nonsense or end: each its error with a remedy, and never one login too many."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from delegate.credentials import pkcs11
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import Surroundings
from delegate.secret_managers.pkcs11 import WRAPPED_BYTES, Pkcs11Keys
from delegate.zone import Zone
from shared.aad import Aad
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable
from tests.fakes.world import World

PLACE = Aad("store", "a", "k", n=1)
PIN = "48151623"

Faulty = Callable[..., Pkcs11Keys]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """One letter for each line that a token was sent: o to open it, a to ask it."""
    count = tmp_path / "count"
    count.write_text("")
    return count


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, lines: Path) -> Faulty:
    monkeypatch.setattr(pkcs11, "MODULE", "tests.fakes.faulty_token")

    def made(mechanism: str = "AES_GCM", **told: Any) -> Pkcs11Keys:
        monkeypatch.setenv("FAULTY_TOKEN", msgspec.json.encode({"count": str(lines), **told}).decode())
        world = World()
        spec = {
            "library": "any",
            "tokenLabel": "token",
            "keyLabel": "main",
            "pin": "account.pin",
            "mechanism": mechanism,
        }
        document = world.connector_document(
            "hsm", type="Pkcs11", spec={**spec, "delegateSelectors": ["here"]}, secrets=("account.pin",)
        )
        policy = LocalPolicy.parse('[libraries]\nany = "/nowhere.so"\n', ["Pkcs11"])
        surroundings = Surroundings(Zone(world.keyring, world.book()), policy, secrets.token_bytes)
        return Pkcs11Keys(document, surroundings, {"account.pin": Plaintext(PIN.encode())})

    return made


async def told(found: Pkcs11Keys) -> PrivySealError:
    try:
        with pytest.raises(PrivySealError) as caught:
            await found.generate(PLACE)
    finally:
        await found.close()
    why = caught.value
    assert PIN not in why.detail + why.hint and why.hint
    return why


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("PinIncorrect", Denied, "pkcs11_pin_incorrect"),
        ("PinLenRange", Denied, "pkcs11_pin_incorrect"),
        ("PinLocked", Denied, "pkcs11_pin_locked"),
        ("PinExpired", Denied, "pkcs11_pin_expired"),
        ("FinalTry", Denied, "pkcs11_pin_final_try"),
        ("UserPinNotInitialized", NotReady, "pkcs11_pin_missing"),
        ("MultipleTokensReturned", NotReady, "pkcs11_token_ambiguous"),
        ("NoSuchToken", NotReady, "pkcs11_token_missing"),
        ("TokenNotPresent", Unavailable, "pkcs11_token_lost"),
        ("ModuleNotFoundError", NotReady, "kind_unloadable"),
        ("Unloadable", NotReady, "pkcs11_library_unloadable"),
        ("RandomNoRNG", Unavailable, "pkcs11_failed"),
        ("end", Unavailable, "pkcs11_crashed"),
    ],
)
async def test_what_goes_wrong_at_a_login_is_told_and_the_login_not_repeated(
    faulty: Faulty, lines: Path, name: str, error: type[PrivySealError], code: str
) -> None:
    why = await told(faulty(open=name))
    assert (type(why), why.code) == (error, code)
    assert lines.read_text() == "o"


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [
        ("MechanismInvalid", Malformed, "pkcs11_mechanism_unsupported"),
        ("KeyFunctionNotPermitted", Malformed, "pkcs11_key_unfit"),
        ("KeyTypeInconsistent", Malformed, "pkcs11_key_unfit"),
        ("MultipleObjectsReturned", NotReady, "pkcs11_key_ambiguous"),
        ("NoSuchKey", NotFound, "pkcs11_key_missing"),
        ("EncryptedDataInvalid", Tampered, "decryption_failed"),
        ("SomethingNew", Unavailable, "pkcs11_failed"),
    ],
)
async def test_what_a_token_refuses_is_told_without_another_login(
    faulty: Faulty, lines: Path, name: str, error: type[PrivySealError], code: str
) -> None:
    found = faulty(ask=name)
    with pytest.raises(error) as caught:
        await found.generate(PLACE)
    await found.close()
    assert caught.value.code == code
    assert lines.read_text() == "oa"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("DeviceRemoved", "pkcs11_token_lost"),
        ("SessionHandleInvalid", "pkcs11_token_lost"),
        ("UserNotLoggedIn", "pkcs11_token_lost"),
        ("GeneralError", "pkcs11_token_lost"),
        ("end", "pkcs11_crashed"),
    ],
)
async def test_a_token_that_was_lost_is_opened_once_more_and_no_more(
    faulty: Faulty, lines: Path, name: str, code: str
) -> None:
    why = await told(faulty(ask=name))
    assert (type(why), why.code) == (Unavailable, code)
    assert lines.read_text() == "oaoa"


@pytest.mark.parametrize("data", [None, b"", b"x" * (WRAPPED_BYTES - 1), b"x" * (WRAPPED_BYTES + 1)])
async def test_an_answer_that_no_mechanism_makes_is_not_kept(faulty: Faulty, data: bytes | None) -> None:
    # None: the token gives the key back as it was sent.
    for mechanism in ("AES_GCM", "SHA256_HMAC"):
        why = await told(faulty(mechanism, data=data))
        assert (type(why), why.code) == (Unavailable, "pkcs11_garbled")


async def test_a_token_that_opens_what_was_moved_is_told_by_the_check(faulty: Faulty) -> None:
    found = faulty(unbound=True)
    with pytest.raises(NotReady) as caught:
        await found.check()
    await found.close()
    assert caught.value.code == "pkcs11_unbound"
    # With HMAC a key is bound to its place even by a token that gives the same for every place.
    found = faulty("SHA256_HMAC", data=b"x" * 32)
    await found.check()
    await found.close()


async def test_a_token_that_opens_to_something_else_is_told_by_the_check(faulty: Faulty) -> None:
    found = faulty(data=b"x" * WRAPPED_BYTES)
    with pytest.raises(Tampered):
        await found.check()
    await found.close()


async def test_a_value_of_another_form_or_key_is_refused_before_the_token_is_asked(faulty: Faulty, lines: Path) -> None:
    found = faulty()
    for name, wrapped in (("pkcs11-gcm/token/main", b"x"), ("pkcs11-gcm/token/other", b"x" * WRAPPED_BYTES)):
        with pytest.raises(Tampered):
            await found.unwrap(name, wrapped, PLACE)
    await found.close()
    assert lines.read_text() == ""

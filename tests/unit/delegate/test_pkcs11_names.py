"""What a delegate lets be loaded as a PKCS#11 library, which key a record names, and what is remembered of a wrong PIN."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from delegate.credentials import pkcs11
from delegate.credentials.refused import MOST, RefusedCredentials
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import Surroundings
from delegate.secret_managers.pkcs11 import Pkcs11Keys
from delegate.zone import Zone
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed
from tests.fakes.world import World

POLICY = '[libraries]\nsofthsm = "/usr/lib/softhsm/libsofthsm2.so"\n'


def keys(policy: str = POLICY, **changes: Any) -> Pkcs11Keys:
    world = World()
    spec: dict[str, Any] = {"library": "softhsm", "tokenLabel": "pay ments", "keyLabel": "a/b", "pin": "account.pin"}
    spec |= {"delegateSelectors": ["here"], **changes}
    document = world.connector_document("hsm", type="Pkcs11", spec=spec, secrets=("account.pin",))
    zone = Zone(world.keyring, world.book())
    surroundings = Surroundings(zone, LocalPolicy.parse(policy, ["Pkcs11"]), secrets.token_bytes)
    return Pkcs11Keys(document, surroundings, {"account.pin": Plaintext(b"1234")})


def test_a_library_that_the_policy_does_not_name_is_nobodys_to_load() -> None:
    for policy in ("", 'files = ["/usr/lib/softhsm/*"]', POLICY.replace("softhsm =", "other =")):
        with pytest.raises(Denied) as caught:
            keys(policy)
        assert (caught.value.code, caught.value.facts) == ("local_policy", {"rule": "libraries"})
    assert LocalPolicy.parse(POLICY, []).library("softhsm") == "/usr/lib/softhsm/libsofthsm2.so"


@pytest.mark.parametrize(
    "table",
    [
        "libraries = 1",
        '[libraries]\nsofthsm = "libsofthsm2.so"',
        '[libraries]\nsofthsm = "/usr/lib/*"',
        '[libraries]\nsofthsm = "/usr/lib/../x.so"',
        "[libraries]\nsofthsm = 1",
        '[libraries]\n"../x" = "/usr/lib/x.so"',
        '[libraries]\nSoft = "/usr/lib/x.so"',
    ],
)
def test_a_library_is_named_plainly_and_by_one_absolute_path(table: str) -> None:
    with pytest.raises(Malformed) as caught:
        LocalPolicy.parse(table, [])
    assert caught.value.facts["key"] == "libraries"


def test_a_record_names_token_and_key_and_no_other_passes_for_them() -> None:
    found = keys(previousKeys=["old", "old#01"])
    for name in ("pkcs11-gcm/pay%20ments/a%2Fb", "pkcs11-gcm/pay%20ments/old", "pkcs11-gcm/pay%20ments/old#01"):
        assert found.accepts(name)
    for name in (
        "pkcs11-gcm/pay%20ments/a/b",
        "pkcs11-gcm/other/a%2Fb",
        "pkcs11-hmac/pay%20ments/a%2Fb",
        "pkcs11-gcm/pay%20ments/a%2Fb#01",
        "pkcs11-gcm/pay%20ments/old#02",
        "",
    ):
        assert not found.accepts(name)


def test_a_token_may_come_to_be_named_by_its_serial_number_and_a_key_by_its_id() -> None:
    both = keys(tokenSerial="77", keyId="0a", previousKeys=["a/b"])
    for token in ("pay%20ments", "77"):
        assert both.accepts(f"pkcs11-gcm/{token}/a%2Fb#0a") and both.accepts(f"pkcs11-gcm/{token}/a%2Fb")
    assert keys(mechanism="SHA256_HMAC").accepts("pkcs11-hmac/pay%20ments/a%2Fb")


def test_a_wrong_pin_is_remembered_for_its_token_alone() -> None:
    refused = RefusedCredentials()
    refused.add("a", b"bc")
    assert refused.has("a", b"bc")
    assert not refused.has("ab", b"c") and not refused.has("a", b"b") and not refused.has("b", b"bc")
    # A short one stands by chance in a MAC that is written out.
    refused.add("a", b"hunter2 is a long credential")
    kept = b"".join(vars(refused)["_refused"])
    assert len(kept) == 64 and b"hunter2" not in kept
    for number in range(MOST):
        refused.add("n", str(number).encode())
    assert not refused.has("a", b"bc")
    assert refused.has("n", b"0")


def test_what_a_library_says_of_a_pin_is_known_before_a_second_try() -> None:
    # A token that locks can't be had here: its words are those of the standard.
    told = {name: pkcs11._REFUSALS[name] for name in ("PinIncorrect", "PinLocked", "PinExpired", "FinalTry")}
    assert {one.error for one in told.values()} == {Denied}
    assert not set(told) & pkcs11._LOST

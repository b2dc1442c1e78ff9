"""The settings of the kind Pkcs11: every field, default and refusal."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.kinds import settings
from shared.connectors.pkcs11 import MECHANISMS, Pkcs11Settings
from shared.errors import Malformed

BASE: dict[str, Any] = {
    "library": "softhsm",
    "tokenLabel": "payments",
    "keyLabel": "main",
    "pin": "account.pin",
    "delegateSelectors": ["hsm"],
}


def made(**changes: Any) -> Pkcs11Settings:
    found = settings("Pkcs11", {**BASE, **changes})
    assert isinstance(found, Pkcs11Settings)
    return found


def refused(**changes: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        made(**changes)
    assert caught.value.code == "connector_malformed"
    return caught.value


def test_what_is_left_out_has_its_default() -> None:
    found = made()
    assert (found.library, found.token_label, found.token_serial) == ("softhsm", "payments", "")
    assert (found.key, found.older_keys, found.mechanism) == (("main", ""), (), "AES_GCM")
    assert found.references() == ("account.pin",)
    assert found.selectors() == ("hsm",)


def test_every_field_is_taken() -> None:
    found = made(
        tokenSerial="b65bf6259ae50424",
        keyId="01ff",
        mechanism="SHA256_HMAC",
        previousKeys=["older", "old est/key#0a"],
    )
    assert (found.token_serial, found.key, found.mechanism) == ("b65bf6259ae50424", ("main", "01ff"), "SHA256_HMAC")
    assert found.older_keys == (("older", ""), ("old est/key", "0a"))
    assert made(tokenLabel=None, tokenSerial="1").token_label == ""


@pytest.mark.parametrize("field", ["library", "keyLabel", "pin"])
def test_what_is_needed_is_asked_for(field: str) -> None:
    assert refused(**{field: None}).facts["path"] == f"spec.{field}"


def test_a_token_is_named_by_its_label_or_its_serial_number() -> None:
    why = refused(tokenLabel=None)
    assert why.facts["path"] == "spec.tokenLabel"
    assert "serial number" in why.detail


def test_it_says_which_delegates_reach_the_token() -> None:
    why = refused(delegateSelectors=[])
    assert why.facts["path"] == "spec.delegateSelectors"
    assert "DelegateSelectors cannot be Empty" in why.detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("library", "/usr/lib/softhsm/libsofthsm2.so"),
        ("library", "../softhsm"),
        ("library", "SoftHSM"),
        ("library", "softhsm\n"),
        ("library", ""),
        ("tokenLabel", "x" * 33),
        ("tokenLabel", "\u00e4" * 17),
        ("tokenLabel", "a\tb"),
        ("tokenSerial", "x" * 17),
        ("tokenSerial", "a b"),
        ("keyLabel", ""),
        ("keyLabel", "a#b"),
        ("keyLabel", "x" * 129),
        ("keyId", "1"),
        ("keyId", "FF"),
        ("pin", "1234"),
        ("previousKeys", ["a#"]),
        ("previousKeys", ["a#0A"]),
        ("previousKeys", ["x"] * 33),
    ],
)
def test_what_can_not_be_is_refused_by_its_path_and_not_repeated(field: str, value: Any) -> None:
    why = refused(**{field: value})
    assert str(why.facts["path"]).startswith(f"spec.{field}")
    if isinstance(value, str) and len(value) > 3:
        assert value not in why.detail + why.hint


def test_an_unknown_mechanism_is_told_with_those_that_there_are() -> None:
    why = refused(mechanism="AES_CBC")
    assert why.facts["allowed"] == list(MECHANISMS)
    assert "Invalid mechanism" in why.detail

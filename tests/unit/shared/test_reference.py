"""References: what a provider keeps is bound to its place by the keyring, field after field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from shared.aad import Aad
from shared.canonical import b64u, decode, encode
from shared.crypto.keyring import Generation
from shared.crypto.reference import is_authentic, make
from shared.errors import Malformed
from shared.values import Reference

PLACE = Aad("store", "a" * 52, "main", "org/acme", "s" * 26, 1, "v" * 43, "c" * 26)
FIRST, SECOND = (Generation("a" * 52, "main", number, bytes([number]) * 32) for number in (1, 2))
GOOD = make(FIRST, PLACE, "devops/acme.db", {"version": "7"}, "7")
PARSED = msgspec.json.Decoder(Reference)


def authentic(one: Reference = GOOD, place: Aad = PLACE, generation: Generation = FIRST) -> bool:
    return is_authentic(one, generation.mac_key, place)


def test_what_a_generation_made_for_a_place_is_authentic_there() -> None:
    assert authentic()
    assert authentic(make(SECOND, PLACE, "x", {}, ""), generation=SECOND)
    assert decode(encode(GOOD), PARSED, "stored reference") == GOOD


@pytest.mark.parametrize(
    "changes",
    [
        {"locator": "devops/acme.other"},
        {"version": "8"},
        {"metadata": {}},
        {"metadata": {"version": "8"}},
        {"generation": 2},
        {"mac": b64u(bytes(32))},
        {"locator": "devops/acme.d", "version": "b7"},
    ],
    ids=str,
)
def test_a_change_in_any_field_is_noticed(changes: dict[str, Any]) -> None:
    assert not authentic(msgspec.structs.replace(GOOD, **changes))


@pytest.mark.parametrize("field", ["account", "keyring", "scope", "secret", "n", "version", "connector"])
def test_it_is_authentic_at_no_other_place(field: str) -> None:
    moved: dict[str, Any] = {field: 2 if field == "n" else "elsewhere"}
    assert not authentic(place=replace(PLACE, **moved))


def test_another_generations_key_does_not_vouch_for_it() -> None:
    assert not authentic(generation=SECOND)


@pytest.mark.parametrize(
    "fields",
    [
        {"generation": 0},
        {"generation": 2**32},
        {"locator": "p" * 4097},
        {"mac": "short"},
        {"version": "7" * 513},
        {"metadata": {"a b": "c"}},
        {"other": 1},
    ],
    ids=str,
)
def test_another_form_is_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode(encode({**msgspec.to_builtins(GOOD), **fields}), PARSED, "stored reference")

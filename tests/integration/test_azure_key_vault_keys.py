"""Keys of Azure Key Vault: what is wrapped under which version, for which place, with which right, and in which state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from shared.aad import Aad
from shared.canonical import b64u, sha256, unb64u
from shared.crypto.plaintext import Plaintext
from shared.crypto.record import pack, unpack
from shared.errors import Denied, Malformed, NotFound, NotReady, Tampered, Unavailable
from shared.labels import WRAP
from tests.fakes.azure import Stage
from tests.servers.azure import CLIENT, Azure

PLACE = Aad("store", "a" * 52, "k", "org/acme", "s" * 26, n=1, version="v", connector="c" * 26)


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    with Azure() as azure:
        monkeypatch.setenv("SSL_CERT_FILE", str(azure.authority))
        azure.vault.add_key("main")
        made = Stage(azure)
        yield made
        await made.close()


async def test_what_is_wrapped_in_the_vault_is_unwrapped_there_by_the_version_that_the_record_names(
    stage: Stage,
) -> None:
    keys, old = stage.keys(), stage.azure.vault.keys["main"][0].id
    made = await keys.generate(PLACE)
    assert made.key_name == f"privyseal-test.vault.azure.net/keys/main/{old}"
    new = stage.azure.vault.add_key("main").id
    assert await keys.unwrap(made.key_name, made.wrapped, PLACE) == made.key
    assert (await keys.generate(PLACE)).key_name.endswith(new)
    assert [path for _, path in stage.azure.requests] == [
        "/keys/main//wrapkey",
        f"/keys/main/{old}/unwrapkey",
        "/keys/main//wrapkey",
    ]


async def test_a_data_key_is_bound_to_its_place_in_what_is_wrapped(stage: Stage) -> None:
    keys = stage.keys()
    made = await keys.generate(PLACE)
    changes: tuple[tuple[str, Any], ...] = (
        ("secret", "t" * 26),
        ("n", 2),
        ("version", "w"),
        ("scope", "org/b"),
        ("account", "b" * 52),
    )
    for field, value in changes:
        with pytest.raises(Tampered):
            await keys.unwrap(made.key_name, made.wrapped, replace(PLACE, **{field: value}))


async def test_a_wrapped_key_that_was_changed_or_is_anothers_is_tampered(stage: Stage) -> None:
    stage.azure.vault.add_key("other")
    keys = stage.keys()
    made, other = await keys.generate(PLACE), await stage.keys(keyName="other").generate(PLACE)
    for wrapped in (
        made.wrapped[:-1] + bytes([made.wrapped[-1] ^ 1]),
        other.wrapped,
        b"",
        b"x" * 255,
        bytes(256),
        bytes(513),
    ):
        with pytest.raises(Tampered):
            await keys.unwrap(made.key_name, wrapped, PLACE)


async def test_what_somebody_wrapped_with_the_public_key_alone_makes_no_record(stage: Stage) -> None:
    """RSA-OAEP needs no secret to wrap: the record's HMAC is what nobody else makes."""
    manager, secret = stage.enveloped(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    payload = {"alg": "RSA-OAEP-256", "value": b64u(bytes(32) + sha256(secret.aad.encode(WRAP)))}
    _, forged = stage.azure.vault.answer(CLIENT, "POST", "/keys/main/wrapkey", {"api-version": "7.6"}, payload)
    made = replace(unpack(stored), wrapped_key=unb64u(forged["value"]))
    with pytest.raises(Tampered):
        await manager.fetch(secret, pack(made, bytes(32), secret.aad))


async def test_only_keys_that_the_connector_names_are_asked(stage: Stage) -> None:
    vault = stage.azure.vault
    old, new = vault.keys["main"][0].id, vault.add_key("main").id
    host = f"{vault.name}.vault.azure.net"

    def accepted(**spec: Any) -> list[str]:
        keys = stage.keys(**spec)
        names = [f"main/{old}", f"main/{new}", f"before/{old}", f"before/{new}"]
        return [name for name in names if keys.accepts(f"{host}/keys/{name}")]

    assert accepted() == [f"main/{old}", f"main/{new}"]
    assert accepted(keyVersion=new) == [f"main/{new}"]
    assert accepted(keyVersion=new, previousKeys=[f"main/{old}"]) == [f"main/{old}", f"main/{new}"]
    assert accepted(keyVersion=new, previousKeys=["before"]) == [f"main/{new}", f"before/{old}", f"before/{new}"]
    assert accepted(previousKeys=[f"Before/{old}"]) == [f"main/{old}", f"main/{new}", f"before/{old}"]
    keys = stage.keys()
    for name in (f"other.vault.azure.net/keys/main/{old}", f"{host}/secrets/main/{old}", f"{host}/keys/main/", f"main/{old}",
                 f"{host}/keys/main/{old}/x", f"{host}/keys/../main/{old}", f"https://{host}/keys/main/{old}"):  # fmt: skip
        assert not keys.accepts(name)
        with pytest.raises(Denied) as caught:
            await keys.unwrap(name, bytes(256), PLACE)
        assert caught.value.code == "key_unlisted"
    assert stage.azure.requests == []


async def test_a_pinned_version_wraps_also_when_there_is_a_newer_one(stage: Stage) -> None:
    old = stage.azure.vault.keys["main"][0].id
    stage.azure.vault.add_key("main")
    assert (await stage.keys(keyVersion=old).generate(PLACE)).key_name.endswith(old)


async def test_the_test_of_a_connector_wraps_and_needs_no_other_right(stage: Stage) -> None:
    stage.azure.vault.rights[CLIENT] = frozenset({"keys/wrapKey"})
    await stage.enveloped().check()
    assert [path for _, path in stage.azure.requests] == ["/keys/main//wrapkey"]
    stage.azure.vault.rights[CLIENT] = frozenset({"keys/unwrapKey"})
    with pytest.raises(Denied, match="keys/wrapKey"):
        await stage.enveloped().check()


async def test_a_missing_right_to_unwrap_is_named(stage: Stage) -> None:
    manager, secret = stage.enveloped(), stage.version()
    stored = await manager.store(secret, Plaintext(b"x"))
    stage.azure.vault.rights[CLIENT] -= {"keys/unwrapKey"}
    with pytest.raises(Denied, match="keys/unwrapKey"):
        await manager.fetch(secret, stored)


async def test_each_state_of_a_key_has_its_error(stage: Stage) -> None:
    key = stage.azure.vault.keys["main"][0]
    key.enabled = False
    with pytest.raises(NotReady) as off:
        await stage.keys().generate(PLACE)
    assert off.value.code == "azure_disabled"
    key.enabled, key.operations = True, ("sign",)
    with pytest.raises(Malformed) as unfit:
        await stage.keys().generate(PLACE)
    assert unfit.value.code == "key_unfit"
    with pytest.raises(NotFound) as missing:
        await stage.keys(keyName="nothing").generate(PLACE)
    assert missing.value.code == "key_not_found"


@pytest.mark.parametrize(
    "answer",
    [
        "nonsense",
        {"kid": "https://privyseal-test.vault.azure.net/keys/other/" + "0" * 32, "value": b64u(bytes(256))},
        {"kid": "https://privyseal-test.vault.azure.net/keys/main/latest", "value": b64u(bytes(256))},
        {"kid": "https://[", "value": b64u(bytes(256))},
        {"kid": "https://privyseal-test.vault.azure.net/keys/main/" + "0" * 32, "value": "AAAA"},
        {"kid": "https://privyseal-test.vault.azure.net/keys/main/" + "0" * 32, "value": "=="},
        {"kid": 7},
    ],
)
async def test_an_answer_that_does_not_fit_what_was_asked_is_not_believed(stage: Stage, answer: Any) -> None:
    keys = stage.keys()
    made = await keys.generate(PLACE)
    stage.azure.fail("/keys/", 200, answer, times=6)
    with pytest.raises(Unavailable) as wrapping:
        await keys.generate(PLACE)
    with pytest.raises(Unavailable) as unwrapping:
        await keys.unwrap(made.key_name, made.wrapped, PLACE)
    assert wrapping.value.code == unwrapping.value.code == "azure_garbled"

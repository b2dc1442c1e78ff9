"""Descriptions of secrets: what their YAML may say of a value, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from client.manifest import Manifest
from client.secret_descriptions import SecretDescription, describe_secret
from shared.errors import Malformed


def described(kind: str, **spec: Any) -> SecretDescription:
    body = {"type": kind, "name": "x", "spec": {"secretManagerIdentifier": "account.vault", **spec}}
    return describe_secret(Manifest("file.yaml", 7, "secret", body))


@pytest.mark.parametrize("value_type", ["Reference", "CustomSecretManagerValues"])
@pytest.mark.parametrize("value", ["path/of/it", "", None, {"path": "of/it"}])
def test_a_file_is_always_inline(value_type: str, value: object) -> None:
    with pytest.raises(Malformed) as caught:
        described("SecretFile", valueType=value_type, value=value)
    assert (caught.value.code, caught.value.facts["path"]) == ("secret_malformed", "secret.spec.valueType")
    assert caught.value.detail == "file.yaml:7: secret.spec.valueType: a file is always Inline"


def test_a_file_says_that_it_is_inline_or_nothing() -> None:
    for given in ({}, {"valueType": "Inline"}, {"valueType": "Inline", "value": ""}):
        one = described("SecretFile", **given)
        assert (one.type, one.refers_to, one.inputs) == ("SecretFile", "", None)


def test_a_text_may_be_elsewhere() -> None:
    assert described("SecretText", valueType="Reference", value="path#key").refers_to == "path#key"
    assert described("SecretText", valueType="CustomSecretManagerValues", value={"a": "b"}).inputs == {"a": "b"}


def test_a_value_is_never_taken_from_a_description() -> None:
    for kind in ("SecretText", "SecretFile"):
        with pytest.raises(Malformed, match=r"secret\.spec\.value") as caught:
            described(kind, valueType="Inline", value="hunter2")
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"

"""What has no value of its own isn't copied."""

from __future__ import annotations

import pytest

from client.copies import _check_has_value
from shared.errors import Malformed
from tests.fakes.world import World


def test_a_reference_is_not_copied() -> None:
    secret = World().secret_document("elsewhere", reference="prod/db#password")
    with pytest.raises(Malformed) as caught:
        _check_has_value(secret)
    assert caught.value.code == "copy_of_reference"
    assert "prod/db" not in caught.value.detail and "--refers-to" in caught.value.hint


def test_an_ssh_key_is_not_copied_and_a_value_is() -> None:
    with pytest.raises(Malformed) as caught:
        _check_has_value(World().secret_document("login", type="SSHKey"))
    assert caught.value.code == "secret_is_login"
    for kind in ("SecretText", "SecretFile"):
        _check_has_value(World().secret_document("value", type=kind))

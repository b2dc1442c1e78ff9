"""The built-in secret manager: values in the manager's database, under the keyring's own key."""

from __future__ import annotations

from typing import ClassVar

from shared.connectors.fields import Forms
from shared.connectors.model import Model
from shared.errors import Denied


class LocalSettings(Model, frozen=True, kw_only=True):
    """Nothing of its own but whether it takes new secrets: the keyring decides the rest."""

    FORMS: ClassVar[Forms] = Forms(unasked=("disabled",))

    disabled: bool = False


def built_in_disabled() -> Denied:
    """Why no new secret is made there; those that are there go on."""
    return Denied(
        "built_in_disabled",
        "the built-in secret manager has been disabled: it takes no new secrets",
        "name another with --connector, or make another one the default (spec.default: true)",
    )

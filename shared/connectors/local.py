"""The built-in secret manager: values in the manager's database, under the keyring's own key."""

from __future__ import annotations

from shared.connectors.model import Model


class LocalSettings(Model, frozen=True, kw_only=True):
    """Nothing of its own: the keyring decides."""
